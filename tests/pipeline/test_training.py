"""Training of networks: learning, early stopping, refits, time, determinism, pickles and the graph."""

from __future__ import annotations

import gc
import pickle
import time
from collections import OrderedDict
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from codes import Codes
from tensorflow.python.framework.func_graph import FuncGraph

from autoflow.components.base import FitContext, FittedExtractor, HopelessTrial, NeuralClassifier
from autoflow.components.classification.mlp import Mlp
from autoflow.components.classification.residual_network import ResidualNetwork
from autoflow.components.classification.tabm import Tabm
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.feature_extraction.category_embedding import CategoryEmbedding
from autoflow.components.feature_extraction.periodic_embedding import PeriodicEmbedding
from autoflow.pipeline import steps, training
from autoflow.pipeline.training import FittedNetwork, Prepared, fit_network

SMALL = {
    Mlp: Mlp(num_units=24, batch_size=32, learning_rate=5e-3),
    ResidualNetwork: ResidualNetwork(num_units=16, num_blocks=1, batch_size=32, learning_rate=5e-3),
}


@dataclass(frozen=True)
class Numbers(FittedExtractor):
    """Finished features, no layer."""

    count: int

    @property
    def widths(self):
        return (1,) * self.count

    def transform(self, values):
        return values

    def graph(self, values, tables):
        return values


@dataclass(frozen=True)
class KeyedCodes(Codes):
    """Says when its layers are alike."""

    @property
    def layer_key(self):
        return self.size


EXTRACTORS = (Numbers(4), Codes(5))


def rows(num: int, seed: int = 0) -> Prepared:
    """Three classes told apart by one number and one code together."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(num, 4)).astype(np.float32)
    codes = random.integers(0, 5, (num, 1)).astype(np.int32)
    labels = np.where(codes[:, 0] >= 3, 2, numbers[:, 0] > 0).astype(np.int32)
    return Prepared((numbers, codes), labels)


def fit(classifier: NeuralClassifier, validation: Prepared | None, context: FitContext) -> FittedNetwork:
    return fit_network(EXTRACTORS, PlainConcat(), classifier, rows(400), validation, context)


def loss(network: FittedNetwork, asked: Prepared) -> float:
    probabilities = network.predict_probabilities(asked.blocks)
    return float(-np.log(probabilities[np.arange(len(asked.labels)), asked.labels]).mean())


@pytest.fixture(scope="module")
def trained() -> FittedNetwork:
    return fit(SMALL[Mlp], rows(200, 1), FitContext(3))


@pytest.mark.parametrize("classifier", list(SMALL.values()), ids=lambda value: type(value).__name__)
def test_learns_through_the_embedding(classifier):
    network = fit(classifier, rows(200, 1), FitContext(3))
    assert loss(network, rows(300, 2)) < 0.35
    assert 1 <= network.iterations <= classifier.max_epochs
    probabilities = network.predict_probabilities(rows(300, 2).blocks)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    "classifier",
    [Mlp(max_epochs=2, normalization="layer"), Mlp(max_epochs=2, normalization="none", dropout=0.0)],
)
def test_other_shapes_of_the_mlp_train(classifier):
    assert np.isfinite(loss(fit(classifier, rows(50, 1), FitContext(3)), rows(50, 2)))


def test_graph_equals_numpy_and_is_saved_without_the_keras_model(trained, tmp_path):
    import tensorflow as tf

    asked = rows(100, 2).blocks
    specs = [tf.TensorSpec([None, 4], tf.float32), tf.TensorSpec([None, 1], tf.int32)]

    @tf.function(input_signature=specs, autograph=False)
    def answer(numbers, codes):
        return trained.graph([numbers, codes])[0]

    module = tf.Module()
    module.answer = answer
    tf.saved_model.save(module, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model")).answer
    expected = trained.predict_probabilities(asked)
    np.testing.assert_allclose(loaded(*map(tf.constant, asked)).numpy(), expected, atol=1e-6)
    alone = loaded(tf.constant(asked[0][3:4]), tf.constant(asked[1][3:4])).numpy()
    np.testing.assert_allclose(alone, expected[3:4], atol=1e-6)


def test_pickles_without_its_model(trained):
    asked = rows(60, 3).blocks
    expected = trained.predict_probabilities(asked)
    copy = pickle.loads(pickle.dumps(trained))
    assert "_model" not in copy.__dict__
    np.testing.assert_array_equal(copy.predict_probabilities(asked), expected)
    assert copy.predict_probabilities([block[:0] for block in asked]).shape == (0, 3)


def test_same_seed_same_network_and_another_seed_another():
    classifier = replace(SMALL[Mlp], max_epochs=3)
    asked = rows(50, 2).blocks
    one, other, third = (
        fit(classifier, rows(100, 1), FitContext(3, seed=seed)).predict_probabilities(asked)
        for seed in (4, 4, 5)
    )
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.abs(one - third).max() > 1e-3


KEYED = (Numbers(4), KeyedCodes(5))


@pytest.fixture
def nothing_compiled(monkeypatch):
    monkeypatch.setattr(steps, "_kept", OrderedDict())


def test_a_shared_compiled_network_gives_what_a_new_one_gives(nothing_compiled):
    classifier = replace(SMALL[Mlp], max_epochs=3)
    asked, context = rows(50, 2).blocks, FitContext(3, seed=6)

    def trained_on(seed: int) -> FittedNetwork:
        return fit_network(KEYED, PlainConcat(), classifier, rows(300, seed), rows(100, 1), context)

    first, second = trained_on(7), trained_on(8)
    assert second.build() is first.build()
    shared = [network.predict_probabilities(asked) for network in (first, second, first)]
    steps._kept.clear()
    np.testing.assert_array_equal(trained_on(8).predict_probabilities(asked), shared[1])
    np.testing.assert_array_equal(shared[0], shared[2])
    assert np.abs(shared[0] - shared[1]).max() > 1e-4


def test_trials_of_one_shape_share_a_compiled_network_and_neither_seed_nor_recipe(nothing_compiled):
    asked = rows(50, 2).blocks

    def trained(seed: int, **recipe: float) -> FittedNetwork:
        classifier = replace(SMALL[Mlp], **{"max_epochs": 3, "weight_decay": 0.1, **recipe})
        return fit_network(
            KEYED, PlainConcat(), classifier, rows(300), rows(100, 1), FitContext(3, seed=seed)
        )

    ways = [
        (6, {}),
        (7, {}),
        (6, {"learning_rate": 1e-3}),
        (6, {"weight_decay": 5.0}),
        (6, {"batch_size": 64}),
        (6, {"max_epochs": 5}),
        (6, {"max_epochs": 40, "patience": 1}),
    ]
    networks = [trained(seed, **recipe) for seed, recipe in ways]
    assert len(steps._kept) == 1
    shared = [network.predict_probabilities(asked) for network in networks]
    for (seed, recipe), probabilities in zip(ways, shared, strict=True):
        steps._kept.clear()
        np.testing.assert_array_equal(trained(seed, **recipe).predict_probabilities(asked), probabilities)
    for one, other in combinations(shared, 2):
        assert np.abs(one - other).max() > 1e-4


@pytest.mark.parametrize("settings", [{"label_smoothing": 0.1}, {"averaging": 0.9}, {"num_units": 25}])
def test_what_is_part_of_the_compiled_step_is_not_shared(nothing_compiled, settings):
    context = FitContext(3, iterations=1)
    for classifier in (SMALL[Mlp], replace(SMALL[Mlp], **settings)):
        fit_network(KEYED, PlainConcat(), classifier, rows(100), None, context)
    assert len(steps._kept) == 2


def test_folds_of_real_components_share_a_network_and_train_as_alone(nothing_compiled):
    classifier = Tabm(num_members=2, num_layers=1, num_units=8, max_epochs=2, batch_size=32)
    random = np.random.default_rng(3)
    values = [
        (random.normal(size=(200, 3)), random.choice([f"c{code}" for code in range(count)], (200, 1)))
        for count in (40, 50)
    ]
    labels = np.arange(200, dtype=np.int32) % 3

    def trained(fold: int) -> np.ndarray:
        numbers, categories = values[fold][0], values[fold][1].astype(object)
        extractors = (
            PeriodicEmbedding().fit(numbers, seed=0),
            CategoryEmbedding(min_rows=1).fit(categories, seed=0),
        )
        blocks = (extractors[0].transform(numbers), extractors[1].transform(categories))
        network = fit_network(
            extractors, PlainConcat(), classifier, Prepared(blocks, labels), None, FitContext(3, iterations=2)
        )
        return network.predict_probabilities(blocks)

    shared = [trained(fold) for fold in (0, 1)]
    assert len(steps._kept) == 1
    for fold in (1, 0):
        steps._kept.clear()
        np.testing.assert_array_equal(trained(fold), shared[fold])


@pytest.mark.parametrize(("limit", "value"), [("_MOST_KEPT", 2), ("_MOST_KEPT_WEIGHTS", 1500)])
def test_few_networks_stay_compiled(nothing_compiled, monkeypatch, limit, value):
    monkeypatch.setattr(steps, limit, value)
    context = FitContext(3, iterations=1)
    for units in (8, 16, 8, 24):  # 259 weights, 651 and 1,171
        classifier = replace(SMALL[Mlp], num_units=units)
        fit_network(KEYED, PlainConcat(), classifier, rows(100), None, context)
    assert [dict(each.body[1])["num_units"] for each in steps._kept] == [8, 24]


@pytest.mark.parametrize(
    "classifier",
    [Mlp(activation=name, num_layers=1) for name in ("silu", "gelu", "relu", "selu")]
    + [Tabm(num_members=2, num_layers=1), ResidualNetwork(num_blocks=1)],
    ids=lambda classifier: f"{type(classifier).__name__}-{getattr(classifier, 'activation', '')}",
)
def test_networks_that_are_gone_leave_no_graph_behind(nothing_compiled, classifier):
    numbers = []
    for units in (8, 9, 10):
        fit_network(
            KEYED,
            PlainConcat(),
            replace(classifier, num_units=units),
            rows(64),
            None,
            FitContext(3, iterations=1),
        )
        steps._kept.clear()
        gc.collect()
        numbers.append(sum(isinstance(each, FuncGraph) for each in gc.get_objects()))
    assert numbers[1] == numbers[2]


def test_extractors_without_a_key_share_nothing(nothing_compiled):
    context = FitContext(3, iterations=1)
    assert fit(SMALL[Mlp], None, context).build() is not fit(SMALL[Mlp], None, context).build()
    assert not steps._kept


def test_a_large_table_moves_only_where_it_is_looked_up():
    extractors = (Numbers(4), Codes(20_000))
    one = replace(SMALL[Mlp], max_epochs=1)
    networks = [
        fit_network(extractors, PlainConcat(), one, rows(400), None, FitContext(3, iterations=epochs))
        for epochs in (1, 12)
    ]
    before, after = (
        next(weight for weight in network.weights if weight.shape == (20_000, 3)) for network in networks
    )
    np.testing.assert_array_equal(before[5:], after[5:])
    assert np.abs(before[:5] - after[:5]).min(axis=1).max() > 1e-3
    assert loss(networks[1], rows(300, 2)) < loss(networks[0], rows(300, 2))


def test_a_refit_trains_the_given_epochs_without_validation():
    assert fit(SMALL[Mlp], None, FitContext(3, iterations=3)).iterations == 3


def test_early_stopping_keeps_the_best_epoch():
    random = np.random.default_rng(0)
    noise = Prepared(rows(200, 1).blocks, random.integers(0, 3, 200).astype(np.int32))
    classifier = replace(SMALL[Mlp], patience=4, max_epochs=200, learning_rate=2e-2)
    network = fit(classifier, noise, FitContext(3))
    assert network.iterations <= 10
    long = fit(classifier, None, FitContext(3, iterations=30))
    assert loss(network, noise) < loss(long, noise)


class Scripted:
    """Stands in for a compiled network whose weights count the epochs behind them."""

    def __init__(self) -> None:
        self.trained = 0
        self.loaded = SimpleNamespace(model=SimpleNamespace(get_weights=lambda: [np.array([self.trained])]))

    def averaged(self):
        return nullcontext()

    def logits(self, blocks):
        return np.zeros((1, 3), np.float32)

    def go_on_from(self, weights):
        (self.trained,) = (int(each[0]) for each in weights)


@pytest.mark.parametrize(
    ("losses", "epochs_of_a_refit"),
    [
        ([1.0, 0.8, 0.6], 3),
        # after four epochs without a gain it goes back to the third and on at a fifth of the rate
        ([1.0, 0.8, 0.6, 0.7, 0.7, 0.7, 0.7, 0.5], 3),
        ([1.0, 0.8, 0.6, 0.7, 0.7, 0.7, 0.7, 0.5, 0.45, 0.4, 0.35, 0.3], 4),
        ([0.6, 0.7, 0.7, 0.7, 0.7], 1),
        # the rate of a refit falls, which that of the fit did not; but it takes no more epochs than the fit
        ([*(1 / (2 + epoch) for epoch in range(20)), 1, 1, 1], 23),
        ([1 / (2 + epoch) for epoch in range(20)], 20),
    ],
)
def test_a_refit_trains_as_much_as_the_best_weights_did(monkeypatch, losses, epochs_of_a_refit):
    network, script = Scripted(), iter(losses)
    monkeypatch.setattr(training, "_log_loss", lambda *_: next(script))
    course = training._Course(network, Mlp(patience=8, max_epochs=60), rows(1), FitContext(3), 10)
    for _ in losses:
        network.trained += 1
        course.end_epoch()
    (weights,), iterations = course.result()
    assert iterations == epochs_of_a_refit
    gains = [loss for place, loss in enumerate(losses) if loss < min([9.0, *losses[:place]])]
    assert weights[0] == len(gains)


def test_the_time_is_kept_and_a_model_comes_all_the_same():
    classifier = replace(SMALL[Mlp], max_epochs=100_000, patience=100_000)
    started = time.monotonic()
    network = fit(classifier, rows(200, 1), FitContext(3, seconds=2.0))
    assert time.monotonic() - started < 6
    assert network.iterations >= 1
    assert np.isfinite(loss(network, rows(50, 2)))
    assert np.isfinite(loss(fit(SMALL[Mlp], None, FitContext(3, seconds=0.0)), rows(50, 2)))


def test_hopeless_and_diverging_networks_are_given_up():
    with pytest.raises(HopelessTrial, match="hopeless beyond"):
        fit(replace(SMALL[Mlp], patience=1000), rows(100, 1), FitContext(3, hopeless_loss=1e-6))
    wild = Mlp(normalization="none", activation="relu", learning_rate=1e30, max_epochs=5)
    with pytest.raises(HopelessTrial, match="learning rate 1e\\+30 is too high"):
        fit(wild, None, FitContext(3, iterations=5))


def test_label_smoothing_makes_the_network_humbler():
    classifier = replace(SMALL[Mlp], max_epochs=20)
    context = FitContext(3, iterations=20)
    sure = fit(classifier, None, context).predict_probabilities(rows(200, 2).blocks)
    humble = fit(replace(classifier, label_smoothing=0.3), None, context)
    assert (
        humble.predict_probabilities(rows(200, 2).blocks).max(axis=1).mean() < sure.max(axis=1).mean() - 0.05
    )


def test_very_few_rows_train():
    train = rows(3)
    network = fit_network(EXTRACTORS, PlainConcat(), SMALL[Mlp], train, None, FitContext(3, iterations=2))
    assert np.isfinite(network.predict_probabilities(train.blocks)).all()
