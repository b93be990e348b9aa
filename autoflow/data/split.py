"""Splits rows into training and validation parts: by class, by group or forward in time.

Held-out rows are parted once more, into those that choose among models and those that judge the choice.
Copies of a row fall on one side. Only row numbers come out; nothing here looks at features but through one
key a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoflow.errors import DataError

MAX_FOLDS = 5
_FORWARD_PARTS = MAX_FOLDS
"""Parts of a small table in time: each but the first is validated by a model of those before."""
_FEWEST_HELD_OUT = 20
"""Rows: what fewer say of a model is luck. Of tables below a hundred rows a fifth is asked for."""
_FEW_TIES = 1000
"""Sets of tied rows that are put into halves by their sizes, which few at random would make unequal."""
_LEAST_LEFT = 0.5
"""Of the earlier rows, which leaving out copies of later ones must leave, else the copies stay."""
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


def held_out_share(num_rows: int, cross_validation_below: int) -> float | None:
    """Returns the share of the rows that one held-out part takes; None where cross-validation is better."""
    if num_rows < cross_validation_below:
        return None
    return min(0.2 if num_rows < SMALL_SHARE_FROM else 0.1, MAX_VALIDATION_ROWS / num_rows)


_LEAST_LEARNED = 0.1
"""Of the rows, that a fold of very unequal groups must leave to learn from."""


def make_folds(
    labels: np.ndarray, *, feature_keys: np.ndarray, seed: int, share: float | None
) -> tuple[Fold, ...]:
    """Returns the folds of a cross-validation, or one fold with a held-out part.

    Every class has a training row in every fold, and rows with equal keys fall on one side (unless so many
    rows are copies of so few that no balanced split is left). The same arguments give the same folds.

    Args:
        labels: int32[n], classes from 0; every class that occurs needs two rows.
        feature_keys: integer[n]; equal for rows with equal features, as from `Dataset.feature_keys`.
        seed: shuffles rows within their class.
        share: of the rows that are held out, as from `held_out_share`; None for cross-validation.

    Returns:
        2 to 5 folds whose validation parts are disjoint and cover nearly all rows, or one fold.
    """
    folds, _ = _parted(labels, (feature_keys, np.arange(len(labels))), seed, share)
    return folds


def make_group_folds(
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    feature_keys: np.ndarray,
    seed: int,
    share: float | None,
) -> tuple[Fold, ...]:
    """As `make_folds`, with the rows of a group on one side.

    Copies of a row in two groups tie these together, unless that would leave too little to part.

    Args:
        labels: as for `make_folds`.
        groups: integer[n], two different ones or more.
        feature_keys: as for `make_folds`.
        seed: shuffles groups.
        share: as for `make_folds`.

    Raises:
        DataError: some class has all its rows in one group together with all others, or hardly any row is
            in another group than the largest.
    """
    folds, balanced = _parted(labels, (tied_keys(groups, feature_keys), groups), seed, share)
    if balanced:
        return folds
    # what was learned from a few rows says nothing of a model of nearly all
    folds = tuple(fold for fold in folds if len(fold.train) >= _LEAST_LEARNED * len(labels))
    if not folds:
        raise DataError(
            "the groups are too few or too unequal: with any of them held out, some class has no row left to "
            "learn from. Leave --group out, or give more groups."
        )
    num_held_out = sum(len(fold.validation) for fold in folds)
    if num_held_out < _fewest(len(labels)):
        raise DataError(
            f"the groups are too unequal: beside the largest of them only {num_held_out:,} rows of "
            f"{len(labels):,} are left to check a model on. Leave --group out, or give more groups."
        )
    return folds


def make_forward_folds(
    labels: np.ndarray,
    moments: np.ndarray,
    *,
    feature_keys: np.ndarray,
    groups: np.ndarray | None,
    share: float | None,
) -> tuple[Fold, ...]:
    """Returns folds that learn from earlier rows and are validated on later ones.

    Without a share the rows are parted into five periods, each but the first validated by a model of all
    those before ("forward chaining"). Rows of one moment are not parted. Rows without a moment count as the
    earliest. Rows of the group of a validated row are not learned from, and neither are copies of one, unless
    that would cost more than half of the rows: where features repeat, what was known earlier is no leak.

    Args:
        labels: int32[n], classes from 0.
        moments: float64[n], NaN where missing; two different ones or more.
        feature_keys: integer[n], equal for rows with equal features.
        groups: integer[n], equal for rows that may not fall on both sides; None for no groups.
        share: of the rows, the latest ones, that one fold holds out; None for several folds.

    Raises:
        DataError: some class occurs in late rows only, too few rows have a moment, or the groups of late rows
            are those of the early ones.
    """
    periods = _later_periods(moments, share)
    possible = _complete(_forward(moments, periods, None), labels)
    if not possible:
        raise DataError(
            "some class occurs in late rows only, so that no model of earlier rows can know it. Leave "
            "--time-column out, or add earlier rows of every class."
        )
    apart = feature_keys if groups is None else tied_keys(groups, feature_keys)
    folds = _complete(_forward(moments, periods, apart), labels)
    if _num_learned(folds) < _LEAST_LEFT * _num_learned(possible):
        folds = possible if groups is None else _complete(_forward(moments, periods, groups), labels)
    if not folds:
        raise DataError(
            "the groups of later rows are those of earlier ones, so that without these some class has no row "
            "left to learn from. Leave --group or --time-column out."
        )
    num_validated = sum(len(fold.validation) for fold in folds)
    if num_validated < _fewest(len(labels)):
        raise DataError(
            f"only {num_validated} of {len(labels):,} rows are later than the others and can check a model "
            "of earlier ones. Leave --time-column out, or fill in its missing moments."
        )
    return tuple(folds)


def make_choice_folds(
    labels: np.ndarray,
    *,
    feature_keys: np.ndarray,
    groups: np.ndarray | None,
    moments: np.ndarray | None,
    seed: int,
) -> tuple[Fold, ...]:
    """Returns folds of held-out rows: `train` chooses among models, `validation` judges what was chosen.

    Parts are stratified by class; with moments they are periods, as rows that follow each other are alike.
    Rows of one moment, copies of a row and rows of a group are never on both sides: where a period has such
    rows in common with others, those choose nothing. Every row can be chosen by, as nothing is learned here.

    Args:
        labels: int32[m], of the held-out rows.
        feature_keys: integer[m], equal for rows with equal features.
        groups: integer[m]; None where any two rows may be parted.
        moments: float64[m], NaN for the earliest; None for no order.
        seed: shuffles.

    Returns:
        2 to 5 folds whose validation parts are disjoint; none where the rows cannot be parted.
    """
    keys = feature_keys if groups is None else tied_keys(groups, feature_keys)
    if moments is not None:
        side = _periods(moments)
    else:
        side = _sides(labels, keys, seed, None)
        if np.bincount(side, minlength=MAX_FOLDS).min() < len(labels) / (2 * MAX_FOLDS):
            side = _sides_of_few(labels, keys, seed, None)
    folds = []
    for number in range(int(side.max()) + 1):
        judging = side == number
        choosing = ~judging & ~np.isin(keys, keys[judging])
        if judging.any() and choosing.any():
            folds.append(Fold(np.flatnonzero(choosing), np.flatnonzero(judging)))
    return tuple(folds) if len(folds) > 1 else ()


def fold_numbers(labels: np.ndarray, keys: np.ndarray | None, *, seed: int) -> np.ndarray:
    """Returns int64[n], one of up to five parts for each row, every class spread evenly where keys allow it.

    Args:
        labels: int32[n], classes from 0.
        keys: integer[n]; rows with equal ones are in one part, unless all are equal. None where all differ.
        seed: shuffles rows within their class.
    """
    if keys is not None:
        for sides in (_sides, _sides_of_few):
            side = sides(labels, keys, seed, None)
            if _are_balanced(np.bincount(side), len(labels), None):
                return side
        if side.max() > 0:  # very unequal parts are better than labels that are told within a group
            return side
    return _sides(labels, np.arange(len(labels)), seed, None)


def tied_keys(groups: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Returns int64[n], equal for rows that are linked by equal groups and equal keys in turn."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    _, first = np.unique(groups, return_inverse=True)
    _, second = np.unique(keys, return_inverse=True)
    second = second + first.max() + 1
    size = int(second.max()) + 1
    links = coo_matrix((np.ones(len(first), np.int8), (first, second)), shape=(size, size))
    return np.asarray(connected_components(links, directed=False)[1][first], np.int64)


def tied_numbers(keys: np.ndarray) -> np.ndarray | None:
    """Returns int64[n], numbers from 0 that rows with equal keys share; None where all or none differ.

    >>> tied_numbers(np.array([7, 3, 7, 1])).tolist(), tied_numbers(np.arange(100)) is None
    ([2, 1, 2, 0], True)
    """
    different, numbers = np.unique(keys, return_inverse=True)
    return numbers if 1 < len(different) < len(keys) else None


def half_of(num_rows: int, ties: np.ndarray | None, generator: np.random.Generator) -> np.ndarray:
    """Returns bool[n], about half of the rows at random, all that are tied to one of them among them.

    Args:
        num_rows: n.
        ties: int[n] as from `tied_numbers`, or those of some rows; None where any two may be parted, as they
            may where all are tied.
        generator: draws.
    """
    if ties is None:
        return np.asarray(generator.permutation(num_rows) % 2 == 0)
    _, numbers, sizes = np.unique(ties, return_inverse=True, return_counts=True)
    order = generator.permutation(len(sizes))
    if len(sizes) == 1:
        return half_of(num_rows, None, generator)
    if len(sizes) > _FEW_TIES:
        return np.asarray(order % 2 == 0)[numbers]
    side, filled = np.zeros(len(sizes), bool), [0, 0]
    for place in order[np.argsort(-sizes[order], kind="stable")]:
        side[place] = filled[1] < filled[0]
        filled[int(side[place])] += sizes[place]
    return side[numbers]


def describe_folds(
    folds: tuple[Fold, ...],
    *,
    feature_keys: np.ndarray | None = None,
    manner: str = "stratified by class",
) -> str:
    """Returns the choice in plain words, for logs and reports; with keys it says what becomes of copies.

    Args:
        folds: one or more.
        feature_keys: integer[n], equal for rows with equal features.
        manner: how rows were told apart.
    """
    copies = ""
    if feature_keys is not None:
        apart = any(np.isin(feature_keys[f.validation], feature_keys[f.train]).any() for f in folds)
        copies = ", copies of a row " + ("on both sides, as there are so many" if apart else "kept together")
    num_validation = len(folds[0].validation)
    num_rows = max(len(fold.train) + len(fold.validation) for fold in folds)
    if len(folds) > 1:
        how = f"{len(folds)}-fold cross-validation over {num_rows:,} rows"
    else:
        how = f"{num_validation:,} of {num_rows:,} rows held out for validation"
    return f"{how}, {manner}{copies}"


def _fewest(num_rows: int) -> int:
    return min(_FEWEST_HELD_OUT, num_rows // 5)


def _later_periods(moments: np.ndarray, share: float | None) -> list[tuple[float, float]]:
    """Returns the periods that are validated, each from a moment to before another."""
    ordered = np.sort(np.where(np.isnan(moments), -np.inf, moments))
    num_rows = len(ordered)
    shares = np.arange(1, _FORWARD_PARTS) / _FORWARD_PARTS if share is None else np.array([1 - share])
    cuts = np.unique(ordered[np.minimum((shares * num_rows).astype(np.int64), num_rows - 1)])
    cuts = cuts[cuts > ordered[0]]
    if not len(cuts):  # more rows than one part have the earliest moment
        cuts = np.unique(ordered)[1:2]
    return list(zip(cuts.tolist(), [*cuts[1:].tolist(), math.inf], strict=True))


def _forward(
    moments: np.ndarray, periods: Sequence[tuple[float, float]], apart: np.ndarray | None
) -> list[Fold]:
    """Returns a fold a period; of earlier rows those are left out that share a key with a validated one."""
    folds = []
    for start, end in periods:
        validated = (moments >= start) & (moments < end) if end < math.inf else moments >= start
        learned = ~(moments >= start)
        if apart is not None:
            learned &= ~np.isin(apart, apart[validated])
        folds.append(Fold(np.flatnonzero(learned), np.flatnonzero(validated)))
    return folds


def _complete(folds: Sequence[Fold], labels: np.ndarray) -> list[Fold]:
    """Returns the folds whose training rows hold every class."""
    num_classes = len(np.unique(labels))
    return [fold for fold in folds if len(np.unique(labels[fold.train])) == num_classes]


def _num_learned(folds: Sequence[Fold]) -> int:
    return sum(len(fold.train) for fold in folds)


def _parted(
    labels: np.ndarray, ties: Sequence[np.ndarray], seed: int, share: float | None
) -> tuple[tuple[Fold, ...], bool]:
    """Returns the folds of the first ties that can be kept, and whether their sizes are what is wanted.

    Args:
        labels: int32[n], classes from 0.
        ties: keys of rows that are not parted, the best to keep first.
        seed: shuffles.
        share: of the rows that are held out; None for cross-validation.
    """
    for keys in ties:
        for sides in (_sides, _sides_of_few):
            side = sides(labels, keys, seed, share)
            folds = tuple(_fold(labels, side == number, keys) for number in range(int(side.max()) + 1))
            if _balanced(folds, len(labels), share):
                return folds, True
    return tuple(fold for fold in folds if len(fold.validation)), False


def _sides(labels: np.ndarray, keys: np.ndarray, seed: int, share: float | None) -> np.ndarray:
    """Returns the fold in which each row is validated; -1 where in none (held-out split)."""
    position, groups = _positions(labels, keys, seed)
    if share is None:  # of a class with fewer rows some folds validate none
        return (position % MAX_FOLDS)[groups]
    chosen = np.floor((position + 1) * share) > np.floor(position * share)
    return np.where(chosen, 0, -1)[groups]


def _positions(labels: np.ndarray, keys: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the place of each key in a shuffled order by class, and the key of each row."""
    _, first, groups, sizes = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    shuffle = np.random.default_rng(seed).permutation(len(first))
    # by class, large groups first so that they spread, else in random order; a stable sort keeps the shuffle
    order = shuffle[np.lexsort((-sizes[shuffle], labels[first][shuffle]))]
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    return position, groups


def _periods(moments: np.ndarray) -> np.ndarray:
    """Returns the period of each row, of five with about as many rows; those of one moment share theirs."""
    known = np.where(np.isnan(moments), -np.inf, moments)
    ordered = np.sort(known)
    starts = np.unique(ordered[np.arange(1, MAX_FOLDS) * len(ordered) // MAX_FOLDS])
    return np.searchsorted(starts, known, side="right")


def _sides_of_few(labels: np.ndarray, keys: np.ndarray, seed: int, share: float | None) -> np.ndarray:
    """As `_sides` for keys that are few or of very unequal size: each goes where rows are fewest."""
    _, groups, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    num_parts = min(len(sizes), MAX_FOLDS if share is None else round(1 / share))
    shuffle = np.random.default_rng(seed).permutation(len(sizes))
    filled, part = np.zeros(num_parts, np.int64), np.empty(len(sizes), np.int64)
    for group in shuffle[np.argsort(-sizes[shuffle], kind="stable")]:
        part[group] = int(np.argmin(filled))
        filled[part[group]] += sizes[group]
    if share is None:
        return part[groups]
    held_out = int(np.argmin(np.abs(filled - share * len(labels))))
    return np.where(part == held_out, 0, -1)[groups]


def _fold(labels: np.ndarray, validated: np.ndarray, keys: np.ndarray) -> Fold:
    """Takes the rows of a class back to training where none would be left there."""
    present = np.bincount(labels)
    lost = np.flatnonzero((present > 0) & (np.bincount(labels[~validated], minlength=len(present)) == 0))
    for label in lost:
        rows = np.flatnonzero(validated & (labels == label))
        if len(rows):  # else a copy in another class brought them back already
            validated = validated & (keys != keys[rows[0]])
    return Fold(np.flatnonzero(~validated), np.flatnonzero(validated))


def _balanced(folds: tuple[Fold, ...], num_rows: int, share: float | None) -> bool:
    return _are_balanced(np.array([len(fold.validation) for fold in folds]), num_rows, share)


def _are_balanced(sizes: np.ndarray, num_rows: int, share: float | None) -> bool:
    if not len(sizes) or (share is None and len(sizes) == 1):
        return False
    expected = num_rows * (1 / len(sizes) if share is None else share)
    return min(sizes) >= 0.5 * expected and max(sizes) <= 1.6 * expected
