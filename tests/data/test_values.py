"""Values: what is read becomes raw values and column values, the same from every kind of source."""

import numpy as np
import pyarrow as pa
import pytest

from autoflow.data.datetimes import DATETIME_FORMATS, parse_datetimes
from autoflow.data.numbers import NUMBER_FORMATS, parse_decimals, parse_numbers
from autoflow.data.schema import Column, ColumnKind, RawType
from autoflow.data.values import column_values, raw_values, unreadable

NUMBER = Column("n", ColumnKind.NUMERIC, RawType.FLOAT32)
NAN = np.nan


@pytest.mark.parametrize(
    "as_read",
    [
        pa.array(["1", " 2.0", "", "NA", "inf"]),
        pa.array([1, 2, None, None, None], pa.int64()),
        pa.array([1, 2, NAN, None, np.inf], pa.float64()),
    ],
)
def test_numbers_are_the_same_from_text_and_typed(as_read):
    raw = raw_values(NUMBER, as_read)
    assert raw.dtype == np.float64
    np.testing.assert_array_equal(raw, [1, 2, NAN, NAN, NAN])
    np.testing.assert_array_equal(column_values(NUMBER, raw), raw)


def test_float32_rounds_and_float64_does_not():
    as_read = pa.array(["0.1", "16777217", "1e300"])
    np.testing.assert_array_equal(raw_values(NUMBER, as_read), [float(np.float32(0.1)), 16777216, NAN])
    exact = Column("n", ColumnKind.NUMERIC, RawType.FLOAT64)
    np.testing.assert_array_equal(raw_values(exact, as_read), [0.1, 16777217, 1e300])


def test_unreadable_cells_are_shown_but_missing_ones_are_not():
    as_read = pa.array(["1", "ten", "", "NA", None, "-", "1e999", "None", "UNKNOWN", "n.a."])
    values = column_values(NUMBER, raw_values(NUMBER, as_read))
    assert unreadable(NUMBER, as_read, values).to_pylist() == ["ten", "1e999"]
    assert unreadable(NUMBER, pa.array([1.0, np.inf, None]), np.array([1.0, NAN, NAN])).to_pylist() == [
        np.inf
    ]


def test_what_is_no_truth_value_is_unreadable_whatever_it_says():
    flag = Column("f", ColumnKind.BOOLEAN, RawType.STRING, true_values=("yes",), false_values=("no",))
    as_read = pa.array(["yes", "unknown", "NA"])
    values = column_values(flag, raw_values(flag, as_read))
    assert unreadable(flag, as_read, values).to_pylist() == ["unknown"]


def test_categories_are_stripped_and_texts_are_not():
    as_read = pa.array([" a\t", "a", None, "\u3000b "])
    category = Column("c", ColumnKind.CATEGORICAL, RawType.STRING)
    raw = raw_values(category, as_read)
    assert raw.tolist() == [" a\t", "a", "", "\u3000b "]
    assert column_values(category, raw).tolist() == ["a", "a", "", "\u3000b"]
    text = Column("c", ColumnKind.TEXT, RawType.STRING)
    assert column_values(text, raw_values(text, as_read)).tolist() == raw.tolist()


def test_typed_cells_of_a_string_column_get_their_usual_spelling():
    category = Column("c", ColumnKind.CATEGORICAL, RawType.STRING)
    assert raw_values(category, pa.array([7.0, None])).tolist() == ["7", ""]
    assert raw_values(category, pa.array([7.5, 8.0])).tolist() == ["7.5", "8"]
    assert raw_values(category, pa.array([7, 8])).tolist() == ["7", "8"]


@pytest.mark.parametrize(
    "as_read",
    [
        pa.array(["yes ", "no", "maybe", ""]),
        pa.array([True, False, None, None]),
    ],
)
def test_booleans_in_words(as_read):
    column = Column("b", ColumnKind.BOOLEAN, RawType.STRING, true_values=("yes",), false_values=("no",))
    np.testing.assert_array_equal(column_values(column, raw_values(column, as_read)), [1, 0, NAN, NAN])


@pytest.mark.parametrize(
    "as_read",
    [
        pa.array(["1", "0.0", "2", "x"]),
        pa.array(["true", "False", "", "x"]),
        pa.array([True, False, None, None]),
        pa.array([1, 0, 7, None]),
    ],
)
def test_booleans_in_numbers(as_read):
    column = Column("b", ColumnKind.BOOLEAN, RawType.FLOAT32)
    np.testing.assert_array_equal(column_values(column, raw_values(column, as_read)), [1, 0, NAN, NAN])


@pytest.mark.parametrize("text", ["1_000", "0x10", "1,5", "٣", "--1", "1e", ".", "e5", "infinity", "nan"])
def test_what_is_no_decimal(text):
    assert np.isnan(parse_decimals(pa.array([text]))).all()


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("unit", "$1,200.50", 1200.5),
        ("unit", "-$7", -7),
        ("unit", "€ -7", -7),
        ("unit", "0.6 m", 0.6),
        ("unit", "12%", 12),
        ("unit", "Rs. 1,00,000", NAN),
        ("unit", "--5", NAN),
        ("unit", "9" * 30, NAN),
        ("decimal comma", "1.234,5", 1234.5),
        ("decimal comma", "-0,25", -0.25),
        ("decimal comma", "1.5", NAN),
        ("decimal comma", "1211,50 €", 1211.5),
        ("decimal comma", "1.211,50\u00a0€", 1211.5),
        ("decimal comma", "1\u202f211,5 kg", 1211.5),
        ("decimal comma", "-€ 3,25", -3.25),
        ("decimal comma", "1,2,3 kg", NAN),
    ],
)
def test_written_numbers(name, text, number):
    np.testing.assert_array_equal(parse_numbers(pa.array([text]), NUMBER_FORMATS[name]), [number])


def test_typed_numbers_reach_a_column_of_decimal_commas():
    column = Column("n", ColumnKind.NUMERIC, RawType.STRING, number_format="decimal comma")
    np.testing.assert_array_equal(column_values(column, raw_values(column, pa.array([1.5, 2.0]))), [1.5, 2])


@pytest.mark.parametrize(
    ("name", "text", "moment"),
    [
        ("year-month-day", "2020-02-29", "2020-02-29T00:00:00"),
        ("year-month-day", "2013-10-09T13:00:00Z", "2013-10-09T13:00:00"),
        ("year-month-day", "2016-03-20 14:44:44 +0530", "2016-03-20T09:14:44"),
        ("year-month-day", "1969-12-31 23:59:59.5", "1969-12-31T23:59:59.5"),
        ("year-month-day", "1900-02-29", None),
        ("year-month-day", "2020-04-31", None),
        ("year-month-day", "2020-04-30 24:00", None),
        ("year-month-day", "20-04-30", None),
        ("day/month/year", "31/12/99", "1999-12-31T00:00:00"),
        ("day/month/year", "1.2.2020 5:06", "2020-02-01T05:06:00"),
        ("month/day/year", "1/2/2020 12:30 AM", "2020-01-02T00:30:00"),
        ("month/day/year", "1/2/2020 12:30 pm", "2020-01-02T12:30:00"),
        ("month/day/year", "13/2/2020", None),
        ("month name day year", "Sunday, September 14, 2003", "2003-09-14T00:00:00"),
        ("month name day year", "Jan 5th 2020 at 5:00 PM", "2020-01-05T17:00:00"),
        ("day month name year", "05-Jan-2020", "2020-01-05T00:00:00"),
        ("yearmonthday", "20200131", "2020-01-31T00:00:00"),
        ("yearmonthday", "20200231", None),
    ],
)
def test_dates(name, text, moment):
    seconds = parse_datetimes(pa.array([text, None, "soon"]), DATETIME_FORMATS[name])
    expected = NAN if moment is None else np.datetime64(moment, "ms").astype(float) / 1000
    np.testing.assert_array_equal(seconds, [expected, NAN, NAN])
