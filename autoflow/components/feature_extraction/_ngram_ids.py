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

if TYPE_CHECKING:
    import tensorflow as tf

LENGTH_SHARE = 0.98
"""Share of the training rows whose n-grams all find room."""


@dataclass(frozen=True, eq=False)
class NgramIds:
    """From a text to the numbers of its known n-grams: short ones first, in reading order, 0 at the end.

    Args:
        tokens: how a text is cut.
        sizes: least and greatest number of tokens in an n-gram.
        keys: `int64[v]`, ascending keys of the known n-grams; the first has number 1.
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
            places = _places(rows)
            fits = places < self.length
            result[start + rows[fits], places[fits]] = numbers[fits]
        return result

    def _known(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the numbers of all known n-grams and their rows, by row."""
        keys, rows = row_keys(self.tokens, texts, self.sizes)
        numbers = pd.Index(self.keys).get_indexer(keys) + 1
        rows, numbers = rows[numbers > 0], numbers[numbers > 0]
        order = np.argsort(rows, kind="stable")
        return numbers[order], rows[order]

    def graph(self, texts: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`, of `string[B]`."""
        import tensorflow as tf

        num_rows = tf.shape(texts, out_type=tf.int64)[0]
        if not len(self.keys):
            return tf.zeros([num_rows, self.length], tf.int32)
        tokens, rows = self.tokens.find_graph(texts, tables)
        found = _ngrams_graph(tokens, rows, self.sizes, self.tokens.size + 1)
        known_keys = tf.constant(self.keys)
        by_size = []
        for keys, valid in found:
            places = tf.minimum(tf.searchsorted(known_keys, keys, out_type=tf.int64), len(self.keys) - 1)
            known = tf.logical_and(valid, tf.gather(known_keys, places) == keys)
            numbers = tf.cast(tf.boolean_mask(places, known) + 1, tf.int32)
            by_size.append(
                tf.RaggedTensor.from_value_rowids(
                    numbers, tf.boolean_mask(rows, known), num_rows, validate=False
                )
            )
        merged = tf.concat(by_size, axis=1) if len(by_size) > 1 else by_size[0]
        return merged.to_tensor(0, shape=[None, self.length])


def _ngrams_graph(
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


def _places(rows: np.ndarray) -> np.ndarray:
    """Returns for each entry of ascending `rows` how many entries of its row come before it."""
    starts = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]])) if len(rows) else rows
    return np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))


def learn_ids(
    tokens: Tokens,
    texts: Sequence[str],
    sizes: tuple[int, int],
    *,
    min_rows: int,
    max_features: int,
    max_length: int,
) -> NgramIds:
    """Learns the n-grams that occur in most rows, and the length.

    Args:
        tokens: learned from the same texts.
        texts: training rows, `""` where missing.
        sizes: least and greatest number of tokens in an n-gram.
        min_rows: rows that an n-gram must occur in, 1 or more.
        max_features: most n-grams.
        max_length: greatest length.
    """
    all_keys, rows = row_keys(tokens, texts, sizes)
    codes, distinct = pd.factorize(all_keys)
    cells = pd.unique(rows * max(len(distinct), 1) + codes)
    counts = np.bincount(cells % max(len(distinct), 1), minlength=len(distinct))
    by_count = np.lexsort((distinct, -counts))[:max_features]
    frequent = by_count[counts[by_count] >= min_rows]
    chosen = np.zeros(len(distinct), bool)
    chosen[frequent if len(frequent) else by_count] = True
    lengths = np.bincount(rows[chosen[codes]], minlength=len(texts))
    wanted = int(np.ceil(np.quantile(lengths, LENGTH_SHARE))) if len(texts) else 1
    keys = np.sort(distinct[chosen]).astype(np.int64)
    idf = np.log((1 + len(texts)) / (1 + counts[chosen])) + 1
    idf = idf[np.argsort(distinct[chosen])].astype(np.float32)
    return NgramIds(tokens, sizes, keys, idf, int(np.clip(wanted, 1, max_length)))
