"""Inference: kinds, reasons, the label and its classes, on tables that are made here."""

import datetime
import random
import uuid

import numpy as np
import pandas as pd
import pytest

from autoflow.data.inference import infer_schema
from autoflow.data.kinds import guess_column
from autoflow.data.reading import read_table
from autoflow.data.schema import Column, ColumnKind, DroppedColumn, RawType
from autoflow.errors import DataError

NUM_ROWS = 60
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "boil",
    "unusual",
    "jam",
]


def guess(cells: list, name: str = "column") -> Column | DroppedColumn:
    """Guesses from strings as a text file holds them, or from a typed DataFrame column."""
    frame = pd.DataFrame({name: pd.Series(cells)})
    return guess_column(name, read_table(frame).columns[name])


def kind(cells: list, name: str = "column") -> ColumnKind:
    column = guess(cells, name)
    assert isinstance(column, Column), column
    assert column.reason
    return column.kind


def reason_left_out(cells: list, name: str = "column") -> str:
    column = guess(cells, name)
    assert isinstance(column, DroppedColumn), column
    return column.reason


def repeated(*cells: object) -> list:
    return [cells[i % len(cells)] for i in range(NUM_ROWS)]


def sentence(seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=8))


DECIMALS = [f"{i * 0.37 % 5:.2f}" for i in range(NUM_ROWS)]


@pytest.mark.parametrize("token", ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "-", "?"])
def test_missing_tokens_among_numbers(token):
    column = guess([*DECIMALS, *[token] * 20])
    assert column.kind is ColumnKind.NUMERIC
    assert column.raw_type is RawType.FLOAT32


def test_tokens_among_words_are_categories():
    column = guess(repeated("NA", "EU", "None"))
    assert column.kind is ColumnKind.CATEGORICAL
    assert "3 different" in column.reason


def test_few_odd_values_are_missing_and_said():
    column = guess([*[str(i % 50) for i in range(300)], "about 7"])
    assert column.kind is ColumnKind.NUMERIC
    assert "1 other value, 'about 7', counts as missing" in column.reason


def spoiled(cells: list, odd: str, share: float) -> list:
    every = round(1 / share)
    return [odd if i % every == 1 else cell for i, cell in enumerate(cells)]


DISTINCT = [f"{i * 0.37:.2f}" for i in range(1000)]
DISTINCT_DAYS = [str(datetime.date(2020, 1, 1) + datetime.timedelta(days=i)) for i in range(1000)]


@pytest.mark.parametrize(
    ("odd", "share"),
    [
        ("unknown", 0.02),
        ("none", 0.05),
        ("None", 0.5),
        ("N.A.", 0.1),
        ("Na", 0.5),
        ("inf", 0.02),
        ("-Infinity", 0.3),
        ("<0.1", 0.05),
        ("broken", 0.12),
    ],
)
def test_numbers_stay_numbers_beside_missing_ones_and_few_words(odd, share):
    column = guess(spoiled(DISTINCT, odd, share))
    assert column.kind is ColumnKind.NUMERIC
    assert "numbers from 0" in column.reason
    written = guess(spoiled([f"{cell} kg" for cell in DISTINCT], odd, share))
    assert (written.kind, written.number_format) == (ColumnKind.NUMERIC, "unit")
    day = guess(spoiled(DISTINCT_DAYS, odd, share))
    assert (day.kind, day.datetime_format) == (ColumnKind.DATETIME, "year-month-day")
    assert "such as '2020-" in day.reason


def test_too_many_or_too_different_words_are_no_missing_numbers():
    assert guess(spoiled(DISTINCT, "broken", 0.25)).reason == "751 different values in 1000 rows"
    codes = [f"E{i}" if i % 10 == 3 else cell for i, cell in enumerate(DISTINCT)]
    assert "like an id (1000 different values" in reason_left_out(codes)
    grades = guess([*"123456789"] * 20 + ["K", "PK"] * 10)
    assert grades.kind is ColumnKind.CATEGORICAL


@pytest.mark.parametrize(
    "cells", [["none", "some"], ["none", ""], ["yes", "no", "unknown"], ["unknown", "none"]]
)
def test_words_for_nothing_among_words_are_categories(cells):
    assert kind(repeated(*cells)) is ColumnKind.CATEGORICAL


def test_many_odd_values_make_categories():
    assert kind(repeated("1", "2", "3", "many")) is ColumnKind.CATEGORICAL


@pytest.mark.parametrize("cells", [[1.5, None, 2.0], [3, 4, 900], ["1e3", " 2 ", "-.5"], ["+1", "2", "1"]])
def test_numbers(cells):
    assert kind(cells * 20) is ColumnKind.NUMERIC


def test_codes_with_leading_zeros_stay_strings():
    assert kind(repeated("01234", "98765", "55555")) is ColumnKind.CATEGORICAL
    assert kind(repeated("0", "0.5", "10")) is ColumnKind.NUMERIC


@pytest.mark.parametrize(
    ("cells", "raw_type"),
    [
        ([2**24 - 1, 5, 5], RawType.FLOAT32),
        ([2**24 + 1, 5, 5], RawType.FLOAT64),
        (["1700000000.25", "1700000000.50", "1700000001"], RawType.FLOAT64),
        (["35.681236", "35.681240", "35.681238"], RawType.FLOAT64),
        (["0.1", "0.2", "1e30"], RawType.FLOAT64),
    ],
)
def test_numbers_beyond_float32(cells, raw_type):
    assert guess(cells * 20).raw_type is raw_type


@pytest.mark.parametrize(
    ("words", "true", "false"),
    [
        (("yes", "no"), "yes", "no"),
        (("Y", "N"), "Y", "N"),
        (("True", "False"), "True", "False"),
        (("t", "f"), "t", "f"),
        (("YES", "No"), "YES", "No"),
    ],
)
def test_booleans_in_words(words, true, false):
    column = guess(repeated(*words, "", "NA"))
    assert (column.kind, column.raw_type) == (ColumnKind.BOOLEAN, RawType.STRING)
    assert column.true_values[0] == true
    assert column.false_values[0] == false
    assert all(repr(word) in column.reason for word in words)


@pytest.mark.parametrize("cells", [["0", "1"], ["0.0", "1.0", ""], [0, 1], [0.0, 1.0, None]])
def test_zero_and_one_are_boolean_numbers(cells):
    column = guess(repeated(*cells))
    assert (column.kind, column.raw_type) == (ColumnKind.BOOLEAN, RawType.FLOAT32)


def test_bool_dtype_is_boolean():
    assert kind(repeated(True, False)) is ColumnKind.BOOLEAN


def test_two_other_words_are_categories():
    assert kind(repeated("male", "female")) is ColumnKind.CATEGORICAL


# --- dates -------------------------------------------------------------------------------------------

DAYS = [datetime.date(2020, 1, 1) + datetime.timedelta(days=17 * i) for i in range(NUM_ROWS)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("%Y-%m-%d", "year-month-day"),
        ("%Y/%m/%d", "year-month-day"),
        ("%Y-%m-%dT%H:%M:%SZ", "year-month-day"),
        ("%Y-%m-%d %H:%M:%S +0000", "year-month-day"),
        ("%Y-%m-%d %H:%M:%S.123456", "year-month-day"),
        ("%d/%m/%Y", "day/month/year"),
        ("%m/%d/%Y", "month/day/year"),
        ("%m/%d/%y %I:%M %p", "month/day/year"),
        ("%d.%m.%Y", "day/month/year"),
        ("%b %d, %Y", "month name day year"),
        ("%B %d %Y", "month name day year"),
        ("%d-%b-%Y", "day month name year"),
        ("%d %B %Y %H:%M", "day month name year"),
    ],
)
def test_dates(pattern, expected):
    column = guess([day.strftime(pattern) for day in DAYS] + ["", "NA"])
    assert column.kind is ColumnKind.DATETIME
    assert column.datetime_format == expected
    assert expected in column.reason


@pytest.mark.parametrize(("separator", "expected"), [("/", "month/day/year"), (".", "day/month/year")])
def test_ambiguous_dates_are_said(separator, expected):
    column = guess([f"{1 + i % 12:02d}{separator}{1 + i // 12:02d}{separator}2020" for i in range(NUM_ROWS)])
    assert column.datetime_format == expected
    assert "could be" in column.reason


def test_datetime_columns_of_frames():
    assert kind(list(pd.to_datetime(DAYS))) is ColumnKind.DATETIME


def test_compact_dates_are_dates_but_other_numbers_are_not():
    assert guess([day.strftime("%Y%m%d") for day in DAYS]).datetime_format == "yearmonthday"
    assert kind([str(2000 + i) for i in range(20)] * 2) is ColumnKind.NUMERIC
    assert kind([str(20200101 + 13 * i) for i in range(NUM_ROWS)]) is ColumnKind.NUMERIC


# --- strings -----------------------------------------------------------------------------------------


def test_texts():
    assert kind([sentence(i) for i in range(NUM_ROWS)]) is ColumnKind.TEXT
    assert kind([f"{a}, Mr. {b}" for a in WORDS for b in WORDS][:NUM_ROWS]) is ColumnKind.TEXT
    japanese = [f"部屋が{i}回も広くて良かったです。また泊まりたい" for i in range(NUM_ROWS)]
    assert kind(japanese) is ColumnKind.TEXT
    assert "without spaces" in guess(japanese).reason


def test_long_texts_with_some_repeats():
    assert kind([sentence(i % 25) + " " + sentence(i % 25 + 1) for i in range(NUM_ROWS)]) is ColumnKind.TEXT


def test_categories_with_many_repeating_values():
    assert kind([f"N{i % 40}AA" for i in range(NUM_ROWS)]) is ColumnKind.CATEGORICAL
    assert kind(repeated("skilled employee or official", "self-employed person")) is ColumnKind.CATEGORICAL
    assert kind(repeated("東京都", "大阪府", "京都府")) is ColumnKind.CATEGORICAL


def test_few_categories_are_remembered_and_many_or_long_ones_are_not():
    assert guess(repeated(" b", "a", "", "NA")).known_values == ("NA", "a", "b")
    assert guess([f"N{i % 200:03d}" for i in range(1000)]).known_values[:2] == ("N000", "N001")
    assert guess([f"N{i % 201:03d}" for i in range(1000)]).known_values == ()
    assert guess([f"{i % 3}{'x' * 1000}" for i in range(NUM_ROWS)]).known_values == ()
    assert guess(DECIMALS).known_values == ()


@pytest.mark.parametrize(
    ("cells", "unit"),
    [
        ([f"{i / 10:.1f} m" for i in range(NUM_ROWS)], "'m'"),
        ([f"${1000 + 37 * i:,}.50" for i in range(NUM_ROWS)], "'$'"),
        ([f"{i % 30}%" for i in range(NUM_ROWS)], "'%'"),
    ],
)
def test_numbers_with_units(cells, unit):
    column = guess(cells)
    assert (column.kind, column.raw_type) == (ColumnKind.NUMERIC, RawType.STRING)
    assert column.number_format == "unit"
    assert unit in column.reason


def test_decimal_commas():
    assert guess([f"{i},{i % 10}" for i in range(NUM_ROWS)]).number_format == "decimal comma"
    column = guess([f"{1000 + i},{i % 10} €" for i in range(NUM_ROWS)])
    assert column.number_format == "decimal comma"
    assert "with decimal commas and with '€'" in column.reason
    assert kind(repeated("1,5 kg", "700,5 g", "2,5 kg")) is ColumnKind.CATEGORICAL


def test_mixed_units_and_codes_are_no_numbers():
    assert kind(repeated("5 kg", "700 g", "2 kg")) is ColumnKind.CATEGORICAL
    assert kind(repeated("A11", "A12", "A13")) is ColumnKind.CATEGORICAL


# --- columns left out --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["x"] * NUM_ROWS, "the same value 'x' in every row"),
        ([7] * NUM_ROWS, "the same value '7' in every row"),
        ([""] * NUM_ROWS, "all values are missing"),
        (["NA", ""] * 30, "all values are missing"),
        ([None] * NUM_ROWS, "all values are missing"),
        (list(range(1, NUM_ROWS + 1)), "row number or id"),
        ([str(uuid.UUID(int=i * 7919)) for i in range(NUM_ROWS)], "like an id"),
        ([f"user_{i}" for i in range(NUM_ROWS)], "like an id"),
        ([f"pictures/{i % 20}.JPG" for i in range(NUM_ROWS)], "see --image-folder"),
        ([[i] for i in range(NUM_ROWS)], "not supported yet"),
    ],
)
def test_columns_left_out(cells, reason):
    assert reason in reason_left_out(cells)


def test_account_numbers_by_name_and_other_distinct_numbers_kept():
    numbers = [1000 + 977 * i for i in range(NUM_ROWS)]
    assert "id" in reason_left_out(numbers, "customer_id")
    assert "id" in reason_left_out(numbers, "customerId")
    assert kind(numbers, "income") is ColumnKind.NUMERIC
    assert kind([i + 0.5 for i in range(NUM_ROWS)]) is ColumnKind.NUMERIC


def test_one_value_and_missing_is_kept():
    assert kind(repeated("pool", "")) is ColumnKind.CATEGORICAL


def test_single_words_are_kept_where_nothing_else_is_left():
    words = sorted({a + b for a in WORDS for b in WORDS})[:NUM_ROWS]
    frame = pd.DataFrame({"word": words, "language": repeated("a", "b")})
    assert infer_schema(read_table(frame)).columns[0].kind is ColumnKind.TEXT
    frame.insert(1, "size", np.arange(NUM_ROWS) / 3)
    schema = infer_schema(read_table(frame))
    assert [column.name for column in schema.columns] == ["size"]
    assert [column.name for column in schema.dropped] == ["word"]


# --- label -------------------------------------------------------------------------------------------


def labelled(**columns: list) -> pd.DataFrame:
    return pd.DataFrame({"size": np.arange(NUM_ROWS) / 3} | columns)


@pytest.mark.parametrize(
    ("columns", "label", "chosen"),
    [
        ({"Target": repeated("a", "b"), "last": repeated("c", "d")}, None, "Target"),
        ({"other": repeated("a", "b"), "last": repeated("c", "d")}, None, "last"),
        ({"other": repeated("a", "b"), "last": repeated("c", "d")}, "other", "other"),
        ({"x": repeated(1, 2), "y": repeated(1, 2), "kind": repeated("a", "b")}, None, "kind"),
        ({"y": repeated("a", "b"), "kind": repeated("a", "b")}, None, "y"),
        ({"x": repeated(1, 2, 3), "y": repeated("a", "b")}, None, "y"),
    ],
)
def test_choice_of_the_label(columns, label, chosen):
    schema = infer_schema(read_table(labelled(**columns)), label=label)
    assert schema.label == chosen
    assert schema.label_reason
    assert chosen not in [column.name for column in schema.columns]


def test_unknown_label_shows_near_names():
    with pytest.raises(DataError, match=r"no label column 'knd'; did you mean 'kind'\?.*--label"):
        infer_schema(read_table(labelled(kind=repeated("a", "b"))), label="knd")


def test_a_single_column_is_no_table():
    with pytest.raises(DataError, match="the only column is 'size'"):
        infer_schema(read_table(labelled()))


@pytest.mark.parametrize(
    ("cells", "classes", "label_type"),
    [
        (repeated("b", "a", ""), ("a", "b"), "string"),
        (repeated("10", "9", "NA"), ("9", "10"), "integer"),
        (repeated(10, 9), ("9", "10"), "integer"),
        (repeated(1.0, 2.0, None), ("1.0", "2.0"), "float"),
        (repeated("1.50", "2"), ("1.50", "2"), "float"),
        (repeated("01", "10"), ("01", "10"), "string"),
        (repeated(True, False), ("False", "True"), "boolean"),
        (repeated(" <=50K", " >50K"), ("<=50K", ">50K"), "string"),
        (repeated("None", "some"), ("None", "some"), "string"),
    ],
)
def test_classes_keep_their_spelling(cells, classes, label_type):
    schema = infer_schema(read_table(labelled(label=cells)))
    assert (schema.classes, schema.label_type) == (classes, label_type)


def test_columns_that_the_user_leaves_out_are_no_features_and_no_label():
    frame = pd.DataFrame({"x": np.arange(20) / 7, "told": ["a", "b"] * 10, "kind": ["a", "b"] * 10})
    schema = infer_schema(read_table(frame), ignored=["told"])
    assert [column.name for column in schema.columns] == ["x"]
    assert schema.dropped == (DroppedColumn("told", "left out by you"),)
    assert infer_schema(read_table(frame), ignored=["kind"]).label == "told"
    with pytest.raises(DataError, match="no column 'tod' to ignore; did you mean 'told'"):
        infer_schema(read_table(frame), ignored=["tod"])
    with pytest.raises(DataError, match="of 3 columns, 2 are ignored; a classifier needs a label and"):
        infer_schema(read_table(frame), ignored=["told", "kind"])
    with pytest.raises(DataError, match="'kind' is the label and cannot be ignored as well"):
        infer_schema(read_table(frame), label="kind", ignored=["kind"])


@pytest.mark.parametrize("missing", [False, True])
def test_intervals_are_categories_with_and_without_a_missing_one(missing: bool):
    values = pd.Series(pd.cut(np.arange(60) * 7 % 40, 4))
    if missing:
        values[3] = np.nan
    assert kind(values) is ColumnKind.CATEGORICAL


def test_periods_are_dates():
    assert kind(pd.Series(pd.period_range("2020-01", periods=30, freq="M")).repeat(2)) is ColumnKind.DATETIME


def test_whole_numbers_beyond_64_bits_are_numbers():
    assert kind([2**70 + 2**60 * number for number in range(NUM_ROWS)]) is ColumnKind.NUMERIC
