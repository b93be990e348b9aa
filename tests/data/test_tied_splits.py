"""Splits by group and forward in time: no group, copy or later row crosses."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoflow.data.dataset import load_dataset
from autoflow.data.plan import plan_rows
from autoflow.data.split import Fold, held_out_share, make_forward_folds, make_group_folds
from autoflow.errors import DataError


def _labels(num_rows, num_classes=2, seed=0, share=None):
    labels = np.random.default_rng(seed).integers(0, num_classes, num_rows)
    labels[:num_classes] = np.arange(num_classes)
    return labels.astype(np.int32)


def _crosses(fold: Fold, keys: np.ndarray) -> bool:
    return bool(np.isin(keys[fold.validation], keys[fold.train]).any())


@pytest.mark.parametrize(
    ("num_rows", "num_groups", "num_folds"), [(900, 200, 5), (900, 3, 3), (6000, 800, 1), (6000, 4, 1)]
)
def test_no_group_crosses_and_the_parts_have_a_fair_size(num_rows, num_groups, num_folds):
    labels = _labels(num_rows)
    groups = np.random.default_rng(1).integers(0, num_groups, num_rows)
    folds = make_group_folds(
        labels, groups, feature_keys=np.arange(num_rows), seed=0, share=held_out_share(num_rows, 3000)
    )
    assert len(folds) == num_folds
    expected = num_rows / max(num_folds, min(5, num_groups))
    for fold in folds:
        assert not _crosses(fold, groups)
        assert 0.5 * expected <= len(fold.validation) <= 1.6 * expected
        assert len(np.unique(labels[fold.train])) == 2


def test_one_group_of_half_the_rows_is_learned_from_or_checked_on_as_a_whole():
    labels = _labels(1000)
    groups = np.r_[np.zeros(500, np.int64), np.arange(1, 501)]
    for fold in make_group_folds(labels, groups, feature_keys=np.arange(1000), seed=0, share=None):
        assert not _crosses(fold, groups)
        assert len(fold.validation) > 0


def test_copies_in_two_groups_do_not_cross_either():
    labels, groups = _labels(400), np.arange(400) // 4
    keys = np.arange(400)
    keys[3], keys[200] = 9000, 9000
    for seed in range(5):
        for fold in make_group_folds(labels, groups, feature_keys=keys, seed=seed, share=None):
            assert not _crosses(fold, keys)
            assert not _crosses(fold, groups)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=30), st.integers(0, 3))
def test_any_groups(sizes, seed):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = _labels(len(groups), seed=seed)
    keys = np.arange(len(groups))
    if any(len(np.unique(labels[groups != group])) < 2 for group in np.unique(groups)):
        return  # a class lies in one group
    try:
        folds = make_group_folds(labels, groups, feature_keys=keys, seed=seed, share=None)
    except DataError:
        assert max(sizes) > 0.8 * sum(sizes)
        return
    for fold in folds:
        assert len(fold.train)
        assert len(fold.validation)
        assert not _crosses(fold, groups)
        assert set(labels[fold.train]) == set(labels)


@pytest.mark.parametrize(("num_rows", "num_folds"), [(1000, 4), (5000, 1)])
def test_later_rows_check_models_of_earlier_ones(num_rows, num_folds):
    labels = _labels(num_rows)
    moments = np.random.default_rng(1).permutation(num_rows) // 7 * 1.0
    moments[::50] = np.nan
    folds = make_forward_folds(
        labels,
        moments,
        feature_keys=np.arange(num_rows),
        groups=None,
        share=held_out_share(num_rows, 3000),
    )
    assert len(folds) == num_folds
    for fold in folds:
        assert np.nanmax(moments[fold.train]) < np.nanmin(moments[fold.validation])
        assert not np.isnan(moments[fold.validation]).any()
        assert 0.1 * num_rows < len(fold.validation) < 0.3 * num_rows
    assert np.nanmax(moments) in moments[folds[-1].validation]


def test_an_earlier_copy_of_a_later_row_is_not_learned_from():
    labels, keys = _labels(5000), np.arange(5000)
    keys[10] = keys[4999]
    (fold,) = make_forward_folds(labels, np.arange(5000.0), feature_keys=keys, groups=None, share=0.2)
    assert 4999 in fold.validation
    assert 10 not in fold.train


def test_rows_that_all_come_again_later_are_learned_from_all_the_same():
    labels, keys = _labels(1000), np.arange(1000) % 7
    folds = make_forward_folds(labels, np.arange(1000.0), feature_keys=keys, groups=None, share=None)
    assert [len(fold.train) for fold in folds] == [200, 400, 600, 800]
    groups = np.arange(1000) // 2  # what groups tie stays apart
    with_groups = make_forward_folds(labels, np.arange(1000.0), feature_keys=keys, groups=groups, share=None)
    assert all(not _crosses(fold, groups) for fold in with_groups)
    assert len(with_groups) == 4


def test_groups_that_come_again_in_every_period_are_named_as_the_reason():
    with pytest.raises(DataError, match="groups of later rows are those of earlier ones"):
        make_forward_folds(
            _labels(1000),
            np.arange(1000.0),
            feature_keys=np.arange(1000),
            groups=np.arange(1000) % 7,
            share=None,
        )


def test_one_group_of_nearly_all_rows_leaves_too_few_to_check_a_model():
    groups = np.r_[np.zeros(1000, np.int64), np.repeat(np.arange(1, 6), 2)]
    labels = _labels(1010)
    with pytest.raises(DataError, match=r"only \d+ rows of 1,010 are left"):
        make_group_folds(labels, groups, feature_keys=np.arange(1010), seed=0, share=0.2)


def test_nothing_is_set_aside_where_groups_allow_but_a_few_rows():
    sizes = [9_000, 500, 500, 2]
    frame = pd.DataFrame(
        {"customer": np.repeat(["a", "b", "c", "d"], sizes), "x": np.random.default_rng(0).random(10_002)}
    )
    frame["label"] = np.where(np.arange(10_002) % 2, "yes", "no")
    dataset, _, _ = load_dataset(frame, group="customer", label="label")
    assert len(plan_rows(dataset, seed=0, seconds=60).set_aside) in (0, 500)


def test_groups_that_hardly_can_be_compared(tmp_path):
    frame = _table().assign(customer=[float("nan"), 1.0] * (len(_table()) // 2))
    groups = load_dataset(frame, group="customer")[0].groups
    assert len(np.unique(groups)) == 1 + len(frame) // 2  # without a group, each row is one of its own
    pq.write_table(
        pa.table({"customer": [[1], [2]] * 50, "x": np.arange(100.0), "label": ["a", "b"] * 50}),
        tmp_path / "lists.parquet",
    )
    with pytest.raises(DataError, match="--group cannot compare"):
        load_dataset(tmp_path / "lists.parquet", group="customer")


def test_groups_that_hold_every_row_of_a_class_leave_nothing_to_check():
    labels = np.r_[np.zeros(30), np.ones(30)].astype(np.int32)
    with pytest.raises(DataError, match="--group"):
        make_group_folds(labels, labels, feature_keys=np.arange(60), seed=0, share=None)


def test_a_class_of_late_rows_only_is_refused():
    labels = np.r_[np.arange(950) % 2, np.full(50, 2)].astype(np.int32)
    with pytest.raises(DataError, match="late rows only"):
        make_forward_folds(labels, np.arange(1000.0), feature_keys=np.arange(1000), groups=None, share=None)


def _table(num_rows=200):
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "customer": [f"c{number}" for number in generator.integers(0, 40, num_rows)],
            "day": pd.date_range("2024-01-01", periods=num_rows).astype(str),
            "size": generator.normal(size=num_rows).round(3),
            "label": np.where(np.arange(num_rows) % 3, "a", "b"),
        }
    )


def test_a_table_split_by_group_does_without_that_column():
    dataset, _, _ = load_dataset(_table(), group="customer")
    assert [column.name for column in dataset.schema.columns] == ["day", "size"]
    assert "groups the rows" in next(
        each.reason for each in dataset.schema.dropped if each.name == "customer"
    )
    plan = plan_rows(dataset, seed=0, seconds=60)
    folds, words = plan.folds, plan.description
    customers = _table()["customer"].to_numpy()
    assert "each group on one side" in words
    assert not any(_crosses(fold, customers) for fold in folds)
    assert len(dataset.rows(np.arange(50)).groups) == 50


def test_spaces_around_a_group_do_not_part_it_and_alone_are_no_group():
    frame = _table(20).assign(customer=["a", "a ", "\ta", "b", " ", "", "b", "c", "c\n", "c"] * 2)
    groups = load_dataset(frame, group="customer")[0].groups[:10]
    assert len(np.unique(groups[[0, 1, 2]])) == len(np.unique(groups[[7, 8, 9]])) == 1
    assert len(np.unique(groups)) == 5


def test_a_table_split_in_time_keeps_that_column():
    dataset, _, _ = load_dataset(_table(), time_column="day", group="customer")
    assert "day" in [column.name for column in dataset.schema.columns]
    plan = plan_rows(dataset, seed=0, seconds=60)
    folds, words = plan.folds, plan.description
    assert "forward in time" in words
    for fold in folds:
        assert fold.train.max() < fold.validation.min()
        assert not _crosses(fold, _table()["customer"].to_numpy())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"group": "costumer"}, "did you mean 'customer'"),
        ({"time_column": "customer"}, "cannot put the rows in order"),
        ({"group": "label", "label": "label"}, "cannot group"),
    ],
)
def test_columns_that_cannot_tie_rows_are_refused(options, said):
    with pytest.raises(DataError, match=said):
        load_dataset(_table(), **options)


def test_rows_without_a_moment_are_counted_and_too_few_with_one_are_refused():
    frame = pd.DataFrame({"t": np.arange(200.0), "x": np.arange(200) % 7, "label": ["a", "b"] * 100})
    assert not [text for text in load_dataset(frame, time_column="t")[2] if "moment" in text]
    frame.loc[::4, "t"] = np.nan
    dataset, _, warnings = load_dataset(frame, time_column="t")
    assert "column 't': 50 rows have no moment and count as the earliest" in warnings
    assert len(plan_rows(dataset, seed=0, seconds=60).folds) == 3
    frame.loc[6:, "t"] = np.nan
    with pytest.raises(DataError, match="only 4 of 200 rows are later than the others"):
        plan_rows(load_dataset(frame, time_column="t")[0], seed=0, seconds=60)


@pytest.mark.parametrize("spelled", ["{}", "{:04d}", "{}.5", "{} "])
def test_numbers_of_a_text_file_order_the_rows_as_numbers(tmp_path, spelled):
    order = np.random.default_rng(0).permutation(200)
    path = tmp_path / "t.csv"
    _table().assign(step=[spelled.format(number) for number in order]).to_csv(path, index=False)
    dataset = load_dataset(path, time_column="step", label="label")[0]
    np.testing.assert_array_equal(np.argsort(dataset.moments), np.argsort(order))


def test_one_group_and_one_moment_are_refused():
    same = _table().assign(customer="c1", day="2024-01-01")
    for options in ({"group": "customer"}, {"time_column": "day"}):
        with pytest.raises(DataError, match=r"one group|cannot put|one moment"):
            load_dataset(same, **options)
