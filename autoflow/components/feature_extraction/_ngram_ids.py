"""Texts as rows of n-gram numbers of a fixed length, the same in NumPy and in TensorFlow.

What an n-gram is comes from `_text_tokens` and from the int64 keys of `_tfidf`; here they become places in a
learned vocabulary. No component and no hyperparameter may enter this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from autoflow.components.base import LookupTables
from autoflow.components.feature_extraction._text_tokens import Tokens
from autoflow.components.feature_extraction._tfidf import blocks, row_keys
from autoflow.components.stored import stored

if TYPE_CHECKING:
    import tensorflow as tf

_LENGTH_SHARE = 0.98
"""Share of the training rows whose n-grams all find room."""


@dataclass(frozen=True, eq=False)
class NgramIds:
    """From a text to the numbers of its known n-grams, each once: short ones first, in reading order, then 0.

    Args:
        tokens: how a text is cut.
        sizes: least and greatest number of tokens in an n-gram.
        keys: `int64[v]`, ascending keys of the known n-grams; the first has number 1.
        idf: `float32[v]`, inverse document frequencies.
        length: numbers a row; n-grams beyond are left out.
    """

    tokens: Tokens
    sizes: tuple[int, int]
    keys: np.ndarray
    idf: np.ndarray
    length: int

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Returns `int32[n, length]`."""
        result = np.zeros((len(texts), self.length), np.int32)
        for start, end in blocks(texts):
            numbers, rows = self._known(texts[start:end])
            places = places_in_rows(rows)
            fits = places < self.length
            result[start + rows[fits], places[fits]] = numbers[fits]
        return result

    def _known(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the numbers of the known n-grams and their rows, by row."""
        keys, rows = row_keys(self.tokens, texts, self.sizes)
        numbers = pd.Index(self.keys).get_indexer(keys) + 1
        base = len(self.keys) + 1
        cells = pd.unique(rows[numbers > 0] * base + numbers[numbers > 0])
        cells = cells[np.argsort(cells // base, kind="stable")]
        return cells % base, cells // base

    def graph(self, texts: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`, of `string[B]`."""
        import tensorflow as tf

        num_rows = tf.shape(texts, out_type=tf.int64)[0]
        if not len(self.keys):
            return tf.zeros([num_rows, self.length], tf.int32)
        tokens, rows = self.tokens.find_graph(texts, tables)
        found = ngrams_graph(tokens, rows, self.sizes, self.tokens.size + 1)
        known_keys = stored(self.keys)
        by_size = []
        for keys, valid in found:
            places = tf.minimum(tf.searchsorted(known_keys, keys, out_type=tf.int64), len(self.keys) - 1)
            known = tf.logical_and(valid, tf.gather(known_keys, places) == keys)
            cells, _ = tf.unique(tf.boolean_mask(rows * len(self.keys) + places, known))
            numbers = tf.cast(cells % len(self.keys) + 1, tf.int32)
            by_size.append(
                tf.RaggedTensor.from_value_rowids(numbers, cells // len(self.keys), num_rows, validate=False)
            )
        merged = tf.concat(by_size, axis=1) if len(by_size) > 1 else by_size[0]
        return merged.to_tensor(0, shape=[None, self.length])


def ngrams_graph(
    tokens: tf.Tensor, rows: tf.Tensor, sizes: tuple[int, int], base: int
) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Returns key and validity of the n-gram that begins at each token, one pair a size; see `_tfidf`."""
    import tensorflow as tf

    count = tf.size(tokens)
    tokens = tf.pad(tokens, [[0, sizes[1]]])
    rows = tf.pad(rows, [[0, sizes[1]]], constant_values=-1)
    keys, valid = tokens[:count], tokens[:count] > 0
    found = [(keys, valid)] if sizes[0] <= 1 else []
    for size in range(2, sizes[1] + 1):
        following = tokens[size - 1 : count + size - 1]
        same_row = rows[size - 1 : count + size - 1] == rows[:count]
        valid = tf.logical_and(valid, tf.logical_and(following > 0, same_row))
        keys = keys * base + following
        if size >= sizes[0]:
            found.append((keys, valid))
    return found


def places_in_rows(rows: np.ndarray) -> np.ndarray:
    """Returns for each entry of ascending `rows` how many entries of its row come before it."""
    starts = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]])) if len(rows) else rows
    return np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))


def length_for_most(lengths: np.ndarray) -> int:
    """Returns a length, 1 or more, that is enough for nearly all of the rows with these lengths."""
    return max(1, int(np.ceil(np.quantile(lengths, _LENGTH_SHARE))))


def learn_ids(
    tokens: Tokens,
    texts: Sequence[str],
    sizes: tuple[int, int],
    *,
    min_rows: int,
    max_features: int,
    max_length: int,
) -> NgramIds:
    """Learns the n-grams that occur in most rows, and a length that is enough for nearly all rows.

    Args:
        tokens: learned from the same texts.
        texts: one or more training rows, `""` where missing.
        sizes: least and greatest number of tokens in an n-gram.
        min_rows: rows that an n-gram must occur in, 1 or more.
        max_features: most n-grams.
        max_length: greatest length.
    """
    all_keys, rows = row_keys(tokens, texts, sizes)
    codes, distinct = pd.factorize(all_keys)
    base = max(len(distinct), 1)
    cells = pd.unique(rows * base + codes)
    counts = np.bincount(cells % base, minlength=len(distinct))
    by_count = np.lexsort((distinct, -counts))[:max_features]
    frequent = by_count[counts[by_count] >= min_rows]
    chosen = frequent if len(frequent) else by_count
    chosen = chosen[np.argsort(distinct[chosen])]
    is_chosen = np.zeros(len(distinct), bool)
    is_chosen[chosen] = True
    rows_of_cells = cells[is_chosen[cells % base]] // base
    lengths = np.bincount(rows_of_cells, minlength=len(texts))
    idf = np.log((1 + len(texts)) / (1 + counts[chosen])) + 1
    return NgramIds(
        tokens,
        sizes,
        distinct[chosen].astype(np.int64),
        idf.astype(np.float32),
        min(length_for_most(lengths), max_length),
    )
