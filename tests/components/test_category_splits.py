"""Splits by sets of categories: what they learn, and parity of NumPy, the graph and LightGBM itself."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from traced import graph_answers

from autoflow.components.base import FitContext, LabelledFeatures
from autoflow.components.classification import _forest_graph
from autoflow.components.classification._category_sets import CategorySets
from autoflow.components.classification._classes import log_loss
from autoflow.components.classification._tree_readers import read_lightgbm
from autoflow.components.classification._trees import Forest
from autoflow.components.classification.boosted_trees import BoostedTrees, FittedBoostedTrees
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.feature_extraction.category_embedding import CategoryEmbedding
from autoflow.components.feature_extraction.ordinal_codes import OrdinalCodes
from autoflow.components.feature_extraction.raw_numbers import RawNumbers
from autoflow.data.dataset import Dataset
from autoflow.data.schema import Column, ColumnKind, ColumnProfile, DataProfile, RawType, Schema
from autoflow.pipeline.assembly import categorical_columns, fit_pipeline
from autoflow.pipeline.cache import FoldData, PreparedCache
from autoflow.pipeline.spec import Node, PipelineSpec


def mixed_rows(num: int, num_classes: int, *, seed: int = 0) -> LabelledFeatures:
    """Two columns of numbers, one of four codes and one of seventy; code 0 is for missing values."""
    random = np.random.default_rng(seed)
    effects = np.random.default_rng(99).normal(size=(70, num_classes)) * 2
    few, many = random.integers(0, 4, num), random.integers(0, 70, num)
    numbers = random.normal(size=(num, 2))
    scores = effects[many] + (few == 2)[:, None] * effects[0] + random.gumbel(size=(num, num_classes))
    scores[:, 0] += numbers[:, 0]
    features = np.column_stack([numbers[:, 0], few, numbers[:, 1], many]).astype(np.float32)
    return LabelledFeatures(features, scores.argmax(axis=1).astype(np.int32), (1, 3))


def strange_rows() -> np.ndarray:
    """Rows with every code, and in the columns of codes what never was one."""
    odd = np.array([-1e9, -1.0, -0.5, 0.5, 3.99, 69.0, 70.0, 95.0, 96.0, 5e3, 1e9, np.nan], np.float32)
    codes = np.concatenate([np.arange(75, dtype=np.float32), odd])
    rows = np.repeat(mixed_rows(40, 2, seed=5).features, len(codes), axis=0)
    rows[:, 3] = np.tile(codes, 40)
    rows[::3, 1] = np.resize(odd, len(rows[::3]))
    rows[::50, 0] = np.nan
    return rows


@pytest.mark.parametrize(("num_classes", "num_leaves"), [(2, 31), (4, 31), (2, 120)])
def test_lightgbm_numpy_and_graph_agree_on_known_unseen_and_missing_codes(
    num_classes: int, num_leaves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lightgbm

    monkeypatch.setattr(_forest_graph, "_TREES_AT_ONCE", 13)
    train = mixed_rows(3000, num_classes)
    objective = (
        {"objective": "binary"} if num_classes == 2 else {"objective": "multiclass", "num_class": num_classes}
    )
    booster = lightgbm.train(
        objective
        | {"verbosity": -1, "use_missing": False, "num_threads": 1, "min_data_per_group": 5}
        | {"num_leaves": num_leaves, "min_data_in_leaf": 5},
        lightgbm.Dataset(train.features, train.labels, categorical_feature=[1, 3]),
        30,
    )
    forest = read_lightgbm(booster.model_to_string(), turns=1 if num_classes == 2 else num_classes)
    assert forest.sets is not None
    assert forest.sets.columns.tolist() == [1, 3]
    asked = strange_rows()
    expected = booster.predict(asked, raw_score=True).reshape(len(asked), -1)
    np.testing.assert_allclose(forest.sums(asked), expected, atol=1e-5)
    np.testing.assert_allclose(graph_answers(forest, asked), expected, atol=1e-5)
    np.testing.assert_allclose(graph_answers(forest, asked[5:6]), expected[5:6], atol=1e-5)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_the_classifier_serves_what_it_predicts(num_classes: int) -> None:
    train, held_out = mixed_rows(1500, num_classes), mixed_rows(500, num_classes, seed=1)
    fitted = BoostedTrees().fit(train, held_out, FitContext(num_classes))
    assert fitted.forest.sets is not None
    asked = strange_rows()
    expected = pickle.loads(pickle.dumps(fitted)).predict_probabilities(asked)
    np.testing.assert_allclose(graph_answers(fitted, asked), expected, atol=1e-5)
    np.testing.assert_array_equal(fitted.predict_probabilities(asked), expected)


def parity_rows(seed: int) -> LabelledFeatures:
    """The label is whether the number of one of forty categories is odd, one time in ten it is not."""
    random = np.random.default_rng(seed)
    codes = random.integers(1, 41, 1200)
    features = np.column_stack([codes, random.normal(size=(1200, 3))]).astype(np.float32)
    labels = (codes + (random.random(1200) < 0.1)) % 2
    return LabelledFeatures(features, labels.astype(np.int32), (0,))


def test_sets_learn_what_no_threshold_finds_in_a_few_rounds() -> None:
    losses = []
    for by_sets in (True, False):
        fitted = BoostedTrees(categorical_splits=by_sets, column_share=1.0).fit(
            parity_rows(0), None, FitContext(2, iterations=40)
        )
        asked = parity_rows(1)
        losses.append(log_loss(fitted.predict_probabilities(asked.features), asked.labels))
    assert losses[0] < 0.4  # 0.33 is the entropy of the noise
    assert losses[1] > losses[0] + 0.05


def test_without_sets_the_forest_is_the_plain_one() -> None:
    train = mixed_rows(600, 2)
    numbers = LabelledFeatures(train.features, train.labels)
    off = BoostedTrees(categorical_splits=False).fit(train, None, FitContext(2, iterations=20))
    plain = BoostedTrees().fit(numbers, None, FitContext(2, iterations=20))
    assert off.forest.sets is None
    np.testing.assert_array_equal(
        off.predict_probabilities(train.features), plain.predict_probabilities(train.features)
    )


@pytest.mark.parametrize(("last_code", "by_sets"), [(69, [1, 3]), (40_000, [1])])
def test_columns_of_very_many_codes_stay_numbers(last_code: int, by_sets: list[int]) -> None:
    train = mixed_rows(1500, 2)
    train.features[0, 3] = last_code
    forest = BoostedTrees().fit(train, None, FitContext(2, iterations=40)).forest
    assert forest.sets is not None
    assert forest.sets.columns.tolist() == by_sets


def test_columns_of_few_rows_a_code_stay_numbers() -> None:
    forest = BoostedTrees().fit(mixed_rows(500, 2), None, FitContext(2, iterations=20)).forest
    assert forest.sets is None or forest.sets.columns.tolist() == [1]


@pytest.mark.parametrize(("num_distinct", "searched"), [(30, True), (900, False)])
def test_sets_are_searched_where_a_column_can_use_them(num_distinct: int, searched: bool) -> None:
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    column = ColumnProfile("c", ColumnKind.CATEGORICAL, num_distinct, 0.0)
    BoostedTrees.sample(hp, DataProfile(2000, (1000, 1000), (column,)))
    assert ("categorical_splits" in hp.values) == searched


@pytest.mark.parametrize(("num_columns", "fewest"), [(3, 1), (300, 2)])
def test_values_of_one_row_have_a_code_unless_there_are_very_many(num_columns: int, fewest: int) -> None:
    import keras_tuner

    columns = tuple(ColumnProfile(f"c{n}", ColumnKind.CATEGORICAL, 900, 0.0) for n in range(num_columns))
    drawn = OrdinalCodes.sample(keras_tuner.HyperParameters(), DataProfile(2000, (1000, 1000), columns))
    assert drawn.min_rows == fewest
    vectors = CategoryEmbedding.sample(
        keras_tuner.HyperParameters(), DataProfile(2000, (1000, 1000), columns)
    )
    assert vectors.max_width == (50 if fewest == 1 else 7)


def test_sets_hold_their_codes_and_nothing_else() -> None:
    random = np.random.default_rng(0)
    for num_codes in (1, 30, 31, 32, 33, 300):
        members = random.random((4, num_codes)) < 0.5
        sets = CategorySets.build(members, np.array([0]))
        values = np.arange(-3, num_codes + 70).astype(np.float32)
        starts = sets.starts(np.arange(-1, 4))
        outside = sets.outside(np.repeat(starts[:, None], len(values), axis=1), np.tile(values, (5, 1)))
        assert not outside[0].any()
        for number in range(4):
            assert values[~outside[number + 1]].tolist() == np.flatnonzero(members[number]).tolist()


def test_a_forest_may_mix_thresholds_and_sets() -> None:
    # category {1, 2}? yes: leaf 0; no: number up to 0.5? yes: leaf 1, no: leaf 2
    forest = Forest.build(
        splits=np.array([2]),
        feature=np.array([1, 0]),
        threshold=np.array([0.0, 0.5]),
        left=np.array([~0, ~1]),
        right=np.array([1, ~2]),
        values=np.array([[1.0], [2.0], [3.0]]),
        set_of_split=np.array([0, -1]),
        sets=np.array([[False, True, True]]),
    )
    asked = np.array([[9, 1], [9, 2], [0, 0], [9, 0], [0, 3], [9, np.nan]], np.float32)
    assert forest.sums(asked)[:, 0].tolist() == [1.0, 1.0, 2.0, 3.0, 2.0, 3.0]
    assert graph_answers(forest, asked)[:, 0].tolist() == [1.0, 1.0, 2.0, 3.0, 2.0, 3.0]


def test_the_places_of_codes_are_counted_over_all_nodes() -> None:
    texts = np.array([["a", "x"], ["b", "x"], ["a", ""]], dtype=object)
    codes = OrdinalCodes().fit(texts, seed=0)
    numbers = RawNumbers().fit(np.array([[1.0], [2.0], [np.nan]]), seed=0)
    width = sum(numbers.widths)
    assert categorical_columns([numbers, codes]) == (width, width + 1)
    assert categorical_columns([codes, numbers]) == (0, 1)
    assert categorical_columns([numbers]) == ()


def test_a_pipeline_tells_trees_its_codes_and_serves_their_sets(tmp_path: Path) -> None:
    import tensorflow as tf

    random = np.random.default_rng(0)
    codes = random.integers(0, 20, 1000)
    columns = (
        Column("x", ColumnKind.NUMERIC, RawType.FLOAT32, reason="test"),
        Column("code", ColumnKind.CATEGORICAL, RawType.STRING, reason="test"),
    )
    texts = np.array([f"c{code}" for code in codes], dtype=object)
    raw = {"x": random.normal(size=1000).astype(np.float32).astype(float), "code": texts}
    data = Dataset("test", Schema(columns, "y", ("no", "yes")), raw, (codes % 2).astype(np.int32))
    nodes = (Node("numeric", ("x",), RawNumbers()), Node("categorical", ("code",), OrdinalCodes()))
    spec = PipelineSpec(nodes, PlainConcat(), BoostedTrees(column_share=1.0))
    context = FitContext(2, iterations=20)
    fold = FoldData("test/all", data, None)
    pipeline = fit_pipeline(spec, fold, PreparedCache(tmp_path), context, preparation_seed=0).pipeline
    assert isinstance(pipeline.model, FittedBoostedTrees)
    assert pipeline.model.forest.sets is not None
    strange = np.array(["", "unseen", "c3", "c4"], dtype=object)
    asked = {"x": np.zeros(4), "code": strange}
    expected = pipeline.predict_probabilities(asked)
    assert expected[2].argmax() == 1
    assert expected[3].argmax() == 0
    tensors = {"x": tf.zeros(4), "code": tf.constant(strange.tolist())}
    served, _ = tf.function(pipeline.module(), autograph=False)(tensors)
    np.testing.assert_allclose(served.numpy(), expected, atol=1e-5)
