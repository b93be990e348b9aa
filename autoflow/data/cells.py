"""Counts what a column holds, once, so that all later looks at it work on distinct values only.

Nothing here judges what a column means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autoflow.data.numbers import ASCII_WHITESPACE, INFINITE, MISSING_TOKENS, MISSING_WORDS

_UNSPACED_LETTER = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"
_WORD = r"\S+"
_SAMPLE = 2000


@dataclass(frozen=True)
class Cells:
    """The distinct non-missing values of a column and how often each occurs.

    Args:
        distinct: Arrow array without nulls; strings are stripped of ASCII whitespace and not empty.
        counts: int64, rows of each distinct value.
        num_rows: rows of the column, missing ones included.
    """

    distinct: pa.Array
    counts: np.ndarray
    num_rows: int

    @property
    def num_distinct(self) -> int:
        """Number of distinct non-missing values."""
        return len(self.distinct)

    @property
    def num_present(self) -> int:
        """Number of rows that are not missing."""
        return int(self.counts.sum())

    @property
    def missing_share(self) -> float:
        """Share of rows that are missing, 0 to 1."""
        return 1 - self.num_present / self.num_rows if self.num_rows else 1.0

    @property
    def distinct_share(self) -> float:
        """Distinct values for each row that is not missing, 0 to 1."""
        return self.num_distinct / self.num_present if self.num_distinct else 0.0

    def where(self, keep: np.ndarray) -> Cells:
        """Returns the cells of some distinct values; the rows of the others count as missing."""
        if keep.all():
            return self
        return Cells(self.distinct.filter(pa.array(keep)), self.counts[keep], self.num_rows)

    def without_missing_tokens(self) -> Cells:
        """Returns the cells without spellings of "missing" such as `NA`; for columns of strings."""
        tokens = pa.array(sorted(MISSING_TOKENS), self.distinct.type)
        return self.where(~pc.is_in(self.distinct, tokens).to_numpy(zero_copy_only=False))

    def without_missing_numbers(self) -> Cells:
        """Returns the cells without what means "missing" among numbers or dates, infinities included."""
        missing = pc.or_(means_missing(self.distinct), pc.match_substring_regex(self.distinct, INFINITE))
        return self.where(~missing.to_numpy(zero_copy_only=False))

    def share(self, keep: np.ndarray) -> float:
        """Returns the share of non-missing rows whose distinct value is kept."""
        return float(self.counts[keep].sum() / max(1, self.num_present))

    def sample(self, size: int = _SAMPLE) -> pa.Array:
        """Returns at most `size` of the distinct values, taken evenly."""
        if self.num_distinct <= size:
            return self.distinct
        return self.distinct.take(pa.array(np.linspace(0, self.num_distinct - 1, size).astype(np.int64)))


def is_string(array: pa.Array) -> bool:
    """Tells whether an Arrow array holds strings."""
    return pa.types.is_string(array.type) or pa.types.is_large_string(array.type)


def is_plain(array: pa.Array) -> bool:
    """Tells whether an Arrow array holds strings, integers, doubles or booleans."""
    kind = array.type
    return is_string(array) or kind in (pa.int64(), pa.float64(), pa.bool_())


def count_cells(as_read: pa.Array) -> Cells:
    """Returns the distinct values of a string, integer, double or boolean array with their counts."""
    distinct, counts = _counted(as_read)
    if is_string(as_read):
        trimmed = pc.ascii_trim(distinct, ASCII_WHITESPACE)
        if not trimmed.equals(distinct):
            distinct, codes = _encoded(trimmed)
            counts = np.bincount(codes, counts, minlength=len(distinct)).astype(np.int64)
        present = pc.not_equal(distinct, "").to_numpy(zero_copy_only=False)
    elif pa.types.is_floating(as_read.type):
        present = np.isfinite(distinct.to_numpy(zero_copy_only=False))
    else:
        present = np.ones(len(distinct), bool)
    return Cells(distinct, counts, len(as_read)).where(present)


def means_missing(strings: pa.Array) -> pa.Array:
    """Tells which strings mean "missing" in a column whose other values are numbers or dates."""
    words = pa.array(sorted(MISSING_WORDS), strings.type)
    return pc.is_in(pc.ascii_lower(pc.ascii_trim(strings, ASCII_WHITESPACE)), words)


@dataclass(frozen=True)
class Wording:
    """How the strings of a column are built.

    Args:
        mean_characters: mean length in characters.
        mean_words: mean number of words parted by spaces.
        spaced: False where many letters belong to scripts that write no spaces, such as Japanese.
    """

    mean_characters: float
    mean_words: float
    spaced: bool


def wording(cells: Cells) -> Wording:
    """Returns how the distinct strings are built, judged by a sample of them."""
    strings = cells.sample()
    if not len(strings):
        return Wording(0.0, 0.0, True)
    characters = pc.sum(pc.utf8_length(strings)).as_py() or 0
    words = pc.sum(pc.count_substring_regex(strings, _WORD)).as_py() or 0
    unspaced = pc.sum(pc.count_substring_regex(strings, _UNSPACED_LETTER)).as_py() or 0
    return Wording(characters / len(strings), words / len(strings), unspaced < 0.3 * max(1, characters))


def _counted(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    valid = array.drop_null() if array.null_count else array
    if pa.types.is_boolean(array.type):
        counted = valid.value_counts()
        return counted.field("values"), counted.field("counts").to_numpy(zero_copy_only=False)
    distinct, codes = _encoded(valid)
    return distinct, np.bincount(codes, minlength=len(distinct))


def _encoded(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    encoded = array.dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False)
