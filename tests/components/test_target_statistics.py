"""What target statistics tell of categories, and that training rows do not see their own labels in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from autoflow.components.base import CrossFittedExtractor, FittedExtractor
from autoflow.components.feature_extraction.target_statistics import TargetStatistics
from autoflow.data.dataset import load_dataset
from autoflow.pipeline.cache import FoldData, PreparedCache
from autoflow.pipeline.spec import Node
from autoflow.testing import ContractFailure
from autoflow.testing.feature_extraction import hides_the_labels_of_training_rows


def column(values: list[str]) -> np.ndarray:
    return np.array(values, dtype=object)[:, None]


def fitted(values: list[str], labels: list[int], num_classes: int = 2, **fields: float) -> FittedExtractor:
    extractor = TargetStatistics(**fields)
    return extractor.fit_transform(column(values), np.array(labels, np.int32), num_classes, seed=0)[0]


def test_categories_rank_by_their_share_of_the_rarer_class() -> None:
    values = ["good"] * 40 + ["even"] * 40 + ["bad"] * 40
    labels = [0] * 38 + [1] * 2 + [0, 1] * 20 + [1] * 30 + [0] * 10
    good, even, bad, unseen = fitted(values, labels).transform(column(["good", "even", "bad", "new"])).ravel()
    assert good < -1 < even < 0.5 < bad
    assert unseen == 0.0


def test_few_rows_say_less_than_many() -> None:
    values = ["often"] * 30 + ["twice"] * 2 + ["other"] * 40
    often, twice = fitted(values, [1] * 32 + [0] * 40).transform(column(["often", "twice"])).ravel()
    assert 0 < twice < often


def test_missing_is_a_category_of_its_own() -> None:
    missing, unseen = fitted([""] * 20 + ["a"] * 20, [1] * 20 + [0] * 20).transform(column(["", "b"])).ravel()
    assert missing > 0.3
    assert unseen == 0.0


def test_categories_that_differ_by_chance_only_are_drawn_to_the_shares_of_all_rows() -> None:
    random = np.random.default_rng(5)
    values = [f"c{code}" for code in random.integers(0, 100, 2000)]
    noise, told = random.integers(0, 2, 2000), [int(value[-1] in "13579") for value in values]
    of_noise = fitted(values, noise.tolist()).transform(column(values))
    assert np.abs(of_noise).max() < 0.25 * np.abs(fitted(values, told).transform(column(values))).max()


def test_many_classes_give_the_most_frequent_ones() -> None:
    labels = [number % 7 for number in range(70)] + [5] * 9 + [2] * 4
    several = fitted(["a", "b", "c"] * 27 + ["a", "b"], labels, 9, max_classes=2)
    assert several.widths == (2,)
    told = fitted([str(label) for label in labels], labels, 9, max_classes=2).transform(column(["5", "2"]))
    assert (np.argmax(told, axis=1) == [0, 1]).all()


def test_a_category_of_one_row_tells_that_row_nothing() -> None:
    labels = np.array([0, 1] * 20, np.int32)
    values = column([f"c{number}" for number in range(40)])
    extractor, own = TargetStatistics().fit_transform(values, labels, 2, seed=0)
    assert not own.any()
    assert not extractor.transform(values).any()


def test_categories_of_one_row_tell_of_unseen_ones() -> None:
    """Here what is rare is mostly of class 1, and so should be what was never there."""
    values = [f"once {number}" for number in range(60)] + ["low"] * 120 + ["high"] * 60
    labels = [1] * 50 + [0] * 10 + [0] * 115 + [1] * 5 + [1] * 55 + [0] * 5
    extractor = fitted(values, labels)
    low, once, unseen, high = extractor.transform(column(["low", "once 3", "new", "high"])).ravel()
    assert low < -0.5 < 0.2 < once == unseen < high
    assert set(*extractor.slots.vocabularies) == {"low", "high"}


def test_a_category_of_one_group_tells_the_rows_of_that_group_nothing() -> None:
    groups = np.arange(120) // 3
    labels = np.array([0, 1] * 20, np.int32)[groups]
    values = column([f"c{number}" for number in groups])
    _, apart = TargetStatistics().fit_transform(values, labels, 2, seed=0)
    assert apart.any()
    extractor, own = TargetStatistics().fit_transform(values, labels, 2, seed=0, ties=groups)
    assert not own.any()
    assert extractor.transform(values).any()


def test_there_is_no_fit_without_labels() -> None:
    with pytest.raises(TypeError, match="TargetStatistics learns from labels; call fit_transform"):
        TargetStatistics().fit(column(["a"]), seed=0)


@dataclass(frozen=True)
class Leaking(TargetStatistics):
    """Target statistics that describe training rows as all others."""

    def fit_transform(self, values, labels, num_classes, *, seed, ties=None):
        extractor, _ = super().fit_transform(values, labels, num_classes, seed=seed)
        return extractor, extractor.transform(values)


def test_the_contract_check_sees_a_leak() -> None:
    hides_the_labels_of_training_rows(TargetStatistics)
    with pytest.raises(ContractFailure, match="expected noise that a tree guesses in less than 58%"):
        hides_the_labels_of_training_rows(Leaking)


@dataclass(frozen=True)
class Parting(TargetStatistics):
    """Target statistics that take no notice of groups."""

    def fit_transform(self, values, labels, num_classes, *, seed, ties=None):
        return super().fit_transform(values, labels, num_classes, seed=seed)


def test_the_contract_check_sees_a_leak_inside_groups() -> None:
    with pytest.raises(ContractFailure, match="of each group"):
        hides_the_labels_of_training_rows(Parting)


seen: list[np.ndarray] = []


@dataclass(frozen=True)
class Watching(TargetStatistics):
    """Remembers the labels that it was given."""

    def fit_transform(self, values, labels, num_classes, *, seed, ties=None):
        seen.append(labels.copy())
        return super().fit_transform(values, labels, num_classes, seed=seed, ties=ties)


def test_labels_of_training_rows_only_arrive_and_prepared_training_rows_are_the_cross_fitted_ones(tmp_path):
    names = [f"n{number % 25}" for number in range(60)]
    frame = pd.DataFrame({"x": names, "label": np.random.default_rng(0).choice(["a", "b"], 60)})
    dataset = load_dataset(frame)[0]
    data = FoldData("fold/0", dataset.rows(np.arange(40)), dataset.rows(np.arange(40, 60)))
    seen.clear()
    prepared = PreparedCache(tmp_path / "cache").prepare(Node("categorical", ("x",), Watching()), data, 0)
    assert [labels.tolist() for labels in seen] == [data.train.labels.tolist()]
    assert isinstance(Watching(), CrossFittedExtractor)
    as_served = prepared.extractor.transform(data.train.matrix(("x",)))
    assert not np.array_equal(prepared.train, as_served)
    assert np.array_equal(prepared.validation, prepared.extractor.transform(data.validation.matrix(("x",))))


def test_the_groups_of_training_rows_arrive(tmp_path):
    frame = pd.DataFrame(
        {"x": [f"n{n % 25}" for n in range(60)], "g": np.arange(60) // 3, "label": np.arange(60) // 3 % 2}
    )
    dataset = load_dataset(frame, group="g")[0]
    data = FoldData("fold/0", dataset.rows(np.arange(40)), dataset.rows(np.arange(40, 60)))
    node = Node("categorical", ("x",), TargetStatistics())
    prepared = PreparedCache(tmp_path / "cache").prepare(node, data, 0)
    values, labels, groups = data.train.matrix(("x",)), data.train.labels, np.arange(40) // 3
    tied = TargetStatistics().fit_transform(values, labels, 2, seed=0, ties=groups)[1]
    apart = TargetStatistics().fit_transform(values, labels, 2, seed=0)[1]
    assert np.array_equal(prepared.train, tied)
    assert not np.array_equal(prepared.train, apart)
