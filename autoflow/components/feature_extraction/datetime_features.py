"""Datetimes as calendar, cycles, elapsed time and the days between columns, all at once."""

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

_PARTS = {
    "none": (),
    "coarse": ("year", "month", "day", "weekday", "day_of_year", "hour"),
    "fine": tuple(part for part in PARTS if part != "days"),  # elapsed time says it
}


@register
@dataclass(frozen=True)
class DatetimeFeatures(FeatureExtractor):
    """Calendar parts, cycles, days since the median, and days between date columns, standardised.

    The time from order to delivery, or from birth to admission, is often what matters when a table has
    several dates. Only what varies in training is kept. A missing moment becomes the median moment and its
    gaps the mean gap, with a 0/1 column beside it where enough was missing.

    Args:
        parts: numbers of the calendar: `"none"`, `"coarse"` (year to hour) or `"fine"` (to the second).
        harmonics: sine and cosine at this many multiples of day, week, month and year, 0 to 3.
        elapsed: whether the days since the training median are given.
        gaps: whether the days between two columns are given, of the first 10 pairs, neighbours first.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.DATETIME})

    parts: str = "fine"
    harmonics: int = 1
    elapsed: bool = True
    gaps: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws which features are given; gaps only where there are two columns or more."""
        return cls(
            parts=hp.Choice("parts", list(_PARTS), default="fine"),
            harmonics=hp.Int("harmonics", 0, 3, default=1),
            elapsed=hp.Boolean("elapsed", default=True),
            gaps=hp.Boolean("gaps", default=True) if len(profile.columns) > 1 else True,
        )

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns what varies, medians, means and deviations."""
        return learn_moments(
            values,
            parts=_PARTS[self.parts],
            harmonics=self.harmonics,
            elapsed=self.elapsed,
            gaps=self.gaps,
        )
