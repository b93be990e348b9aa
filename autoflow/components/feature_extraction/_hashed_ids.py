"""Texts as rows of hashed n-gram numbers: no vocabulary, the same in NumPy and in TensorFlow.

Words and characters become integers by their code points, n-grams keys as in `_tfidf`, keys buckets by a
linear hash modulo a prime (Carter and Wegman 1979); all of it is exact in int64 on both sides. No component
and no hyperparameter may enter this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.base import LookupTables
from autoflow.components.feature_extraction._ngram_ids import length_for_most, ngrams_graph, places_in_rows
from autoflow.components.feature_extraction._text_tokens import Tokens
from autoflow.components.feature_extraction._tfidf import blocks, row_keys

if TYPE_CHECKING:
    import tensorflow as tf

_PRIME = 2**31 - 1


@dataclass(frozen=True, eq=False)
class HashedIds:
    """From a text to the numbers of the buckets of its n-grams, each once and ascending, then 0.

    Args:
        tokens: how a text is cut; every token has a number.
        sizes: least and greatest number of tokens in an n-gram.
        num_buckets: numbers are 1 to this.
        factor: of the hash, 1 to the prime.
        length: numbers a row; greater ones beyond are left out.
    """

    tokens: Tokens
    sizes: tuple[int, int]
    num_buckets: int
    factor: int
    length: int

    def find(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the numbers of each text, by row and ascending, and the row of each."""
        keys, rows = row_keys(self.tokens, texts, self.sizes)
        base = self.num_buckets + 1
        cells = np.unique(rows * base + self._numbers(keys))
        return cells % base, cells // base

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Returns `int32[n, length]`."""
        result = np.zeros((len(texts), self.length), np.int32)
        for start, end in blocks(texts):
            numbers, rows = self.find(texts[start:end])
            places = places_in_rows(rows)
            fits = places < self.length
            result[start + rows[fits], places[fits]] = numbers[fits]
        return result

    def graph(self, texts: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`, of `string[B]`."""
        import tensorflow as tf

        num_rows = tf.shape(texts, out_type=tf.int64)[0]
        tokens, rows = self.tokens.find_graph(texts, tables)
        base = self.num_buckets + 1
        found = ngrams_graph(tokens, rows, self.sizes, self.tokens.size + 1)
        by_size = [tf.boolean_mask(rows * base + self._numbers(keys), valid) for keys, valid in found]
        cells = tf.sort(tf.unique(tf.concat(by_size, axis=0))[0])
        numbers = tf.cast(cells % base, tf.int32)
        ragged = tf.RaggedTensor.from_value_rowids(numbers, cells // base, num_rows, validate=False)
        return ragged.to_tensor(0, shape=[None, self.length])

    def _numbers(self, keys: np.ndarray | tf.Tensor) -> np.ndarray | tf.Tensor:
        # keys are not negative and the product is below 2^62: no overflow, one sense of the remainder
        return keys % _PRIME * self.factor % _PRIME % self.num_buckets + 1


def hash_factor(seed: int) -> int:
    """Draws the factor of a hash function."""
    return int(np.random.default_rng(seed).integers(1, _PRIME))


def learned(ids: HashedIds, texts: Sequence[str]) -> tuple[HashedIds, np.ndarray]:
    """Returns the same hash with a length for nearly all rows, and importances `float32[num_buckets]`.

    A bucket weighs its inverse document frequency, and 0 where no text has it: its vector would be noise.

    Args:
        ids: its length is the greatest allowed.
        texts: one or more training rows.
    """
    numbers, rows = ids.find(texts)
    counts = np.bincount(numbers, minlength=ids.num_buckets + 1)[1:]
    idf = np.where(counts > 0, np.log((1 + len(texts)) / (1 + counts)) + 1, 0.0)
    length = length_for_most(np.bincount(rows, minlength=len(texts)))
    return replace(ids, length=min(length, ids.length)), idf.astype(np.float32)
