"""What the extractors of datetime columns learn and yield; they differ in which features they ask for.

Every feature is one of a fixed row of them (parts, waves and elapsed days of each column, then gaps between
columns); a fitted extractor keeps some places of that row. No component and no hyperparameter may enter this
file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autoflow.components.base import FittedExtractor, LookupTables
from autoflow.components.feature_extraction._datetimes import (
    DAY_SECONDS,
    PARTS,
    calendar,
    medians,
    within_calendar,
    within_calendar_graph,
)
from autoflow.components.feature_extraction._numbers import MissingFlags

if TYPE_CHECKING:
    import tensorflow as tf

_LIMIT = 10.0
"""Features are clipped to this many standard deviations."""
_STEP = 2.0**-20
"""Features are rounded to multiples of this. TensorFlow reorders `x / 1000 / 86400`, so that the median
moment comes out as -2e-14 and not as 0, and LightGBM's trees tell even 1e-34 from 0."""
_MAX_GAPS = 10
_NUM_CYCLES = 4
_LEARNED_ROWS = 1 << 16
"""Rows whose features are there at once while something is learned from them."""


def learn_moments(
    values: np.ndarray, *, parts: Sequence[str] = (), harmonics: int = 0, elapsed: bool = False, gaps: bool
) -> FittedMoments:
    """Learns which of the features asked for vary, and their scales.

    A column of which nothing varies yields its elapsed days all the same.

    Args:
        values: `float64[n, k]`, seconds since 1970, NaN where missing.
        parts: names out of `PARTS`, standardised.
        harmonics: sine and cosine at so many multiples of the cycles of day, week, month and year.
        elapsed: days since the training median of the column.
        gaps: days between two columns, of the first 10 pairs, neighbours first; a pair with a missing moment
            has the mean gap.
    """
    num_columns = values.shape[1]
    fills = medians(within_calendar(values))
    pairs = _Pairs.first(num_columns if gaps else 0)

    def features(rows: np.ndarray) -> np.ndarray:
        missing = np.isnan(rows)
        moments = np.where(missing, fills, within_calendar(rows))
        days = np.where(pairs.absent(missing), np.nan, pairs.days(moments))
        return np.concatenate([_per_column(moments, harmonics, np), days], axis=1)

    means, vary = _means(values, features)
    width = (len(means) - len(pairs.laters)) // num_columns
    wanted = [part in parts for part in PARTS] + [True] * (width - len(PARTS) - 1) + [elapsed]
    kept = vary & np.concatenate([np.tile(wanted, num_columns), np.ones(len(pairs.laters), bool)])
    sources = np.concatenate([np.repeat(np.arange(num_columns), width), pairs.laters])
    bare = np.bincount(sources[kept], minlength=num_columns) == 0
    kept[width - 1 : width * num_columns : width] |= bare
    # elapsed days are about their median, and waves need no scale
    place = np.arange(width * num_columns) % width
    waves = np.flatnonzero((place >= len(PARTS)) & (place < width - 1))
    means[width - 1 : width * num_columns : width] = fills / DAY_SECONDS
    scales = _scales(values, features, means, vary)
    means[waves], scales[waves] = 0.0, 1.0
    places = np.flatnonzero(kept)
    places = places[np.argsort(sources[places], kind="stable")]  # what a column yields lies together
    flags = MissingFlags.learn(values, np.bincount(sources[places], minlength=num_columns), wanted=True)
    pair_means = means[width * num_columns :]
    return FittedMoments(fills, harmonics, pairs, pair_means, places, means[places], scales[places], flags)


def _parts(values: np.ndarray, features: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the features of some rows after the other: those of a million would take gigabytes."""
    for start in range(0, len(values), _LEARNED_ROWS):
        yield features(values[start : start + _LEARNED_ROWS])


def _means(values: np.ndarray, features: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns means `float64[d]` of the features present, 0 where none is, and which of them vary."""
    sums, counts, lowest, highest = 0.0, 0, np.nan, np.nan
    for part in _parts(values, features):
        sums = sums + np.nansum(part, axis=0)
        counts = counts + np.isfinite(part).sum(axis=0)
        lowest = np.fmin(lowest, np.fmin.reduce(part, axis=0))
        highest = np.fmax(highest, np.fmax.reduce(part, axis=0))
    return sums / np.maximum(counts, 1), np.asarray(highest > lowest)


def _scales(
    values: np.ndarray, features: Callable[[np.ndarray], np.ndarray], means: np.ndarray, vary: np.ndarray
) -> np.ndarray:
    """Returns the deviations `float64[d]` from these means, 1 for features that do not vary."""
    squares, counts = np.zeros(len(means)), np.zeros(len(means), np.int64)
    for part in _parts(values, features):
        squares += np.nansum(np.square(part - means), axis=0)
        counts += np.isfinite(part).sum(axis=0)
    deviations = np.sqrt(squares / np.maximum(counts, 1))
    return np.where(vary & (deviations > 0), deviations, 1.0)


def _per_column(moments: Any, harmonics: int, library: Any) -> Any:
    """Returns parts, waves and days since 1970 (as fractions) of each column, `float64[n, k * features]`.

    Args:
        moments: `float64[n, k]` without missing values.
        harmonics: multiples of the cycles.
        library: `numpy` or `tensorflow`.
    """
    parts = calendar(moments, library.floor)
    _, _, day, weekday, day_of_year, _, _, _, days = parts
    day_share = (moments - days * DAY_SECONDS) / DAY_SECONDS
    phases = [day_share, weekday / 7.0, (day - 1.0) / 31.0, (day_of_year - 1.0) / 366.0]
    features = list(parts)
    for harmonic in range(1, harmonics + 1):
        angles = [phase * (2.0 * np.pi * harmonic) for phase in phases]
        features += [library.sin(angle) for angle in angles] + [library.cos(angle) for angle in angles]
    features.append(moments / DAY_SECONDS)
    width = int(moments.shape[1]) * (len(PARTS) + 2 * _NUM_CYCLES * harmonics + 1)
    return library.reshape(library.stack(features, axis=2), [-1, width])


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Pairs of columns, `int64[p]` each, the later one minus the earlier one."""

    laters: np.ndarray
    earliers: np.ndarray

    @classmethod
    def first(cls, num_columns: int) -> _Pairs:
        """Returns the first pairs of so many columns, neighbours before those that are further apart."""
        pairs = [
            (later, later - distance)
            for distance in range(1, min(num_columns, _MAX_GAPS + 1))
            for later in range(distance, num_columns)
        ]
        laters, earliers = np.array(pairs[:_MAX_GAPS], np.int64).reshape(-1, 2).T
        return cls(laters, earliers)

    def days(self, moments: np.ndarray) -> np.ndarray:
        """Returns `float64[n, p]`."""
        return (moments[:, self.laters] - moments[:, self.earliers]) / DAY_SECONDS

    def absent(self, missing: np.ndarray) -> np.ndarray:
        """Returns `bool[n, p]`, where one of the two is missing."""
        return np.asarray(missing[:, self.laters] | missing[:, self.earliers])


@dataclass(frozen=True, eq=False)
class FittedMoments(FittedExtractor):
    """What stands for missing, the places of the kept features, their scale, and missing indicators."""

    fills: np.ndarray
    harmonics: int
    pairs: _Pairs
    pair_means: np.ndarray
    kept: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    flags: MissingFlags

    @property
    def widths(self) -> tuple[int, ...]:
        """Kept features of each column and one where enough was missing; gaps count for the later."""
        return self.flags.widths

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]`."""
        missing = np.isnan(values)
        moments = np.where(missing, self.fills, within_calendar(values))
        features = _per_column(moments, self.harmonics, np)
        if len(self.pair_means):
            days = np.where(self.pairs.absent(missing), self.pair_means, self.pairs.days(moments))
            features = np.concatenate([features, days], axis=1)
        scaled = np.clip((features[:, self.kept] - self.means) / self.scales, -_LIMIT, _LIMIT)
        return self.flags.append((np.rint(scaled / _STEP) * _STEP).astype(np.float32), values)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        moments = within_calendar_graph(values, self.fills)
        features = _per_column(moments, self.harmonics, tf)
        if len(self.pair_means):
            laters, earliers = (
                (tf.gather(moments, places, axis=1), tf.gather(tf.math.is_nan(values), places, axis=1))
                for places in (self.pairs.laters, self.pairs.earliers)
            )
            days = (laters[0] - earliers[0]) / DAY_SECONDS
            days = tf.where(laters[1] | earliers[1], self.pair_means, days)
            features = tf.concat([features, days], axis=1)
        scaled = (tf.gather(features, self.kept, axis=1) - self.means) / self.scales
        rounded = tf.round(tf.clip_by_value(scaled, -_LIMIT, _LIMIT) / _STEP) * _STEP
        return self.flags.append_graph(tf.cast(rounded, tf.float32), values)
