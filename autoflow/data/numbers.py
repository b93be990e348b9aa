"""Numbers written as text: plain decimals, numbers with a unit or currency, decimal commas with or without.

A format is a pattern and a few rewriting steps in RE2 syntax, the engine of both Arrow and TensorFlow, so
that the exported graph reads a number exactly as training did. Nothing here decides what a column means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ASCII_WHITESPACE = " \t\n\v\f\r"
"""What `tf.strings.strip` strips."""

MISSING_TOKENS: frozenset[str] = frozenset(
    ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "-", "?", "n/a", "#N/A", "<NA>", "NaT", "."]
)
"""Spellings that mean "missing" in a column whose other values are numbers, dates or booleans."""

MISSING_WORDS: frozenset[str] = frozenset(
    [token.lower() for token in MISSING_TOKENS]
    + ["n.a.", "n.a", "nil", "--", "---", "(null)", "missing", "unknown", "not available"]
)
"""What means "missing", in any case, in a column whose other values are numbers or dates."""

INFINITE = r"(?i)^[+-]?inf(?:inity)?$"
"""A number without bounds: missing to a model, and worth a word where it comes."""

DECIMAL = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
"""A plain decimal number, as programs write it."""

CURRENCY = r"(?:US\$|[$€£¥₹]|Rs\.?|USD|EUR|GBP|JPY|INR)"
_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3}){1,6}|[0-9]{1,18}"
_UNIT = r"[^0-9,.+\-\s][^0-9]{0,15}"


@dataclass(frozen=True)
class NumberFormat:
    """How to read one number from a string.

    Args:
        name: as in `Column.number_format`.
        pattern: RE2 pattern that the whole string must match; others are missing.
        steps: (pattern, replacement) pairs, applied globally in turn; the result is a plain decimal.
    """

    name: str
    pattern: str
    steps: tuple[tuple[str, str], ...]


_WITH_UNIT = (
    rf"^\s*(?:([+-]?)\s*{CURRENCY}?|{CURRENCY}\s*([+-]))\s*({_GROUPED})(\.[0-9]{{1,18}})?\s*(?:{_UNIT})?$"
)
_COMMA_GROUPED = r"[0-9]{1,3}(?:[. \x{a0}\x{202f}][0-9]{3}){1,6}|[0-9]{1,18}"
_DECIMAL_COMMA = (
    rf"^\s*(?:([+-]?)\s*{CURRENCY}?|{CURRENCY}\s*([+-]))\s*({_COMMA_GROUPED})(?:,([0-9]{{1,18}}))?"
    rf"\s*(?:{_UNIT})?$"
)

NUMBER_FORMATS: Mapping[str, NumberFormat] = MappingProxyType(
    {
        "unit": NumberFormat("unit", _WITH_UNIT, ((_WITH_UNIT, r"\1\2\3\4"), (",", ""))),
        "decimal comma": NumberFormat(
            "decimal comma",
            _DECIMAL_COMMA,
            ((_DECIMAL_COMMA, r"\1\2\3,\40"), (r"[. \x{a0}\x{202f}]", ""), (",", ".")),
        ),
    }
)
"""The formats of numeric columns whose raw values are strings, by name."""


def parse_decimals(strings: pa.Array) -> np.ndarray:
    """Returns the numbers as float64, NaN where a string is null, no plain decimal, or too large.

    >>> parse_decimals(pa.array(["1.5", " 2e3", "ten", None]))
    array([1.5e+00, 2.0e+03,     nan,     nan])
    """
    trimmed = pc.ascii_trim(strings, ASCII_WHITESPACE)
    try:
        numbers = pc.cast(trimmed, pa.float64())
    except pa.ArrowInvalid:
        decimal = pc.match_substring_regex(trimmed, DECIMAL)
        numbers = pc.cast(pc.if_else(decimal, trimmed, None), pa.float64())
    return finite(numbers.to_numpy(zero_copy_only=False))


def parse_numbers(strings: pa.Array, number_format: NumberFormat) -> np.ndarray:
    """Returns the numbers of strings in this format as float64, NaN where one does not match.

    >>> parse_numbers(pa.array(["$1,200.50", "0.6 m", "tall"]), NUMBER_FORMATS["unit"])
    array([1.2005e+03, 6.0000e-01,        nan])
    """
    matches = pc.match_substring_regex(strings, number_format.pattern)
    texts = pc.if_else(matches, strings, None)
    for pattern, replacement in number_format.steps:
        texts = pc.replace_substring_regex(texts, pattern, replacement)
    return finite(pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False))


def finite(numbers: np.ndarray) -> np.ndarray:
    """Returns float64 with NaN in place of infinities; the array itself where nothing changes."""
    numbers = np.asarray(numbers, np.float64)
    infinite = np.isinf(numbers)
    return np.where(infinite, np.nan, numbers) if infinite.any() else numbers
