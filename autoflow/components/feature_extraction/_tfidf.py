"""TF-IDF of token n-grams reduced by a truncated SVD, for both text extractors.

An n-gram is one int64 key, so that counting is sorting and searching of integers, in NumPy as in TensorFlow,
and the `[rows, vocabulary]` matrix is sparse from first to last. No component may enter this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from autoflow.components.base import FittedExtractor, LookupTables
from autoflow.components.feature_extraction._text_tokens import Tokens
from autoflow.components.stored import stored

if TYPE_CHECKING:
    import scipy.sparse
    import tensorflow as tf

MAX_CHARACTERS_TO_FIT = 3_000_000
"""Vocabulary and SVD are learned from a sample of rows of about this size; more changes little."""

_MOST = 127
"""Greatest number in a row of directions."""
_BLOCK_TOKENS = 1_000_000
_MAX_COUNTS_FOR_SVD = 1_500_000


@dataclass(frozen=True)
class TfidfSettings:
    """What both text extractors have in common.

    Args:
        sizes: least and greatest number of tokens in an n-gram.
        max_features: most n-grams kept, by number of rows.
        min_rows: rows that an n-gram must occur in.
        sublinear: whether a count c weighs 1 + log c instead of c.
        dimensions: width of the dense vector.
    """

    sizes: tuple[int, int]
    max_features: int
    min_rows: int
    sublinear: bool
    dimensions: int

    @property
    def max_tokens(self) -> int:
        """The largest token vocabulary whose n-grams fit into an int64."""
        return int(2 ** (62 / self.sizes[1])) - 2


def _ngrams(numbers: Any, rows: Any, count: Any, sizes: tuple[int, int], base: int) -> list[tuple[Any, Any]]:
    """Returns keys and validity of the n-grams that begin at each token, one pair a size.

    Written with operators only, for NumPy and TensorFlow alike. Token numbers are 1 to `base - 1`, so that
    keys of different sizes differ.

    Args:
        numbers: `int64[count + sizes[1]]`, padded with 0 at the end.
        rows: likewise, padded with -1.
        count: number of tokens.
        sizes: least and greatest size.
        base: number of tokens in the vocabulary plus 1.
    """
    keys, valid = numbers[:count], numbers[:count] > 0
    found = [(keys, valid)] if sizes[0] <= 1 else []
    for size in range(2, sizes[1] + 1):
        following = numbers[size - 1 : count + size - 1]
        valid = valid & (following > 0) & (rows[size - 1 : count + size - 1] == rows[:count])
        keys = keys * base + following
        if size >= sizes[0]:
            found.append((keys, valid))
    return found


@dataclass(frozen=True, eq=False)
class TextVector:
    """From texts to dense vectors: tokens, n-gram keys, weights and a projection.

    Args:
        tokens: how a text is cut.
        sizes: least and greatest number of tokens in an n-gram.
        keys: `int64[v]`, ascending keys of the kept n-grams.
        idf: `float32[v]`, inverse document frequencies.
        sublinear: whether counts weigh by their logarithm.
        directions: `int8[v, d]`, the projection up to `scale`; one byte each, as they are most of what an
            exported model of text weighs.
        scale: `float32[v]`, of the rows of `directions`.
        offset: `float64[d]`, subtracted at the end.

    Sums run in float64: a tree splits at thresholds, and the last digits of float32 sums depend on the order.
    """

    tokens: Tokens
    sizes: tuple[int, int]
    keys: np.ndarray
    idf: np.ndarray
    sublinear: bool
    directions: np.ndarray
    scale: np.ndarray
    offset: np.ndarray

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Returns `float32[n, d]`."""
        result = np.zeros((len(texts), len(self.offset)), np.float32)
        if len(self.keys):
            directions = self.directions.astype(np.float64)
            for start, end in blocks(texts):
                weights = self.weights(texts[start:end])
                weights.data *= self.scale[weights.indices]
                result[start:end] = weights @ directions - self.offset
        return result

    def weights(self, texts: Sequence[str]) -> scipy.sparse.csr_matrix:
        """Returns TF-IDF weights `float64[n, v]` with rows of length 1."""
        import scipy.sparse

        keys, rows = row_keys(self.tokens, texts, self.sizes)
        places = pd.Index(self.keys).get_indexer(keys)
        known = places >= 0
        counts = scipy.sparse.coo_matrix(
            (np.ones(int(known.sum())), (rows[known], places[known])),
            shape=(len(texts), len(self.keys)),
        ).tocsr()
        amounts = 1.0 + np.log(counts.data) if self.sublinear else counts.data
        weights = amounts * self.idf[counts.indices]
        row_of = np.repeat(np.arange(len(texts)), np.diff(counts.indptr))
        lengths = np.sqrt(np.bincount(row_of, weights**2, minlength=len(texts)))
        counts.data = weights / lengths[row_of]
        return counts

    def graph(self, texts: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`, of `string[B]`."""
        import tensorflow as tf

        num_rows = tf.shape(texts, out_type=tf.int64)[0]
        if not len(self.keys):
            return tf.zeros([num_rows, len(self.offset)])
        numbers, rows = self.tokens.find_graph(texts, tables)
        count, longest = tf.size(numbers), self.sizes[1]
        numbers = tf.pad(numbers, [[0, longest]])
        padded_rows = tf.pad(rows, [[0, longest]], constant_values=-1)
        found = _ngrams(numbers, padded_rows, count, self.sizes, self.tokens.size + 1)
        keys = tf.concat([tf.where(valid, key, tf.constant(-1, tf.int64)) for key, valid in found], axis=0)
        known_keys = stored(self.keys)
        places = tf.minimum(tf.searchsorted(known_keys, keys, out_type=tf.int64), len(self.keys) - 1)
        known = tf.gather(known_keys, places) == keys
        cells = tf.tile(rows, [len(found)]) * len(self.keys) + places
        cells, _, counts = tf.unique_with_counts(tf.boolean_mask(cells, known))
        row_of, places = cells // len(self.keys), cells % len(self.keys)
        amounts = tf.cast(counts, tf.float64)
        if self.sublinear:
            amounts = 1.0 + tf.math.log(amounts)
        weights = amounts * tf.gather(stored(np.asarray(self.idf, np.float64)), places)
        lengths = tf.sqrt(tf.math.unsorted_segment_sum(weights**2, row_of, num_rows))
        weights = weights / tf.gather(lengths, row_of)
        weights *= tf.cast(tf.gather(stored(self.scale), places), tf.float64)
        used, column_of = tf.unique(places, out_idx=tf.int64)  # only these rows are widened to float64
        directions = tf.cast(tf.gather(stored(self.directions), used), tf.float64)
        cells_at = tf.stack([row_of, column_of], axis=1)
        sparse = tf.SparseTensor(cells_at, weights, [num_rows, tf.size(used, tf.int64)])
        return tf.cast(tf.sparse.sparse_dense_matmul(sparse, directions) - self.offset, tf.float32)


def blocks(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Cuts the rows into ranges of about a million characters, so that memory stays bounded."""
    ends = np.cumsum(np.fromiter((len(text) + 2 for text in texts), np.int64, len(texts)))
    cuts = np.flatnonzero(np.diff(ends // _BLOCK_TOKENS)) + 1
    bounds = [0, *cuts.tolist(), len(texts)]
    return [(start, end) for start, end in pairwise(bounds) if start < end]


def row_keys(tokens: Tokens, texts: Sequence[str], sizes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the keys of all n-grams of kept tokens, with repeats, and the row of each."""
    numbers, rows = tokens.find(texts)
    longest = sizes[1]
    padded = np.concatenate([numbers, np.zeros(longest, np.int64)])
    padded_rows = np.concatenate([rows, np.full(longest, -1)])
    found = _ngrams(padded, padded_rows, len(numbers), sizes, tokens.size + 1)
    keys = np.concatenate([key[valid] for key, valid in found])
    return keys, np.concatenate([rows[valid] for _, valid in found])


def learn(tokens: Tokens, texts: Sequence[str], settings: TfidfSettings, seed: int) -> TextVector:
    """Learns vocabulary, frequencies and projection of one column.

    Args:
        tokens: learned from the same texts.
        texts: training rows, `""` where missing.
        settings: sizes and limits.
        seed: for the SVD.
    """
    keys, idf = _vocabulary(tokens, texts, settings)
    vector = TextVector(
        tokens,
        settings.sizes,
        keys,
        idf,
        settings.sublinear,
        directions=np.zeros((len(keys), 1), np.int8),
        scale=np.zeros(len(keys), np.float32),
        offset=np.zeros(1),
    )
    if not len(keys):
        return vector
    weights = vector.weights(texts)
    if len(keys) <= settings.dimensions:
        projection = np.eye(len(keys), dtype=np.float32)
    else:
        projection = _directions(weights, settings.dimensions, seed)
    spread = (weights @ projection).std(axis=0)
    # weak directions stay weak: the last ones hold more noise than meaning
    projection = projection / np.float32(np.maximum(spread, max(float(spread.max()) * 0.1, 1e-3)))
    scale = (np.abs(projection).max(axis=1) / _MOST).astype(np.float32)
    directions = np.rint(projection / np.maximum(scale, np.finfo(np.float32).tiny)[:, None]).astype(np.int8)
    means = np.asarray(weights.mean(axis=0), np.float64).ravel()
    return replace(vector, directions=directions, scale=scale, offset=(means * scale) @ directions)


def _vocabulary(
    tokens: Tokens, texts: Sequence[str], settings: TfidfSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ascending keys of the n-grams in most rows and their inverse document frequencies."""
    all_keys, rows = row_keys(tokens, texts, settings.sizes)
    codes, distinct = pd.factorize(all_keys)
    totals = np.bincount(codes, minlength=len(distinct))
    enough = totals >= settings.min_rows
    if not enough.any():
        enough[:] = True
    renumbered = np.cumsum(enough) - 1
    kept = enough[codes]
    distinct, num_kept = distinct[enough], int(enough.sum())
    cells = pd.unique(rows[kept] * max(num_kept, 1) + renumbered[codes[kept]])
    document_counts = np.bincount(cells % max(num_kept, 1), minlength=num_kept)
    order = np.lexsort((distinct, -document_counts))[: settings.max_features]
    chosen = order[document_counts[order] >= settings.min_rows]
    chosen = np.sort(chosen if len(chosen) else order)
    chosen = chosen[np.argsort(distinct[chosen])]
    idf = np.log((1 + len(texts)) / (1 + document_counts[chosen])) + 1
    return distinct[chosen].astype(np.int64), idf.astype(np.float32)


def _directions(weights: scipy.sparse.csr_matrix, dimensions: int, seed: int) -> np.ndarray:
    """Returns the leading right singular vectors `[v, d]` of a sample of the rows."""
    from sklearn.decomposition import TruncatedSVD

    if weights.nnz > _MAX_COUNTS_FOR_SVD:
        share = _MAX_COUNTS_FOR_SVD / weights.nnz
        rows = np.random.default_rng(seed).choice(
            weights.shape[0], int(weights.shape[0] * share), replace=False
        )
        weights = weights[np.sort(rows)]
    num_directions = max(1, min(dimensions, weights.shape[0], weights.shape[1]))
    svd = TruncatedSVD(num_directions, algorithm="randomized", n_iter=2, n_oversamples=10, random_state=seed)
    return svd.fit(weights.astype(np.float32)).components_.T


def sampled_texts(texts: Sequence[str], max_characters: int, seed: int) -> list[str]:
    """Returns the texts, or a random sample of them with about `MAX_CHARACTERS_TO_FIT` characters."""
    total = sum(min(len(text), max_characters) for text in texts)
    if total <= MAX_CHARACTERS_TO_FIT:
        return list(texts)
    size = max(1, int(len(texts) * MAX_CHARACTERS_TO_FIT / total))
    rows = np.random.default_rng(seed).choice(len(texts), size, replace=False)
    return [texts[row] for row in np.sort(rows).tolist()]


@dataclass(frozen=True, eq=False)
class FittedTfidf(FittedExtractor):
    """One text vector a column."""

    vectors: tuple[TextVector, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """The dimensions of each column's vectors; 1 for a column without any kept n-gram."""
        return tuple(len(vector.offset) for vector in self.vectors)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]`."""
        parts = [vector.transform(values[:, column].tolist()) for column, vector in enumerate(self.vectors)]
        return np.concatenate(parts, axis=1)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        return tf.concat(
            [vector.graph(values[:, column], tables) for column, vector in enumerate(self.vectors)], axis=1
        )
