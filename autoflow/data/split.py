"""Splits rows into training and validation parts, stratified by class, with copies of a row on one side.

Only row numbers come out; nothing here looks at features but through one key a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CROSS_VALIDATION_BELOW = 3000
"""Tables with fewer rows are cross-validated, larger ones have one held-out part."""
CROSS_VALIDATION_OF_PICTURES_BELOW = 1000
"""The same for tables with pictures, where five trainings of a network take too long."""

MAX_FOLDS = 5
SMALL_SHARE_FROM = 50_000
MAX_VALIDATION_ROWS = 20_000


@dataclass(frozen=True)
class Fold:
    """One way to part the rows.

    Args:
        train: int64 row numbers, sorted.
        validation: int64 row numbers, sorted; none of them in `train`.
    """

    train: np.ndarray
    validation: np.ndarray


def make_folds(
    labels: np.ndarray,
    *,
    feature_keys: np.ndarray,
    seed: int,
    cross_validation_below: int = CROSS_VALIDATION_BELOW,
) -> tuple[Fold, ...]:
    """Returns the folds: cross-validation of small tables, otherwise one held-out part.

    Every class has a training row in every fold, and rows with equal keys fall on one side (unless so many
    rows are copies of so few that no balanced split is left). The same arguments give the same folds.

    Args:
        labels: int32[n], classes from 0; every class that occurs needs two rows.
        feature_keys: integer[n]; equal for rows with equal features, as from `Dataset.feature_keys`.
        seed: shuffles rows within their class.
        cross_validation_below: tables with fewer rows are cross-validated.

    Returns:
        2 to 5 folds whose validation parts are disjoint and cover nearly all rows, or one fold.
    """
    for keys in (feature_keys, np.arange(len(labels))):
        side = _sides(labels, keys, seed, cross_validation_below)
        folds = tuple(_fold(labels, side == number, keys) for number in range(int(side.max()) + 1))
        if _balanced(folds, len(labels)):
            return folds
    return tuple(fold for fold in folds if len(fold.validation))


def describe_folds(folds: tuple[Fold, ...], *, feature_keys: np.ndarray | None = None) -> str:
    """Returns the choice in plain words, for logs and reports; with keys it says what becomes of copies."""
    copies = ""
    if feature_keys is not None:
        apart = any(np.isin(feature_keys[f.validation], feature_keys[f.train]).any() for f in folds)
        copies = ", copies of a row " + ("on both sides, as there are so many" if apart else "kept together")
    num_validation = len(folds[0].validation)
    num_rows = len(folds[0].train) + num_validation
    if len(folds) > 1:
        how = f"{len(folds)}-fold cross-validation over {num_rows:,} rows"
    else:
        how = f"{num_validation:,} of {num_rows:,} rows held out for validation"
    return f"{how}, stratified by class{copies}"


def _sides(labels: np.ndarray, keys: np.ndarray, seed: int, cross_validation_below: int) -> np.ndarray:
    """Returns the fold in which each row is validated; -1 where in none (held-out split)."""
    _, first, groups, sizes = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    shuffle = np.random.default_rng(seed).permutation(len(first))
    # by class, large groups first so that they spread, else in random order; a stable sort keeps the shuffle
    order = shuffle[np.lexsort((-sizes[shuffle], labels[first][shuffle]))]
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    num_rows = len(labels)
    if num_rows < cross_validation_below:
        counts = np.bincount(labels)
        num_folds = max(2, min(MAX_FOLDS, int(counts[counts > 0].min())))
        return (position % num_folds)[groups]
    share = _held_out_share(num_rows)
    chosen = np.floor((position + 1) * share) > np.floor(position * share)
    return np.where(chosen, 0, -1)[groups]


def _fold(labels: np.ndarray, validated: np.ndarray, keys: np.ndarray) -> Fold:
    """Takes the rows of a class back to training where none would be left there."""
    present = np.bincount(labels)
    lost = np.flatnonzero((present > 0) & (np.bincount(labels[~validated], minlength=len(present)) == 0))
    for label in lost:
        rows = np.flatnonzero(validated & (labels == label))
        if len(rows):  # else a copy in another class brought them back already
            validated = validated & (keys != keys[rows[0]])
    return Fold(np.flatnonzero(~validated), np.flatnonzero(validated))


def _balanced(folds: tuple[Fold, ...], num_rows: int) -> bool:
    expected = num_rows * (1 / len(folds) if len(folds) > 1 else _held_out_share(num_rows))
    sizes = [len(fold.validation) for fold in folds]
    return min(sizes) >= 0.5 * expected and max(sizes) <= 1.6 * expected


def _held_out_share(num_rows: int) -> float:
    return min(0.2 if num_rows < SMALL_SHARE_FROM else 0.1, MAX_VALIDATION_ROWS / num_rows)
