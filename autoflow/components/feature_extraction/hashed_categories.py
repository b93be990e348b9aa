"""Categories hashed to a fixed number of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import pandas as pd

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._categories import indicator_graph, indicator_matrix
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf

_NUM_BYTES = 128
"""Bytes of a value that are read; longer values that agree in these and in their length share a place."""

_PRIME = 2**31 - 1


@register
@dataclass(frozen=True)
class HashedCategories(FeatureExtractor):
    """Each category in one of a fixed number of columns by its hash: no vocabulary, new values work too.

    The hashing trick (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009)
    with a linear hash over the UTF-8 bytes modulo a prime (Carter and Wegman 1979), which NumPy and core
    TensorFlow both compute exactly. A missing value is all zeros.

    Args:
        num_buckets: columns for each source column, 4 to 1,024.
        signed: whether half of the categories count as -1, so that collisions cancel out on average.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.CATEGORICAL})

    num_buckets: int = 64
    signed: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws the number of buckets (at most 4,096 columns in all) and the sign."""
        most = int(np.clip(4096 // max(1, len(profile.columns)), 16, 1024))
        return cls(
            num_buckets=hp.Int("num_buckets", 8, most, sampling="log", default=min(64, most)),
            signed=hp.Boolean("signed", default=True),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Columns with more than 16 values somewhere, up to 256 columns: below, one-hot loses nothing."""
        return len(profile.columns) <= 256 and any(column.num_distinct > 16 for column in profile.columns)

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Draws the hash function; nothing is learned from the values."""
        random = np.random.default_rng(seed)
        return FittedHashedCategories(
            random.integers(1, _PRIME, (2, _NUM_BYTES + 2)), self.num_buckets, self.signed, values.shape[1]
        )


@dataclass(frozen=True, eq=False)
class FittedHashedCategories(FittedExtractor):
    """Two linear hash functions, for the bucket and for the sign.

    Args:
        weights: `int64[2, 130]`: for each byte, for the length and a constant.
        num_buckets: columns for each source column.
        signed: whether the second hash gives a sign.
        num_columns: number of source columns.
    """

    weights: np.ndarray
    num_buckets: int
    signed: bool
    num_columns: int

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of buckets for every column."""
        return (self.num_buckets,) * self.num_columns

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]` of 0, 1 and -1."""
        places = np.empty(values.shape, np.int64)
        signs = np.ones(values.shape, np.float32)
        for column in range(values.shape[1]):
            codes, distinct = pd.factorize(values[:, column])
            encoded = [value.encode("utf-8") for value in distinct]
            lengths = np.array([len(value) for value in encoded], np.int64)
            padded = np.frombuffer(
                b"".join(value[:_NUM_BYTES].ljust(_NUM_BYTES, b"\0") for value in encoded), np.uint8
            ).reshape(len(encoded), _NUM_BYTES)
            hashes = (padded.astype(np.int64) @ self.weights[:, :_NUM_BYTES].T + self._rest(lengths)) % _PRIME
            buckets = hashes[:, 0] % self.num_buckets + column * self.num_buckets
            places[:, column] = np.where(lengths == 0, -1, buckets)[codes]
            signs[:, column] = (1.0 - 2.0 * (hashes[:, 1] % 2))[codes]
        return indicator_matrix(places, signs if self.signed else None, sum(self.widths))

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        flat = tf.reshape(values, [-1])
        lengths = tf.cast(tf.strings.length(flat), tf.int64)
        # float64 is exact up to 2^53, and TensorFlow multiplies int64 matrices slowly and with a complaint
        padded = tf.cast(tf.io.decode_raw(flat, tf.uint8, fixed_length=_NUM_BYTES), tf.float64)
        weights = self.weights[:, :_NUM_BYTES].T.astype(np.float64)
        sums = tf.cast(tf.matmul(padded, weights), tf.int64)
        hashes = tf.math.floormod(sums + self._rest(lengths), _PRIME)
        columns = tf.range(self.num_columns, dtype=tf.int64) * self.num_buckets
        buckets = tf.reshape(hashes[:, 0] % self.num_buckets, [-1, self.num_columns]) + columns
        places = tf.where(
            tf.reshape(lengths, [-1, self.num_columns]) == 0, tf.constant(-1, tf.int64), buckets
        )
        signs = tf.cast(1 - 2 * (hashes[:, 1] % 2), tf.float32)
        signs = tf.reshape(signs, [-1, self.num_columns]) if self.signed else None
        return indicator_graph(places, signs, sum(self.widths))

    def _rest(self, lengths: np.ndarray | tf.Tensor) -> np.ndarray | tf.Tensor:
        # below 2^20 * 2^31 + 128 * 2^8 * 2^31 < 2^52: no overflow in int64
        return lengths[:, None] % 2**20 * self.weights[:, _NUM_BYTES] + self.weights[:, _NUM_BYTES + 1]
