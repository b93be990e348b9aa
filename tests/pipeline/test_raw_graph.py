"""The graph reads raw columns exactly as the NumPy code does, one row at a time and in batches."""

import time

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from autoflow.data import values
from autoflow.data.dataset import stacked
from autoflow.data.datetimes import DATETIME_FORMATS
from autoflow.data.numbers import NUMBER_FORMATS
from autoflow.data.schema import Column, ColumnKind, RawType
from autoflow.pipeline import raw_graph

STRINGS = [
    "", " ", "a", " a\t\v\f\r\n", "\u3000日本 ", "NA", "yes", "yes ", "no", "YES", "\x1c", "é",
    "2020-02-29", "2020-02-30", "1900-02-29", "2013-10-09T13:00:00Z", "2016-03-20 14:44:44 +0530",
    "1969-12-31 23:59:59.25", "2020-01-01T10:00:00-03:30", "2020-01-31\n", " 2020-1-3 ", "31/12/99",
    "12/31/2020", "1.2.2020 5:06 pm", "01/02/2020 12:00 AM", "Jan 5, 2020", "Sunday, September 14, 2003",
    "MAY 5 2020 5:00 P.M.", "05-Jan-2020", "5 sept. 1999 10:00:00", "20200131", "20200231",
    "1|1|1|0|0|0|1|0|0||", "2020-01-01 25:00", "$1,200.50", "-$7", "€ -7", "0.6 m", "60kg", "--5", "5,5",
    "1.234,5", "-0,25", "1211,50 €", "1.211,50\u00a0€", "1\u202f211,5 kg", "-€ 3,25", "€ -3,25", "7,5x",
    "<0.1", "unknown", "-inf",
    "1,2,3 m", "1\u00a0234", "1,5\u00a0", "\u00a01,5", "9" * 40, "１２", "12%", "1e5",
]  # fmt: skip

DATE_LIKE = r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}([T ][0-9]{2}:[0-9]{2}(:[0-9.]{2,6})?)?"
NUMBER_LIKE = r"[$€-]{0,2}[0-9]{1,3}([,.][0-9]{3}){0,3}([,.][0-9]+)?( ?[a-z%]{0,3})?"

COLUMNS = [
    Column("category", ColumnKind.CATEGORICAL, RawType.STRING),
    Column("text", ColumnKind.TEXT, RawType.STRING),
    Column("flag", ColumnKind.BOOLEAN, RawType.STRING, true_values=("yes", "Yes"), false_values=("no",)),
    *(Column(n, ColumnKind.DATETIME, RawType.STRING, datetime_format=n) for n in DATETIME_FORMATS),
    *(Column(n, ColumnKind.NUMERIC, RawType.STRING, number_format=n) for n in NUMBER_FORMATS),
]
NUMBERS = [0.0, 1.0, -0.0, 2.5, np.nan, np.inf, -np.inf, 3e38, 1e-30]


def decoded(tensor: tf.Tensor) -> np.ndarray:
    array = tensor.numpy()
    if array.dtype != object:
        return array
    return np.array([text.decode() for text in array.ravel()], object).reshape(array.shape)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_strings_alone_and_in_batches(column):
    expected = values.column_values(column, np.array(STRINGS, object))
    function = tf.function(lambda raw: raw_graph.column_values(column, raw))
    graph = function.get_concrete_function(tf.TensorSpec([None], tf.string))
    np.testing.assert_array_equal(decoded(graph(tf.constant(STRINGS))), expected)
    alone = [decoded(graph(tf.constant([text])))[0] for text in STRINGS]
    np.testing.assert_array_equal(np.array(alone, expected.dtype), expected)
    assert graph(tf.constant([], tf.string)).shape == (0,)


@pytest.mark.parametrize("raw_type", [RawType.FLOAT32, RawType.FLOAT64])
@pytest.mark.parametrize("kind", [ColumnKind.NUMERIC, ColumnKind.BOOLEAN])
def test_numbers(kind, raw_type):
    column = Column("n", kind, raw_type)
    raw = values.rounded(np.array(NUMBERS), raw_type)
    graph = raw_graph.column_values(column, tf.constant(raw, raw_type.value))
    assert graph.dtype == tf.float64
    np.testing.assert_array_equal(graph.numpy(), values.column_values(column, raw))


@given(
    text=st.one_of(
        st.text(max_size=12),
        st.from_regex(DATE_LIKE, fullmatch=True),
        st.from_regex(NUMBER_LIKE, fullmatch=True),
    )
)
@settings(max_examples=40, deadline=None)
def test_any_string(text):
    for column in COLUMNS:
        expected = values.column_values(column, np.array([text], object))
        np.testing.assert_array_equal(decoded(raw_graph.column_values(column, tf.constant([text]))), expected)


def test_matrix_keeps_the_order_of_columns():
    numbers = [
        Column(f"n{i}", ColumnKind.NUMERIC, (RawType.FLOAT32, RawType.FLOAT64)[i % 2]) for i in range(3)
    ]
    mixed = [numbers[0], COLUMNS[3], numbers[1], COLUMNS[2], numbers[2]]
    rows = {c.name: np.array(["yes", "2020-01-01"], object) for c in COLUMNS} | {
        c.name: np.array([1.5, np.nan]) + i for i, c in enumerate(numbers)
    }
    tensors = {c.name: tf.constant(rows[c.name], c.raw_type.value) for c in mixed + COLUMNS[:2]}
    np.testing.assert_array_equal(raw_graph.matrix(mixed, tensors).numpy(), stacked(mixed, rows))
    strings = raw_graph.matrix(COLUMNS[:2], tensors)
    assert decoded(strings).tolist() == stacked(COLUMNS[:2], rows).tolist()


def test_one_row_of_many_columns_is_quick():
    columns = [Column(f"n{i}", ColumnKind.NUMERIC, RawType.FLOAT32) for i in range(20)]
    columns += [
        Column(f"d{i}", ColumnKind.DATETIME, RawType.STRING, datetime_format="year-month-day")
        for i in range(4)
    ]
    specs = {c.name: tf.TensorSpec([None], c.raw_type.value) for c in columns}
    graph = tf.function(lambda raw: raw_graph.matrix(columns, raw)).get_concrete_function(specs)
    row = {c.name: tf.constant(["2020-01-31"] if c.name[0] == "d" else [1.0]) for c in columns}
    seconds = []
    for _ in range(40):
        start = time.perf_counter()
        graph(row)
        seconds.append(time.perf_counter() - start)
    # measured 0.6 ms; the margin is for busy machines
    assert np.median(seconds) < 0.004
