"""Texts as numbered words or characters, the same in NumPy and in TensorFlow.

Case and character classes differ between Python and the Unicode library inside TensorFlow. Both sides
therefore look every code point up in one table that is made here; nothing else decides what a letter is.
No component and no hyperparameter may enter this file.
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from autoflow.components.base import LookupTables
from autoflow.components.stored import stored

if TYPE_CHECKING:
    import tensorflow as tf

SPACE = 0x20
_NUMBER_OF_SPACE = 1
_IDEOGRAPHS = 0x20000
TABLE_END = 0x323B0
"""Rare Chinese characters end here; code points from here on (tags, private use) count as spaces."""


@cache
def folding(*, words_only: bool) -> np.ndarray:
    """Returns `int32[TABLE_END + 1]`: for each code point its lower-case, compatible form.

    Full-width letters become plain ones. White space, control characters and whatever is unassigned become a
    space; with `words_only` everything but letters, digits and marks does.
    """
    table = np.arange(TABLE_END + 1, dtype=np.int32)
    for point in range(_IDEOGRAPHS):
        character = chr(point)
        folded = unicodedata.normalize("NFKC", character).lower()
        if len(folded) == 1:
            character = folded
        category = unicodedata.category(character)
        blank = category[0] in "ZC" or (words_only and category[0] not in "LNM")
        table[point] = SPACE if blank else ord(character)
    table[TABLE_END] = SPACE
    return table


def code_points(
    texts: Sequence[str], max_characters: int, table: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns folded code points of all texts, each between two spaces, and the row of each."""
    padded = [f" {text[:max_characters]} " for text in texts]
    lengths = np.fromiter((len(text) for text in padded), np.int64, len(padded))
    points = np.frombuffer("".join(padded).encode("utf-32-le", "replace"), np.uint32)
    return table[np.minimum(points, TABLE_END)], np.repeat(np.arange(len(padded)), lengths)


def code_points_graph(texts: tf.Tensor, max_characters: int, table: np.ndarray) -> tf.RaggedTensor:
    """As `code_points`, of `string[B]`, a ragged row a text."""
    import tensorflow as tf

    # slicing and joining the strings takes a tenth of the operations that ragged tensors take for it
    read = tf.strings.substr(texts, 0, max_characters, unit="UTF8_CHAR")
    points = tf.strings.unicode_decode(tf.strings.join([" ", read, " "]), "UTF-8")
    narrow = np.min_scalar_type(table.max())  # numbers of characters fit into a byte or two, points do not
    table = table.astype(narrow) if narrow.itemsize < table.itemsize else table
    folded = tf.gather(stored(table), tf.minimum(points.flat_values, TABLE_END))
    return points.with_flat_values(tf.cast(folded, tf.int32))


def find_characters(
    texts: Sequence[str], max_characters: int, table: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `table` says of all characters in reading order and the row of each, `int64[t]`.

    Args:
        texts: any strings.
        max_characters: how far a text is read.
        table: `int32[TABLE_END + 1]`, 1 for spaces; of several spaces in a row the first is kept.
    """
    numbers, rows = code_points(texts, max_characters, table)
    blank = numbers == _NUMBER_OF_SPACE
    kept = np.ones(len(numbers), bool)
    kept[1:] = ~(blank[1:] & blank[:-1] & (rows[1:] == rows[:-1]))
    return numbers[kept].astype(np.int64), rows[kept]


def find_characters_graph(
    texts: tf.Tensor, max_characters: int, table: np.ndarray
) -> tuple[tf.Tensor, tf.Tensor]:
    """As `find_characters`, of `string[B]`."""
    import tensorflow as tf

    ragged = code_points_graph(texts, max_characters, table)
    numbers, rows = ragged.flat_values, ragged.value_rowids()
    blank = numbers == _NUMBER_OF_SPACE
    repeated = blank[1:] & blank[:-1] & (rows[1:] == rows[:-1])
    kept = tf.logical_not(tf.pad(repeated, [[1, 0]]))[: tf.size(rows)]
    return tf.cast(tf.boolean_mask(numbers, kept), tf.int64), tf.boolean_mask(rows, kept)


class Tokens(ABC):
    """Numbers the tokens of a text from 1 on; 0 is a token that was not kept."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of kept tokens."""

    @abstractmethod
    def find(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the numbers of all tokens in reading order and the row of each, `int64[t]`."""

    @abstractmethod
    def find_graph(self, texts: tf.Tensor, tables: LookupTables) -> tuple[tf.Tensor, tf.Tensor]:
        """As `find`, of `string[B]`."""


def _most_frequent(codes: np.ndarray, num_tokens: int, *, min_count: int, limit: int) -> np.ndarray:
    """Returns the codes of the most frequent tokens in the order of first appearance."""
    counts = np.bincount(codes, minlength=num_tokens)
    by_count = np.argsort(-counts, kind="stable")[:limit]
    frequent = by_count[counts[by_count] >= min_count]
    return np.sort(frequent if len(frequent) else by_count)


@dataclass(frozen=True)
class WordTokens(Tokens):
    """Runs of letters, digits and marks in lower case.

    Args:
        words: kept words; the first has number 1.
        max_characters: how far a text is read.
    """

    words: tuple[str, ...]
    max_characters: int

    @classmethod
    def learn(cls, texts: Sequence[str], max_characters: int, *, min_count: int, limit: int) -> WordTokens:
        """Keeps the most frequent words that occur `min_count` times (or all where none does)."""
        words, _ = cls._split(texts, max_characters)
        codes, distinct = pd.factorize(words)
        kept = _most_frequent(codes, len(distinct), min_count=min_count, limit=limit)
        return cls(tuple(distinct[kept].tolist()), max_characters)

    @property
    def size(self) -> int:
        """Number of kept words."""
        return len(self.words)

    @staticmethod
    def _split(texts: Sequence[str], max_characters: int) -> tuple[np.ndarray, np.ndarray]:
        points, rows = code_points(texts, max_characters, folding(words_only=True))
        inside = points != SPACE
        starts = np.flatnonzero(inside[1:] & ~inside[:-1]) + 1
        words = points.astype(np.uint32).tobytes().decode("utf-32-le").split(" ")
        return np.array([word for word in words if word], dtype=object), rows[starts]

    def find(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns word numbers and rows."""
        words, rows = self._split(texts, self.max_characters)
        index = pd.Index(np.array(self.words, dtype=object), dtype=object)
        return index.get_indexer(pd.Index(words, dtype=object)).astype(np.int64) + 1, rows

    def find_graph(self, texts: tf.Tensor, tables: LookupTables) -> tuple[tf.Tensor, tf.Tensor]:
        """As `find`."""
        import tensorflow as tf

        points = code_points_graph(texts, self.max_characters, folding(words_only=True))
        words = tf.strings.split(tf.strings.unicode_encode(points, "UTF-8"))
        if not self.words:  # TensorFlow has no empty tables
            return tf.zeros_like(words.flat_values, tf.int64), words.value_rowids()
        table = tables.table(self.words, range(1, len(self.words) + 1), 0)
        return table.lookup(words.flat_values), words.value_rowids()


@dataclass(frozen=True, eq=False)
class CharacterTokens(Tokens):
    """Characters in lower case, white space collapsed to one space, a space before and behind the text.

    Args:
        points: `int64[size]`, kept code points; the first is the space and has number 1.
        max_characters: how far a text is read.
    """

    points: np.ndarray
    max_characters: int

    @classmethod
    def learn(
        cls, texts: Sequence[str], max_characters: int, *, min_count: int, limit: int
    ) -> CharacterTokens:
        """Keeps the most frequent characters that occur `min_count` times (or all where none does)."""
        points, _ = code_points(texts, max_characters, folding(words_only=False))
        codes, distinct = pd.factorize(points)
        kept = np.asarray(distinct, np.int64)[
            _most_frequent(codes, len(distinct), min_count=min_count, limit=limit)
        ]
        return cls(np.concatenate([[SPACE], kept[kept != SPACE]]), max_characters)

    @property
    def size(self) -> int:
        """Number of kept characters."""
        return len(self.points)

    def _numbers(self) -> np.ndarray:
        """Returns the number of every code point, folded first."""
        numbers = np.zeros(TABLE_END + 1, np.int32)
        numbers[self.points] = np.arange(1, len(self.points) + 1)
        return numbers[folding(words_only=False)]

    def find(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns character numbers and rows."""
        return find_characters(texts, self.max_characters, self._numbers())

    def find_graph(self, texts: tf.Tensor, tables: LookupTables) -> tuple[tf.Tensor, tf.Tensor]:
        """As `find`."""
        return find_characters_graph(texts, self.max_characters, self._numbers())
