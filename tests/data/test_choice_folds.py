"""Held-out rows that choose and rows that judge: disjoint, stratified, what belongs together on one side."""

from itertools import pairwise

import numpy as np
import pytest

from autoflow.data.split import make_choice_folds

RANDOM = np.random.default_rng(0)


def folds_of(labels, keys=None, groups=None, moments=None, seed=0):
    keys = np.arange(len(labels)) if keys is None else keys
    return make_choice_folds(labels, feature_keys=keys, groups=groups, moments=moments, seed=seed)


def check(folds, num_rows):
    """Every row is predicted once, by choices of other rows."""
    judging = np.concatenate([fold.validation for fold in folds])
    np.testing.assert_array_equal(np.sort(judging), np.arange(num_rows))
    for fold in folds:
        assert not np.isin(fold.validation, fold.train).any()


def test_parts_have_their_share_of_every_class_and_depend_on_the_seed():
    labels = np.repeat([0, 1, 2], [300, 150, 50])
    folds = folds_of(labels)
    check(folds, 500)
    assert [len(fold.train) for fold in folds] == [400] * 5
    for fold in folds:
        assert np.abs(np.bincount(labels[fold.validation]) - (60, 30, 10)).max() <= 1
    assert all(
        np.array_equal(a.validation, b.validation) for a, b in zip(folds, folds_of(labels), strict=True)
    )
    assert not np.array_equal(folds[0].validation, folds_of(labels, seed=1)[0].validation)


def test_a_class_of_one_row_costs_no_parts():
    assert len(folds_of(np.r_[np.zeros(99, np.int64), 1])) == 5


@pytest.mark.parametrize("num_groups", [100, 7])
def test_copies_and_groups_are_on_one_side(num_groups):
    labels, groups = RANDOM.integers(0, 2, 400), RANDOM.integers(0, num_groups, 400)
    keys = np.arange(400)
    keys[:2] = 0  # a copy in two groups ties them
    groups[:2] = 0, 1
    folds = folds_of(labels, keys, groups)
    check(folds, 400)
    for fold in folds:
        assert not np.isin(groups[fold.train], groups[fold.validation]).any()
        assert np.isin(groups[fold.validation], (0, 1)).sum() in (0, np.isin(groups, (0, 1)).sum())
        assert len(fold.validation) < 240


def test_parts_in_time_are_periods_and_moments_are_not_parted():
    moments = RANDOM.integers(0, 40, 400).astype(np.float64)
    moments[:10] = np.nan
    folds = folds_of(RANDOM.integers(0, 2, 400), moments=moments)
    check(folds, 400)
    known = np.where(np.isnan(moments), -np.inf, moments)
    for earlier, later in pairwise(folds):
        assert known[earlier.validation].max() < known[later.validation].min()
    assert max(len(fold.validation) for fold in folds) < 120


def test_rows_of_a_group_do_not_choose_for_a_period_that_has_others_of_it():
    moments, groups = np.arange(400.0), np.arange(400) // 60
    folds = folds_of(RANDOM.integers(0, 2, 400), groups=groups, moments=moments)
    check(folds, 400)
    assert min(len(fold.train) for fold in folds) < 320
    for fold in folds:
        assert not np.isin(groups[fold.train], groups[fold.validation]).any()


@pytest.mark.parametrize("moments", [None, np.ones(50)])
def test_rows_that_cannot_be_parted_give_none(moments):
    assert folds_of(np.zeros(50, np.int64), keys=np.zeros(50, np.int64), moments=moments) == ()
