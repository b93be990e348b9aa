"""Plans: which rows learn, which judge, which no trial sees."""

import numpy as np
import pandas as pd
import pytest

from autoflow.data.dataset import load_dataset
from autoflow.data.plan import plan_rows


def _dataset(num_rows, texts=None, **options):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": generator.normal(size=num_rows),
            "group": [f"g{number}" for number in generator.integers(0, options.pop("groups", 500), num_rows)],
            "day": pd.date_range("2000-01-01", periods=num_rows, freq="h").astype(str),
            "label": np.where(generator.random(num_rows) < 0.3, "a", "b"),
        }
    )
    if texts:
        frame["story"] = [f"{texts} {number}" for number in range(num_rows)]
    return load_dataset(frame, label="label", **options)[0]


@pytest.mark.parametrize(("num_rows", "aside"), [(9_999, 0), (10_000, 500), (30_000, 1500)])
def test_large_tables_set_rows_aside_that_no_fold_holds(num_rows, aside):
    dataset = _dataset(num_rows)
    plan = plan_rows(dataset, seed=3, seconds=60)
    assert abs(len(plan.set_aside) - aside) <= 2
    (fold,) = plan.folds
    used = np.concatenate([fold.train, fold.validation, plan.set_aside])
    np.testing.assert_array_equal(np.sort(used), np.arange(num_rows))
    assert ("set aside" in plan.description) == bool(aside)
    if aside:
        assert dataset.labels[plan.set_aside].mean() == pytest.approx(dataset.labels.mean(), abs=0.01)
        assert (plan_rows(dataset, seed=3, seconds=900).set_aside == plan.set_aside).all()
        assert not np.array_equal(plan_rows(dataset, seed=4, seconds=60).set_aside, plan.set_aside)


def test_what_is_set_aside_of_a_table_in_time_is_the_latest():
    plan = plan_rows(_dataset(10_000, time_column="day"), seed=0, seconds=60)
    (fold,) = plan.folds
    assert fold.train.max() < fold.validation.min() <= fold.validation.max() < plan.set_aside.min()


@pytest.mark.parametrize(("groups", "some"), [(500, True), (4, False)])
def test_groups_are_set_aside_whole_or_not_at_all(groups, some):
    dataset = _dataset(10_000, group="group", groups=groups)
    plan = plan_rows(dataset, seed=0, seconds=60)
    (fold,) = plan.folds
    assert bool(len(plan.set_aside)) == some
    parts = [set(dataset.groups[rows]) for rows in (fold.train, fold.validation, plan.set_aside)]
    assert not parts[0] & parts[1]
    assert not parts[2] & (parts[0] | parts[1])


def test_nothing_is_set_aside_where_the_other_rows_could_not_be_parted_any_more():
    groups = np.repeat(["first", "second", "small"], [4850, 4850, 300])
    turns = np.arange(10_000) % 2  # only the small group shares its classes with each of the large ones
    pairs = {"first": ("a", "c"), "second": ("b", "c"), "small": ("a", "b")}
    labels = [pairs[group][turn] for group, turn in zip(groups, turns, strict=True)]
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=10_000), "g": groups, "label": labels})
    plan = plan_rows(load_dataset(frame, label="label", group="g")[0], seed=0, seconds=60)
    (fold,) = plan.folds
    assert not len(plan.set_aside)
    assert len(fold.validation) == 300


@pytest.mark.parametrize(
    ("num_rows", "seconds", "texts", "num_folds"),
    [
        (2_999, 60, None, 5),
        (3_000, 59, None, 1),
        (3_999, 60, None, 5),
        (4_000, 60, None, 1),
        (3_000, 300, None, 5),
        (5_999, 300, "short", 5),
        (5_999, 300, "long " * 200, 1),
        (6_000, 300, None, 1),
    ],
)
def test_with_time_larger_tables_are_cross_validated_if_that_is_quick(num_rows, seconds, texts, num_folds):
    plan = plan_rows(_dataset(num_rows, texts), seed=0, seconds=seconds)
    assert len(plan.folds) == num_folds
    assert not len(plan.set_aside)
