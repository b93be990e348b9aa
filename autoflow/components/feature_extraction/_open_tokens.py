"""Words and characters as integers without a vocabulary, the same in NumPy and in TensorFlow.

The counterparts of the tokens of `_text_tokens`, which know what they have learned; these know any token, and
different ones may share a number. No component and no hyperparameter may enter this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.base import LookupTables
from autoflow.components.feature_extraction._text_tokens import (
    SPACE,
    Tokens,
    code_points,
    code_points_graph,
    find_characters,
    find_characters_graph,
    folding,
)

if TYPE_CHECKING:
    import tensorflow as tf

_NUM_WORDS = 2**30
_NUM_CHARACTERS = 46_339
"""Runs of four have keys below 2^62; characters up to here, common Chinese ones included, are told apart."""
_PRIME = 2**31 - 1
_PLACES = 64
"""Letters of a word beyond count as if all stood at the last place."""


@cache
def _factors() -> np.ndarray:
    """Returns `int64[_PLACES]`, a factor for each place in a word; the seed is part of the method."""
    return np.random.default_rng(1979).integers(1, _PRIME, _PLACES)


@cache
def _character_table() -> np.ndarray:
    """Returns the number of every code point, folded first: 1 for a space."""
    folded = folding(words_only=False)
    return np.asarray((folded - SPACE) % _NUM_CHARACTERS + 1, np.int32)


@dataclass(frozen=True)
class HashedCharacters(Tokens):
    """Characters as `CharacterTokens` cuts them, numbered by their code points.

    Args:
        max_characters: how far a text is read.
    """

    max_characters: int

    @property
    def size(self) -> int:
        """The greatest number."""
        return _NUM_CHARACTERS

    def find(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns character numbers and rows."""
        return find_characters(texts, self.max_characters, _character_table())

    def find_graph(self, texts: tf.Tensor, tables: LookupTables) -> tuple[tf.Tensor, tf.Tensor]:
        """As `find`."""
        return find_characters_graph(texts, self.max_characters, _character_table())


@dataclass(frozen=True)
class HashedWords(Tokens):
    """Words as `WordTokens` cuts them, numbered by a linear hash over their code points.

    Args:
        max_characters: how far a text is read, up to 20,000: the sum of a word then fits into an int64.
    """

    max_characters: int

    @property
    def size(self) -> int:
        """The greatest number."""
        return _NUM_WORDS

    def find(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns word numbers and rows."""
        points, rows = code_points(texts, self.max_characters, folding(words_only=True))
        inside = points != SPACE
        starts = inside & ~np.concatenate([[False], inside[:-1]])
        words = np.cumsum(starts)[inside] - 1
        letters, first = points[inside].astype(np.int64), np.flatnonzero(starts[inside])
        if not len(first):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        places = np.minimum(np.arange(len(letters)) - first[words], _PLACES - 1)
        return _numbers(np.add.reduceat(letters * _factors()[places], first)), rows[inside][first]

    def find_graph(self, texts: tf.Tensor, tables: LookupTables) -> tuple[tf.Tensor, tf.Tensor]:
        """As `find`."""
        import tensorflow as tf

        ragged = code_points_graph(texts, self.max_characters, folding(words_only=True))
        points, rows = ragged.flat_values, ragged.value_rowids()
        inside = points != SPACE
        starts = tf.logical_and(inside, tf.logical_not(tf.pad(inside, [[1, 0]])[: tf.size(points)]))
        words = tf.boolean_mask(tf.cumsum(tf.cast(starts, tf.int32)), inside) - 1
        letters = tf.cast(tf.boolean_mask(points, inside), tf.int64)
        first = tf.cast(tf.where(tf.boolean_mask(starts, inside))[:, 0], tf.int32)
        places = tf.minimum(tf.range(tf.size(letters)) - tf.gather(first, words), _PLACES - 1)
        sums = tf.math.segment_sum(letters * tf.gather(tf.constant(_factors()), places), words)
        return _numbers(sums), tf.boolean_mask(rows, starts)


def _numbers(sums: np.ndarray | tf.Tensor) -> np.ndarray | tf.Tensor:
    # 20,000 letters below 205,744 times factors below 2^31 stay below 2^63; a remainder of 2^30 has no sign
    return sums % _PRIME % (_NUM_WORDS - 1) + 1
