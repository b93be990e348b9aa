"""Which rows a search learns from, which judge its trials, and which it never sees.

How rows are parted is in `split`; here the sizes are chosen from the table and from the time there is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoflow.data.dataset import Dataset
from autoflow.data.split import (
    Fold,
    describe_folds,
    held_out_share,
    make_folds,
    make_forward_folds,
    make_group_folds,
)
from autoflow.errors import DataError

CROSS_VALIDATION_BELOW = 3000
"""Tables with fewer rows are cross-validated, larger ones have one held-out part."""
_WITH_TIME = ((240.0, 6000, 4_000_000), (60.0, 4000, 2_000_000))
"""Seconds with which tables of more rows are cross-validated, too, if all values are of so few bytes.

One held-out part of 673 rows chose a network of log-loss 0.17 where the five parts chose trees of 0.13.
"""
_WITH_PICTURES_BELOW = 1000
"""The same for tables with pictures, where five trainings of a network take too long."""

_SET_ASIDE_FROM = 10_000
_SET_ASIDE_SHARE, _MOST_SET_ASIDE = 0.05, 4000
_LARGEST_FACTOR = 2.0
"""Groups and moments are not parted; beyond twice or below half the share, nothing is set aside."""


@dataclass(frozen=True)
class RowPlan:
    """What the rows of a table are used for.

    Args:
        folds: how trials learn and are judged; one fold is a holdout.
        set_aside: int64 row numbers, sorted, in no fold: they score the model that was chosen, and nothing
            else. Empty for small tables, where every row is needed to choose well, and for few large groups.
        description: of all that, in plain words.
    """

    folds: tuple[Fold, ...]
    set_aside: np.ndarray
    description: str


def plan_rows(dataset: Dataset, *, seed: int, seconds: float) -> RowPlan:
    """Returns the plan for a table; the same arguments give the same plan.

    Args:
        dataset: all labelled rows.
        seed: shuffles rows within their class.
        seconds: that the search may take.

    Raises:
        DataError: groups or moments leave no way to part the rows.
    """
    rows = _Rows(dataset.labels, dataset.feature_keys(), dataset.groups, dataset.moments)
    below = _cross_validation_below(dataset, seconds)
    try:
        return _plan(rows, _outer_fold(rows, seed), below, seed)
    except DataError:  # a class may lie in so few groups or moments that they cannot be parted twice
        return _plan(rows, None, below, seed)


def _outer_fold(rows: _Rows, seed: int) -> Fold | None:
    """Returns the split into what the search may see and what is set aside, or None where nothing is."""
    num_rows = len(rows.labels)
    if num_rows < _SET_ASIDE_FROM:
        return None
    share = min(_SET_ASIDE_SHARE, _MOST_SET_ASIDE / num_rows)
    outer = rows.folds(share, seed)[0]
    factor = len(outer.validation) / (share * num_rows)
    return outer if 1 / _LARGEST_FACTOR <= factor <= _LARGEST_FACTOR else None


def _plan(rows: _Rows, outer: Fold | None, below: int, seed: int) -> RowPlan:
    learned = np.arange(len(rows.labels)) if outer is None else outer.train
    inner = rows.part(learned)
    folds = inner.folds(held_out_share(len(learned), below), seed)
    description = describe_folds(folds, feature_keys=inner.keys, manner=inner.manner)
    parts = tuple(Fold(learned[fold.train], learned[fold.validation]) for fold in folds)
    if outer is None:
        return RowPlan(parts, np.zeros(0, np.int64), description)
    description += f"; {len(outer.validation):,} other rows are set aside to score the chosen model"
    return RowPlan(parts, outer.validation, description)


@dataclass(frozen=True)
class _Rows:
    """What a split looks at: arrays `[n]`, see `split`."""

    labels: np.ndarray
    keys: np.ndarray
    groups: np.ndarray | None
    moments: np.ndarray | None

    def part(self, rows: np.ndarray) -> _Rows:
        groups = None if self.groups is None else self.groups[rows]
        moments = None if self.moments is None else self.moments[rows]
        return _Rows(self.labels[rows], self.keys[rows], groups, moments)

    @property
    def manner(self) -> str:
        if self.moments is not None:
            without = "" if self.groups is None else ", without earlier rows of the groups that are held out"
            return f"forward in time{without}"
        return "stratified by class" if self.groups is None else "each group on one side"

    def folds(self, share: float | None, seed: int) -> tuple[Fold, ...]:
        """Returns one fold that holds out a share, or for None those of a cross-validation."""
        if self.moments is not None:
            return make_forward_folds(
                self.labels, self.moments, feature_keys=self.keys, groups=self.groups, share=share
            )
        if self.groups is not None:
            return make_group_folds(self.labels, self.groups, feature_keys=self.keys, seed=seed, share=share)
        return make_folds(self.labels, feature_keys=self.keys, seed=seed, share=share)


def _cross_validation_below(dataset: Dataset, seconds: float) -> int:
    if dataset.has_pictures:
        return _WITH_PICTURES_BELOW
    for least_seconds, below, most_bytes in _WITH_TIME:
        if seconds >= least_seconds and dataset.num_rows < below and _num_bytes(dataset) <= most_bytes:
            return below
    return CROSS_VALIDATION_BELOW


def _num_bytes(dataset: Dataset) -> int:
    """Returns the size of all values: numbers take eight bytes, strings their characters."""
    raw = (dataset.raw[column.name] for column in dataset.schema.columns)
    return sum(
        values.nbytes if values.dtype == np.float64 else sum(map(len, values.tolist())) for values in raw
    )
