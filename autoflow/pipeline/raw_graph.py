"""From raw columns to column values in TensorFlow: the twin of `autoflow.data.values.column_values`.

Patterns, rewritings and date arithmetic come from `autoflow.data`, so that there is one definition of each.
Only core TensorFlow ops, few of them: one row passes through every one of them when the model serves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autoflow.data.datetimes import (
    DATETIME_FORMATS,
    FIELD_SEPARATOR,
    MISSING_FIELDS,
    MONTHS,
    NUM_FIELDS,
    NUM_NUMBERS,
    DatetimeFormat,
    seconds_since_1970,
)
from autoflow.data.numbers import NUMBER_FORMATS, NumberFormat
from autoflow.data.schema import Column, ColumnKind, RawType

if TYPE_CHECKING:
    import tensorflow as tf


def column_values(column: Column, raw: tf.Tensor) -> tf.Tensor:
    """Returns what feature extractors see of a raw column, elementwise.

    Args:
        column: kind, raw type and formats.
        raw: tensor of the column's raw type, of any shape.

    Returns:
        `tf.float64` with NaN where missing, or `tf.string` for categories, text and encoded pictures, in
        the shape of `raw`.
    """
    import tensorflow as tf

    if column.kind in (ColumnKind.TEXT, ColumnKind.IMAGE):
        return raw
    if column.kind is ColumnKind.CATEGORICAL:
        return tf.strings.strip(raw)
    missing = tf.constant(np.nan, tf.float64)
    if column.raw_type is not RawType.STRING:
        numbers = tf.cast(raw, tf.float64)
        valid = tf.math.is_finite(numbers)
        if column.kind is ColumnKind.BOOLEAN:
            valid = tf.logical_or(tf.equal(numbers, 0.0), tf.equal(numbers, 1.0))
        return tf.where(valid, numbers, missing)
    if column.kind is ColumnKind.BOOLEAN:
        stripped = tf.strings.strip(raw)[..., tf.newaxis]
        true = tf.reduce_any(tf.equal(stripped, list(column.true_values)), axis=-1)
        false = tf.reduce_any(tf.equal(stripped, list(column.false_values)), axis=-1)
        one, zero = tf.constant(1.0, tf.float64), tf.constant(0.0, tf.float64)
        return tf.where(true, one, tf.where(false, zero, missing))
    if column.kind is ColumnKind.DATETIME:
        return _datetimes(DATETIME_FORMATS[column.datetime_format], raw)
    if column.kind is ColumnKind.NUMERIC:
        return _numbers(NUMBER_FORMATS[column.number_format], raw)
    raise ValueError(f"column {column.name!r}: kind {column.kind} has no column values")


def matrix(columns: Sequence[Column], raw: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns the column values of a node, `[B, k]`, with one set of ops for columns that are read alike.

    Args:
        columns: one or more, all with numbers, all with strings or all with pictures as column values.
        raw: a rank-1 tensor a column, by header.
    """
    import tensorflow as tf

    alike: dict[tuple[object, ...], list[Column]] = {}
    for column in columns:
        way = (column.kind, column.raw_type, column.datetime_format, column.number_format)
        alike.setdefault((*way, column.true_values, column.false_values), []).append(column)
    parts = [
        column_values(group[0], tf.stack([raw[column.name] for column in group], axis=1))
        for group in alike.values()
    ]
    if len(parts) == 1:
        return parts[0]
    stacked = [column.name for group in alike.values() for column in group]
    places = {name: place for place, name in enumerate(stacked)}
    order = [places[column.name] for column in columns]
    merged = tf.concat(parts, axis=1)
    return merged if order == sorted(order) else tf.gather(merged, order, axis=1)


def raw_texts(columns: Sequence[Column], raw: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns raw values as `tf.string[B, k]`, numbers with 17 digits: the twin of `dataset.raw_texts`."""
    import tensorflow as tf

    texts = []
    for column in columns:
        values = raw[column.name]
        if column.raw_type is not RawType.STRING:
            values = tf.strings.as_string(tf.cast(values, tf.float64), precision=16, scientific=True)
        texts.append(values)
    return tf.stack(texts, axis=1)


def _numbers(form: NumberFormat, raw: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    texts = raw
    for pattern, replacement in form.steps:
        texts = tf.strings.regex_replace(texts, pattern, replacement)
    texts = tf.where(tf.strings.regex_full_match(raw, form.pattern), texts, "nan")
    return tf.strings.to_number(texts, tf.float64)


def _datetimes(form: DatetimeFormat, raw: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    matches = tf.strings.regex_full_match(raw, form.pattern)
    rewritten = tf.where(matches, tf.strings.regex_replace(raw, form.pattern, form.rewrite), MISSING_FIELDS)
    flat = tf.reshape(rewritten, [-1])
    split = tf.raw_ops.StringSplitV2(input=flat, sep=FIELD_SEPARATOR, maxsplit=-1)
    fields = tf.reshape(split.values, [-1, NUM_FIELDS])
    numbers = tf.unstack(tf.strings.to_number(fields[:, :NUM_NUMBERS], tf.float64), axis=1)
    name_month = half_day = tf.zeros_like(numbers[0])
    if form.has_month_names:
        first_letters = tf.strings.substr(tf.strings.lower(fields[:, 9]), 0, 3)
        name_month = _position(first_letters, MONTHS)
    if form.has_half_days:
        half_day = _position(tf.strings.lower(fields[:, 10]), ("a", "p"))
    seconds = seconds_since_1970(numbers, name_month, half_day, tf.where)
    return tf.where(matches, tf.reshape(seconds, tf.shape(raw)), tf.constant(np.nan, tf.float64))


def _position(texts: tf.Tensor, words: tuple[str, ...]) -> tf.Tensor:
    """Returns 1.0 for the first word, 2.0 for the second and so on, 0.0 for any other text."""
    import tensorflow as tf

    equal = tf.cast(tf.equal(texts[:, tf.newaxis], list(words)), tf.float64)
    return tf.linalg.matvec(equal, tf.range(1.0, len(words) + 1.0, dtype=tf.float64))
