"""Datetimes as points on the circles of day, week, month and year."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor
from autoflow.components.feature_extraction._moments import learn_moments
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner


@register
@dataclass(frozen=True)
class CyclicTime(FeatureExtractor):
    """Sine and cosine of the time of day, the weekday, the day of the month and the day of the year.

    Midnight lies beside 23:59 and December beside January, which linear models and networks cannot see in
    plain numbers. Cycles that do not vary in training are left out. The day count follows as a trend; a
    missing moment becomes the median moment, with a 0/1 column beside it where enough was missing.

    Args:
        harmonics: how many multiples of each cycle are given, 1 to 3; more of them draw sharper peaks.
        trend: whether the standardised day count is given too.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.DATETIME})

    harmonics: int = 1
    trend: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws harmonics and trend."""
        return cls(
            harmonics=hp.Int("harmonics", 1, 3, default=1),
            trend=hp.Boolean("trend", default=True),
        )

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns which cycles vary and the scale of the trend."""
        return learn_moments(values, harmonics=self.harmonics, elapsed=self.trend, gaps=False)
