"""The classifiers: learning, parity of NumPy, library and graph, early stopping, time, refits, pickles."""

from __future__ import annotations

import pickle
import time
from dataclasses import replace

import numpy as np
import pytest
from traced import graph_answers

from autoflow.components.base import FitContext, HopelessTrial, LabelledFeatures, MatrixClassifier
from autoflow.components.classification._classes import PresentClasses, log_loss
from autoflow.components.classification._forests import _expected_loss
from autoflow.components.classification._tree_readers import read_lightgbm, read_sklearn
from autoflow.components.classification._trees import Forest, round_down
from autoflow.components.classification.logistic_regression import LogisticRegression
from autoflow.components.discovery import discover
from autoflow.components.registry import Role, lookup, names
from autoflow.data.schema import ColumnKind, ColumnProfile, DataProfile

discover()
MATRIX = [
    component
    for component in (lookup(Role.CLASSIFICATION, name) for name in names(Role.CLASSIFICATION))
    if issubclass(component, MatrixClassifier)
]
LEARNERS = [component for component in MATRIX if component.__name__ != "Majority"]
ITERATIVE = ["boosted_trees", "logistic_regression"]


def rows(num: int, num_classes: int, *, seed: int = 0, columns: int = 6) -> LabelledFeatures:
    """Classes around centres of their own, with some overlap and a column of noise."""
    centres = np.random.default_rng(99).normal(size=(num_classes, columns)) * 2.0
    centres[:, -1] = 0.0
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num).astype(np.int32)
    return LabelledFeatures((centres[labels] + random.normal(size=(num, columns))).astype(np.float32), labels)


def quick(component: type[MatrixClassifier]) -> MatrixClassifier:
    """The default with less work where it has a number of trees."""
    model = component()
    return replace(model, num_trees=40) if component.__name__ in ("RandomForest", "ExtraTrees") else model


def profile(num_rows: int, num_classes: int, columns: int = 10) -> DataProfile:
    each = ColumnProfile("c", ColumnKind.NUMERIC, 50, 0.0)
    return DataProfile(num_rows, (num_rows // num_classes,) * num_classes, (each,) * columns)


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("component", LEARNERS)
def test_learns_more_than_the_class_shares(component, num_classes):
    train, held_out = rows(400, num_classes), rows(200, num_classes, seed=1)
    fitted = quick(component).fit(train, held_out, FitContext(num_classes))
    probabilities = fitted.predict_probabilities(rows(300, num_classes, seed=2).features)
    assert log_loss(probabilities, rows(300, num_classes, seed=2).labels) < 0.6 * np.log(num_classes)


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("component", MATRIX)
def test_graph_equals_numpy_on_seen_new_far_and_single_rows(component, num_classes):
    train = rows(300, num_classes)
    fitted = quick(component).fit(train, rows(90, num_classes, seed=1), FitContext(num_classes))
    asked = np.concatenate(
        [train.features, rows(200, num_classes, seed=2).features, 1e6 * train.features[:20]]
    )
    expected = fitted.predict_probabilities(asked)
    assert expected.dtype == np.float32
    np.testing.assert_allclose(expected.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(graph_answers(fitted, asked), expected, atol=1e-5)
    np.testing.assert_allclose(graph_answers(fitted, asked[7:8]), expected[7:8], atol=1e-5)


@pytest.mark.parametrize("component", MATRIX)
def test_classes_without_rows_keep_a_small_probability(component):
    train = rows(200, 2)
    train = LabelledFeatures(train.features, train.labels * 3 + 1)  # classes 1 and 4 of six
    held_out = LabelledFeatures(train.features[:50], np.arange(50, dtype=np.int32) % 6)
    fitted = quick(component).fit(train, held_out, FitContext(6))
    probabilities = fitted.predict_probabilities(train.features)
    assert probabilities.shape == (200, 6)
    assert probabilities.min() > 0
    assert probabilities[:, [0, 2, 3, 5]].max() < 0.05
    np.testing.assert_allclose(graph_answers(fitted, train.features), probabilities, atol=1e-5)


@pytest.mark.parametrize("component", MATRIX)
def test_one_class_and_one_row_and_constant_features_do_no_harm(component):
    for train in (
        LabelledFeatures(np.ones((30, 3), np.float32), np.ones(30, np.int32)),
        LabelledFeatures(np.ones((1, 3), np.float32), np.ones(1, np.int32)),
        LabelledFeatures(np.ones((30, 3), np.float32), np.arange(30, dtype=np.int32) % 3),
    ):
        fitted = quick(component).fit(train, None, FitContext(3))
        probabilities = fitted.predict_probabilities(np.zeros((2, 3), np.float32))
        assert np.isfinite(probabilities).all()
        assert probabilities.min() > 0


@pytest.mark.parametrize("component", MATRIX)
def test_same_seed_same_answers_and_pickles(component):
    train, held_out = rows(200, 3), rows(80, 3, seed=1)
    one = quick(component).fit(train, held_out, FitContext(3, seed=5))
    other = quick(component).fit(train, held_out, FitContext(3, seed=5))
    expected = one.predict_probabilities(held_out.features)
    np.testing.assert_array_equal(other.predict_probabilities(held_out.features), expected)
    loaded = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(loaded.predict_probabilities(held_out.features), expected)
    assert loaded.iterations == one.iterations


@pytest.mark.parametrize("name", ["random_forest", "extra_trees"])
def test_a_forest_is_given_up_as_soon_as_its_course_tells_where_it_ends(name):
    model = replace(lookup(Role.CLASSIFICATION, name)(), num_trees=240)
    train, held_out = rows(300, 3), rows(400, 3, seed=1)
    loss = log_loss(
        model.fit(train, None, FitContext(3)).predict_probabilities(held_out.features), held_out.labels
    )
    with pytest.raises(HopelessTrial, match=r"after 17% of the iterations, .* is expected in the end"):
        model.fit(train, held_out, FitContext(3, hopeless_loss=0.7 * loss))
    assert model.fit(train, held_out, FitContext(3, hopeless_loss=1.05 * loss)).iterations == 240


def test_what_a_forest_is_expected_to_end_at_is_by_the_noise_of_its_trees():
    losses = {trees: 0.5 + 2.0 / trees for trees in (20, 40, 200)}
    seen = [(20, losses[20]), (40, losses[40])]
    assert _expected_loss(seen, 200) == pytest.approx(losses[200])
    assert _expected_loss(seen[:1], 200) == -np.inf
    assert _expected_loss([(20, 0.5), (40, 0.6)], 200) == 0.6  # it rose: that is no noise to take away


@pytest.mark.parametrize("component", MATRIX)
def test_no_time_gives_a_model_all_the_same(component):
    train = rows(3000, 4, columns=20)
    started = time.monotonic()
    fitted = component().fit(train, rows(500, 4, seed=1, columns=20), FitContext(4, seconds=0.0))
    assert time.monotonic() - started < 5
    assert np.isfinite(fitted.predict_probabilities(train.features[:5])).all()


@pytest.mark.parametrize("name", [*ITERATIVE, "random_forest", "extra_trees"])
def test_hopeless_fits_are_given_up(name):
    held_out = rows(100, 3, seed=1)
    context = FitContext(3, hopeless_loss=1e-9)
    model = quick(lookup(Role.CLASSIFICATION, name))
    if name == "boosted_trees":
        model = replace(model, patience=10_000)
    if name == "logistic_regression":  # converges long before a third of its steps
        model = replace(model, max_iterations=15)
    with pytest.raises(HopelessTrial, match="hopeless beyond 1e-09"):
        model.fit(rows(300, 3), held_out, context)


@pytest.mark.parametrize("name", [*ITERATIVE, "random_forest", "extra_trees"])
def test_a_refit_takes_exactly_the_given_iterations(name):
    model = lookup(Role.CLASSIFICATION, name)()
    assert model.fit(rows(300, 3), None, FitContext(3, iterations=7)).iterations == 7


@pytest.mark.parametrize("name", ["random_forest", "extra_trees"])
def test_a_forest_of_fewer_trees_has_trees_of_the_same_size(name, monkeypatch):
    monkeypatch.setattr("autoflow.components.classification._forests._BYTES", 44 * 200 * 8)
    fitted = lookup(Role.CLASSIFICATION, name)().fit(rows(2000, 3), None, FitContext(3, iterations=10))
    assert fitted.iterations == 10
    assert len(fitted.forest.values) <= 10 * 8


@pytest.mark.parametrize("name", ["random_forest", "extra_trees"])
def test_a_forest_of_a_small_share_of_a_mean_answers_with_its_first_trees(name):
    component = replace(lookup(Role.CLASSIFICATION, name)(), num_trees=80)
    train, asked = rows(300, 3), rows(50, 3, seed=1).features
    whole = component.fit(train, None, FitContext(3))
    for weight, trees in ((1.0, 80), (0.5, 80), (0.25, 40), (0.01, 30)):
        light = whole.lightened(weight)
        grown = component.fit(train, None, FitContext(3, iterations=trees))
        assert light.iterations == len(light.forest.roots) == trees
        expected = grown.predict_probabilities(asked)
        np.testing.assert_allclose(light.predict_probabilities(asked), expected, atol=1e-6)
        np.testing.assert_allclose(graph_answers(light, asked), expected, atol=1e-6)
        assert light.forest.depth == grown.forest.depth


@pytest.mark.parametrize("component", LEARNERS)
def test_what_answers_alone_is_never_lightened(component):
    fitted = quick(component).fit(rows(100, 2), None, FitContext(2))
    assert fitted.lightened(1.0) is fitted


def test_boosting_stops_early_where_labels_are_noise():
    random = np.random.default_rng(0)
    noise = [
        LabelledFeatures(
            random.normal(size=(300, 5)).astype(np.float32), random.integers(0, 2, 300, np.int32)
        )
        for _ in range(2)
    ]
    model = lookup(Role.CLASSIFICATION, "boosted_trees")(patience=10)
    fitted = model.fit(*noise, FitContext(2))
    assert fitted.iterations < 60
    loss = log_loss(fitted.predict_probabilities(noise[1].features), noise[1].labels)
    assert loss < np.log(2) + 0.02


@pytest.mark.parametrize("num_classes", [2, 3])
def test_lightgbm_trees_are_exact_at_the_edges_of_float32(num_classes):
    import lightgbm

    train = rows(500, num_classes)
    objective = {"objective": "binary"} if num_classes == 2 else {"objective": "multiclass", "num_class": 3}
    booster = lightgbm.train(
        objective | {"verbosity": -1, "use_missing": False, "num_threads": 1, "min_data_in_leaf": 3},
        lightgbm.Dataset(train.features, train.labels),
        40,
    )
    forest = read_lightgbm(booster.model_to_string(), turns=1 if num_classes == 2 else 3)
    edges = forest.threshold[np.isfinite(forest.threshold)]
    steps = [edges, np.nextafter(edges, np.float32(np.inf)), np.nextafter(edges, np.float32(-np.inf))]
    asked = np.repeat(np.concatenate([*steps, [0.0, np.nan]]).astype(np.float32)[:, None], 6, axis=1)
    expected = booster.predict(asked, raw_score=True).reshape(len(asked), -1)
    np.testing.assert_allclose(forest.sums(asked), expected, atol=2e-6)
    np.testing.assert_allclose(graph_answers(forest, asked), expected, atol=2e-6)


def test_lightgbm_trees_of_a_single_leaf_are_read():
    import lightgbm

    features = np.zeros((40, 2), np.float32)
    labels = np.arange(40) % 3 // 2
    booster = lightgbm.train({"objective": "binary", "verbosity": -1}, lightgbm.Dataset(features, labels), 3)
    forest = read_lightgbm(booster.model_to_string(), turns=1)
    assert forest.depth == 0
    np.testing.assert_allclose(
        forest.sums(features)[:, 0], booster.predict(features, raw_score=True), atol=1e-6
    )


@pytest.mark.parametrize("num_classes", [2, 5])
def test_scikit_learn_forests_are_exact_at_the_edges_of_float32(num_classes):
    from sklearn.ensemble import RandomForestClassifier

    train = rows(300, num_classes)
    library = RandomForestClassifier(20, random_state=0).fit(train.features, train.labels)
    forest = read_sklearn(library.estimators_, np.full(num_classes, 1 / num_classes), smoothing=0.0)
    edges = forest.threshold[np.isfinite(forest.threshold)]
    steps = [edges, np.nextafter(edges, np.float32(np.inf)), np.nextafter(edges, np.float32(-np.inf))]
    asked = np.repeat(np.concatenate(steps)[:, None], 6, axis=1)
    expected = library.predict_proba(asked)
    np.testing.assert_allclose(forest.sums(asked), expected, atol=1e-6)
    np.testing.assert_allclose(graph_answers(forest, asked), expected, atol=1e-6)


def test_a_linear_model_writes_only_over_features_that_it_may_write_over():
    train = rows(200, 3)
    kept = train.features.copy()
    fitted = lookup(Role.CLASSIFICATION, "logistic_regression")().fit(train, None, FitContext(3))
    np.testing.assert_array_equal(train.features, kept)
    again = lookup(Role.CLASSIFICATION, "logistic_regression")().fit(
        replace(train, is_disposable=True), None, FitContext(3)
    )
    np.testing.assert_array_equal(again.weights, fitted.weights)
    assert (train.features != kept).any()


def test_thresholds_are_rounded_down():
    exact = np.concatenate([np.random.default_rng(0).normal(size=1000), [0.1, 1e300, -1e300, 0.0, 5e-324]])
    rounded = round_down(exact)
    assert (rounded.astype(np.float64) <= exact).all()
    with np.errstate(over="ignore"):
        assert (np.nextafter(rounded, np.float32(np.inf)).astype(np.float64) > exact).all()


def test_trees_of_different_depth_share_a_forest():
    # a stump on column 0, a lone leaf, and a chain of two splits on column 1
    forest = Forest.build(
        splits=np.array([1, 0, 2]),
        feature=np.array([0, 1, 1]),
        threshold=np.array([0.5, 1.0, 2.0]),
        left=np.array([~0, ~0, ~1]),
        right=np.array([~1, 1, ~2]),
        values=np.array([[1.0], [2.0], [10.0], [100.0], [200.0], [300.0]]),
    )
    asked = np.array([[0.5, 1.0], [0.6, 1.5], [0.0, 9.0]], np.float32)
    assert forest.sums(asked)[:, 0].tolist() == [111.0, 212.0, 311.0]


def test_forests_stay_small_enough_to_export():
    random = np.random.default_rng(0)
    noise = LabelledFeatures(
        random.normal(size=(6000, 8)).astype(np.float32), random.integers(0, 60, 6000, np.int32)
    )
    model = lookup(Role.CLASSIFICATION, "extra_trees")(min_samples_leaf=1, num_trees=100)
    fitted = model.fit(noise, None, FitContext(60))
    assert len(pickle.dumps(fitted)) < 50_000_000


@pytest.mark.parametrize("name", names(Role.CLASSIFICATION))
@pytest.mark.parametrize(("num_rows", "num_classes"), [(250, 2), (40_000, 2), (7000, 150)])
def test_first_guesses_follow_the_profile_and_stay_in_the_space(name, num_rows, num_classes):
    import keras_tuner

    component = lookup(Role.CLASSIFICATION, name)
    hp = keras_tuner.HyperParameters()
    first = component.sample(hp, profile(num_rows, num_classes))
    assert component.sample(hp, profile(num_rows, num_classes)) == first
    for parameter in hp.space:
        values = parameter.values if parameter.__class__.__name__ == "Choice" else None
        assert values is None or parameter.default in values
        if values is None and parameter.__class__.__name__ in ("Int", "Float"):
            assert parameter.min_value <= parameter.default <= parameter.max_value


def test_many_classes_get_fewer_boosting_rounds():
    import keras_tuner

    component = lookup(Role.CLASSIFICATION, "boosted_trees")
    few = component.sample(keras_tuner.HyperParameters(), profile(7000, 2))
    many = component.sample(keras_tuner.HyperParameters(), profile(7000, 150))
    assert many.max_rounds * 150 <= 6000 < few.max_rounds * 10


def test_neighbours_do_not_answer_for_tables_too_large_to_serve():
    component = lookup(Role.CLASSIFICATION, "nearest_neighbors")
    assert component.supports(profile(5000, 2))
    assert not component.supports(profile(500_000, 2))
    assert not component.supports(profile(5000, 2, columns=500))


def test_neighbours_count_every_duplicate_alike():
    features = np.repeat(np.array([[0.0], [1.0]], np.float32), 100, axis=0)
    labels = np.tile(np.array([0, 0, 0, 1], np.int32), 50)
    model = lookup(Role.CLASSIFICATION, "nearest_neighbors")(num_neighbors=3)
    fitted = model.fit(LabelledFeatures(features, labels), None, FitContext(2))
    answers = fitted.predict_probabilities(np.array([[0.0], [1.0]], np.float32))
    np.testing.assert_allclose(answers[:, 1], 0.25, atol=0.01)


def test_spread_sums_to_one_and_names_all_classes():
    classes = PresentClasses.of(np.array([1, 1, 3], np.int32), 5)
    assert classes.present.tolist() == [1, 3]
    named = classes.spread()(np.eye(len(classes), dtype=np.float32))
    np.testing.assert_allclose(named.sum(axis=1), 1.0, atol=1e-6)
    assert (named > 0).all()
    assert (named.argmax(axis=1) == classes.present).all()
    np.testing.assert_allclose(
        classes.spread().graph(np.eye(len(classes), dtype=np.float32)), named, atol=1e-7
    )
    assert classes.positions(np.array([0, 1, 3], np.int32)).tolist() == [-1, 0, 1]


def test_a_thousand_classes_make_no_matrix_of_classes_by_classes():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(1000, dtype=np.int32), 3)
    features = random.normal(size=(3000, 4)).astype(np.float32)
    model = lookup(Role.CLASSIFICATION, "nearest_neighbors")()
    fitted = model.fit(LabelledFeatures(features, labels), None, FitContext(1000))
    assert len(pickle.dumps(fitted)) < 200_000
    answers = fitted.predict_probabilities(features[:50])
    assert (answers.argmax(axis=1) == labels[:50]).mean() > 0.9


@pytest.mark.parametrize("name", ["boosted_trees", "random_forest", "extra_trees"])
def test_trees_leave_hundreds_of_classes_to_others(name):
    def profile(classes):
        return DataProfile(20_000, (20_000 // classes,) * classes, ())

    assert lookup(Role.CLASSIFICATION, name).supports(profile(100))
    assert not lookup(Role.CLASSIFICATION, name).supports(profile(1000))


def test_the_linear_model_is_the_same_of_rows_in_parts(monkeypatch):
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 500).astype(np.int32)
    rows = LabelledFeatures(random.normal(size=(500, 6)).astype(np.float32) + labels[:, None], labels)
    whole = LogisticRegression().fit(rows, None, FitContext(4, iterations=30))
    monkeypatch.setattr("autoflow.components.classification.logistic_regression._LOGITS_AT_ONCE", 300)
    parts = LogisticRegression().fit(rows, None, FitContext(4, iterations=30))
    np.testing.assert_allclose(
        parts.predict_probabilities(rows.features), whole.predict_probabilities(rows.features), atol=1e-3
    )
