"""Splits: disjoint, stratified, copies together, a training row of every class, and the same every time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoflow.data.split import (
    Fold,
    describe_folds,
    fold_numbers,
    half_of,
    held_out_share,
    make_folds,
    make_group_folds,
    tied_numbers,
)
from autoflow.errors import DataError


def table(num_rows: int, weights: list[float], seed: int = 0) -> np.ndarray:
    labels = np.random.default_rng(seed).choice(len(weights), num_rows, p=np.array(weights) / sum(weights))
    labels[: 2 * len(weights)] = np.repeat(np.arange(len(weights)), 2)
    return labels.astype(np.int32)


def distinct(labels: np.ndarray) -> np.ndarray:
    return np.arange(len(labels), dtype=np.uint64)


def usual_share(labels: np.ndarray) -> float | None:
    return held_out_share(len(labels), 3000)


def check(folds: tuple[Fold, ...], labels: np.ndarray) -> None:
    seen: list[int] = []
    for fold in folds:
        assert fold.train.dtype == fold.validation.dtype == np.int64
        assert len(fold.validation) > 0
        np.testing.assert_array_equal(np.sort(np.r_[fold.train, fold.validation]), np.arange(len(labels)))
        assert set(labels[fold.train]) == set(labels)
        seen.extend(fold.validation)
    assert len(seen) == len(set(seen))


def test_small_tables_are_cross_validated():
    labels = table(500, [0.7, 0.2, 0.1])
    folds = make_folds(labels, feature_keys=distinct(labels), seed=0, share=usual_share(labels))
    assert len(folds) == 5
    check(folds, labels)
    assert sum(len(fold.validation) for fold in folds) == 500
    shares = np.array([np.bincount(labels[fold.validation]) / len(fold.validation) for fold in folds])
    assert np.ptp(shares, axis=0).max() < 0.03
    assert "5-fold" in describe_folds(folds)


@pytest.mark.parametrize("smallest", [2, 3, 9])
@pytest.mark.parametrize("num_others", [12, 600])
def test_a_class_of_few_rows_takes_no_training_rows_from_the_others(smallest, num_others):
    labels = np.r_[np.zeros(num_others), np.ones(smallest)].astype(np.int32)
    folds = make_folds(labels, feature_keys=distinct(labels), seed=0, share=usual_share(labels))
    assert len(folds) == 5
    check(folds, labels)
    assert min(len(fold.train) for fold in folds) >= 0.75 * len(labels)
    validated = np.concatenate([fold.validation for fold in folds])
    assert np.count_nonzero(labels[validated] == 1) == smallest


@pytest.mark.parametrize(
    ("num_rows", "expected"), [(3000, 600), (49_999, 10_000), (50_000, 5000), (300_000, 20_000)]
)
def test_large_tables_have_one_held_out_part(num_rows, expected):
    labels = table(num_rows, [0.8, 0.2])
    folds = make_folds(labels, feature_keys=distinct(labels), seed=0, share=usual_share(labels))
    assert len(folds) == 1
    check(folds, labels)
    assert abs(len(folds[0].validation) - expected) <= 2
    assert abs(labels[folds[0].validation].mean() - labels.mean()) < 0.001
    assert f"of {num_rows:,} rows held out" in describe_folds(folds)


@pytest.mark.parametrize("num_rows", [400, 6000])
def test_copies_fall_on_one_side(num_rows):
    labels = table(num_rows, [0.5, 0.4, 0.1])
    keys = np.random.default_rng(1).integers(0, num_rows // 2, num_rows).astype(np.uint64)
    folds = make_folds(labels, feature_keys=keys, seed=0, share=usual_share(labels))
    check(folds, labels)
    assert not any(np.isin(keys[fold.validation], keys[fold.train]).any() for fold in folds)
    assert "kept together" in describe_folds(folds, feature_keys=keys)


def test_too_few_different_rows_for_a_balanced_split():
    labels = table(400, [0.5, 0.5])
    keys = np.where(np.arange(400) < 390, 0, np.arange(400)).astype(np.uint64)
    folds = make_folds(labels, feature_keys=keys, seed=0, share=usual_share(labels))
    check(folds, labels)
    assert min(len(fold.validation) for fold in folds) >= 60
    assert "both sides" in describe_folds(folds, feature_keys=keys)


@pytest.mark.parametrize("num_groups", [2, 40, 500])
def test_fold_numbers_keep_groups_together_and_classes_even(num_groups):
    labels = table(1000, [0.6, 0.4])
    groups = np.random.default_rng(2).integers(0, num_groups, 1000)
    numbers = fold_numbers(labels, groups, seed=0)
    assert all(len(np.unique(numbers[groups == group])) == 1 for group in np.unique(groups))
    assert len(np.unique(numbers)) == min(5, num_groups)
    assert np.ptp(np.bincount(numbers)) < 400
    for keys in (None, np.zeros(1000, np.int64)):  # one group leaves nothing to part
        assert np.ptp(np.bincount(fold_numbers(labels, keys, seed=0))) <= 1


def test_a_group_that_is_much_of_the_table_is_not_parted_either():
    groups = np.concatenate([np.zeros(70, np.int64), np.arange(1, 31).repeat(3)])
    labels = np.random.default_rng(0).integers(0, 2, len(groups)).astype(np.int32)
    side = fold_numbers(labels, groups, seed=0)
    assert len(np.unique(side)) > 1
    assert all(len(set(side[groups == group])) == 1 for group in np.unique(groups))


def test_halves_keep_tied_rows_together():
    keys = np.random.default_rng(0).integers(0, 60, 500) * 7
    ties = tied_numbers(keys)
    half = half_of(len(keys), ties, np.random.default_rng(1))
    assert not set(keys[half]) & set(keys[~half])
    assert 0.3 < half.mean() < 0.7
    few = half_of(90, np.repeat([0, 1, 2], [60, 20, 10]), np.random.default_rng(2))
    assert few.sum() in (30, 60)
    some = half_of(100, ties[:100], np.random.default_rng(1))
    assert not set(keys[:100][some]) & set(keys[:100][~some])


def test_halves_of_rows_that_all_differ_are_equal():
    assert tied_numbers(np.arange(50)) is None
    assert half_of(50, None, np.random.default_rng(0)).sum() == 25


def test_seeds():
    labels = table(200, [0.5, 0.5])
    first, again, other = (
        make_folds(labels, feature_keys=distinct(labels), seed=seed, share=usual_share(labels))
        for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a.validation, b.validation) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].validation, other[0].validation)


@given(
    sizes=st.lists(st.integers(2, 30), min_size=2, max_size=6),
    num_keys=st.integers(1, 60),
    seed=st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_any_table(sizes, num_keys, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    keys = np.random.default_rng(seed).integers(0, num_keys, len(labels)).astype(np.uint64)
    folds = make_folds(labels, feature_keys=keys, seed=seed, share=usual_share(labels))
    assert 1 <= len(folds) <= 5
    check(folds, labels)


def test_a_fold_that_learns_from_hardly_any_row_is_none():
    groups = np.repeat([0, 1], [990, 10])
    labels = np.arange(1000, dtype=np.int32) % 2
    with pytest.raises(DataError, match="too unequal"):
        make_group_folds(labels, groups, feature_keys=np.arange(1000), seed=0, share=None)
