"""Chooses the label column, names its classes and codes its cells.

Labels keep their original spelling (outer whitespace apart). Whether they make a good task is asked in
`checks`.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autoflow.data.cells import is_plain, is_string
from autoflow.data.numbers import ASCII_WHITESPACE, MISSING_TOKENS
from autoflow.data.reading import RawTable
from autoflow.data.schema import Schema
from autoflow.errors import DataError, near_names, shortened

LABEL_NAMES = ("label", "target", "class", "y", "outcome", "labels", "classes", "response")
"""Headers that are taken for the label, in order of preference, in any case."""

_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_CODE = re.compile(r"[+-]?0[0-9]+")


def choose_label(table: RawTable, label: str | None) -> tuple[str, str]:
    """Returns the header of the label and how it was chosen.

    Args:
        table: the table.
        label: as given by the user; None to find it by its name, else take the last column.

    Raises:
        DataError: there is no such column, or the table has one column only.
    """
    headers = list(table.columns)
    if label is not None:
        if label not in table.columns:
            near = near_names(label, headers)
            near = near if near.endswith("?") else f"{near}."
            raise DataError(
                f"{table.name}: there is no label column {label!r}; {near} "
                "Name one of the headers with --label."
            )
        chosen, reason = label, "named by you"
    else:
        by_case = {header.strip().lower(): header for header in reversed(headers)}
        if "x" in by_case and by_case.get("y") != headers[-1]:
            by_case.pop("y", None)  # a coordinate
        found = next((by_case[name] for name in LABEL_NAMES if name in by_case), None)
        chosen = found or headers[-1]
        reason = (
            "found by its name" if found else "the last column, as none was named and no header says label"
        )
    if len(headers) == 1:
        raise DataError(
            f"{table.name}: the only column is {chosen!r}; a classifier needs a label and at least one more "
            "column. If the fields are not parted by comma, semicolon, tab or |, save the table anew."
        )
    return chosen, reason


def label_strings(table: RawTable, label: str) -> pa.Array:
    """Returns the labels as strings, null where missing.

    `NA`, `null` and the like are missing where all other labels are numbers or true and false.

    Raises:
        DataError: the column holds lists, structs or bytes.
    """
    as_read = table.columns[label]
    if not is_plain(as_read):
        raise DataError(
            f"{table.name}: label column {label!r} holds {shortened(str(as_read.type))} values; a label is "
            "one word or number a row."
        )
    if pa.types.is_boolean(as_read.type):
        return pc.if_else(as_read, "True", "False")
    if not is_string(as_read):
        if pa.types.is_floating(as_read.type):
            return _spelled(as_read)
        return pc.cast(as_read, pa.string())
    strings = pc.cast(pc.ascii_trim(as_read, ASCII_WHITESPACE), pa.string())
    strings = pc.if_else(pc.equal(strings, ""), None, strings)
    distinct = pc.unique(strings.drop_null()).to_pylist()
    others = [text for text in distinct if text not in MISSING_TOKENS]
    if len(others) < len(distinct) and others and _type_of(others) != "string":
        strings = pc.if_else(pc.is_in(strings, pa.array(sorted(MISSING_TOKENS))), None, strings)
    return strings


def classes_of(strings: pa.Array) -> tuple[tuple[str, ...], str]:
    """Returns the classes in order, numbers by value and others by spelling, and the label type."""
    distinct = pc.unique(strings.drop_null()).to_pylist()
    label_type = _type_of(distinct) if distinct else "string"
    if label_type in ("integer", "float"):
        return tuple(sorted(distinct, key=lambda text: (float(text), text))), label_type
    return tuple(sorted(distinct)), label_type


def labels_of(table: RawTable, schema: Schema) -> np.ndarray:
    """Returns the class of every row as int32[n], -1 where the label is missing or no class of the schema.

    Spellings of the same number or of true and false find their class: `1` and `1.0`, `true` and `True`.

    Raises:
        DataError: the table has no label column.
    """
    if schema.label not in table.columns:
        raise DataError(
            f"{table.name}: the label column {schema.label!r} is missing; "
            f"{near_names(schema.label, list(table.columns))}"
        )
    encoded = label_strings(table, schema.label).dictionary_encode()
    exact = {name: i for i, name in enumerate(schema.classes)}
    by_value = {_value(name, schema.label_type): i for i, name in reversed(list(enumerate(schema.classes)))}
    codes = [
        exact.get(text, by_value.get(_value(text, schema.label_type), -1))
        for text in encoded.dictionary.to_pylist()
    ]
    positions = pc.fill_null(encoded.indices, len(codes)).to_numpy(zero_copy_only=False)
    return np.array([*codes, -1], np.int32)[positions]


def _spelled(doubles: pa.Array) -> pa.Array:
    encoded = doubles.dictionary_encode()
    texts = [
        None if value is None or not np.isfinite(value) else repr(value)
        for value in encoded.dictionary.to_pylist()
    ]
    return pa.array(texts, pa.string()).take(encoded.indices)


def _type_of(spellings: list[str]) -> str:
    if {text.lower() for text in spellings} <= {"true", "false"}:
        return "boolean"
    if all(_INTEGER.fullmatch(text) for text in spellings):
        return "integer"
    if all(_FLOAT.fullmatch(text) and not _CODE.fullmatch(text) for text in spellings):
        return "float"
    return "string"


def _value(text: str, label_type: str) -> object:
    if label_type in ("integer", "float") and _FLOAT.fullmatch(text):
        return float(text)
    return text.lower() if label_type == "boolean" else text
