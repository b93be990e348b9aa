"""Numbers by their rank among the training values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._numbers import MissingFlags
from autoflow.components.feature_extraction._quantile_map import QuantileMap
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf


@register
@dataclass(frozen=True)
class QuantileTransformed(FeatureExtractor):
    """Numbers mapped through their empirical distribution to a normal or uniform one; outliers lose force.

    Between the learned knots the map is linear, beyond them constant; a value that repeats gets its mean rank
    (as scikit-learn's QuantileTransformer, after Conover 1999). The strongest plain input for networks.

    Args:
        num_knots: 10 to 1,000.
        output: `"normal"` (deviation 1) or `"uniform"` (-1 to 1).
        missing_indicators: whether columns that miss enough training values get a 0/1 column beside them.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.NUMERIC})

    num_knots: int = 250
    output: str = "normal"
    missing_indicators: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws the number of knots and the distribution."""
        return cls(
            num_knots=hp.Int("num_knots", 10, 1000, sampling="log", default=250),
            output=hp.Choice("output", ["normal", "uniform"], default="normal"),
        )

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns the knots of every column, at most one for two training rows."""
        ones = np.ones(values.shape[1], np.int64)
        return FittedQuantileTransformed(
            QuantileMap.learn(values, num_knots=self.num_knots, output=self.output, seed=seed),
            MissingFlags.learn(values, ones, wanted=self.missing_indicators),
        )


@dataclass(frozen=True, eq=False)
class FittedQuantileTransformed(FittedExtractor):
    """The map and the indicators."""

    ranks: QuantileMap
    flags: MissingFlags

    @property
    def widths(self) -> tuple[int, ...]:
        """One a column, two where enough was missing."""
        return self.flags.widths

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]`; missing values become 0, the middle of the distribution."""
        return self.flags.append(self.ranks(values), values)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        return self.flags.append_graph(self.ranks.graph(values), values)
