"""Datetimes as year, month, day, weekday, hour and the like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor
from autoflow.components.feature_extraction._datetimes import PARTS
from autoflow.components.feature_extraction._moments import learn_moments
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner


@register
@dataclass(frozen=True)
class CalendarParts(FeatureExtractor):
    """Year, month, day, weekday, day of year, hour, minute, second and the day count, standardised.

    Only parts that vary in training are kept. A missing moment becomes the median moment, with a 0/1 column
    beside it where enough was missing. Made for trees, which find seasons and office hours by splits.

    Args:
        fine: whether minute and second are kept as well.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.DATETIME})

    fine: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws whether minutes and seconds count."""
        return cls(fine=hp.Boolean("fine", default=True))

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns which parts vary, and their means and deviations."""
        parts = [part for part in PARTS if self.fine or part not in ("minute", "second")]
        return learn_moments(values, parts=parts, gaps=False)
