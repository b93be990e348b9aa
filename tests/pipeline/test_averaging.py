"""Averages of weights over the steps: what they are, that they are kept, and that steps go on from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from codes import Codes

from autoflow.components.base import FitContext
from autoflow.components.classification.mlp import Mlp
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.feature_extraction.standardized import Standardized
from autoflow.pipeline.steps import CompiledNetwork, architecture, compiled
from autoflow.pipeline.training import Prepared, fit_network

SMALL = Mlp(num_units=8, batch_size=32, learning_rate=1e-2, averaging=0.8)


@dataclass(frozen=True)
class Watched(FitContext):
    """Remembers what was reported."""

    losses: list[float] = field(default_factory=list)

    def report(self, progress: float, validation_loss: float) -> None:
        self.losses.append(validation_loss)


def _rows(num: int, seed: int) -> Prepared:
    numbers = np.random.default_rng(seed).normal(size=(num, 3)).astype(np.float32)
    return Prepared((numbers,), (numbers[:, 0] * numbers[:, 1] > 0).astype(np.int32))


TRAIN = _rows(320, 1)
EXTRACTORS = (Standardized().fit(TRAIN.blocks[0].astype(np.float64), seed=0),)


def _network(classifier: Mlp) -> CompiledNetwork:
    wanted = architecture(EXTRACTORS, PlainConcat(), classifier, 2, TRAIN.blocks)
    return compiled(wanted, 3, classifier.weight_decay)


def _step(network: CompiledNetwork, number: int) -> list[np.ndarray]:
    import tensorflow as tf

    rows = np.arange(32, dtype=np.int32)[None] + 32 * number
    network.take_steps([tf.constant(TRAIN.blocks[0])], TRAIN.labels, rows, np.float32([1e-2]))
    return network.loaded.model.get_weights()


def test_averages_follow_the_steps_statistics_of_batches_included():
    network = _network(SMALL)
    expected = network.loaded.model.get_weights()
    for number in range(8):
        present = _step(network, number)
        stays = min(0.8, (number + 1) / (number + 10))
        expected = [stays * a + (1 - stays) * w for a, w in zip(expected, present, strict=True)]
    with network.averaged():
        averages = network.loaded.model.get_weights()
    for average, wanted, weight in zip(averages, expected, present, strict=True):
        np.testing.assert_allclose(average, wanted, atol=1e-6)
        assert np.abs(average - weight).max() > 1e-6
    for weight, after in zip(present, network.loaded.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, after)


def test_steps_go_on_from_weights_with_averages_that_begin_there():
    network = _network(SMALL)
    start = network.loaded.model.get_weights()
    for number in range(4):
        _step(network, number)
    network.go_on_from(tuple(start))
    with network.averaged():
        for average, weight in zip(network.loaded.model.get_weights(), start, strict=True):
            np.testing.assert_array_equal(average, weight)


def test_no_averages_where_none_are_asked_for():
    network = _network(replace(SMALL, averaging=0))
    present = _step(network, 0)
    with network.averaged():
        for average, weight in zip(network.loaded.model.get_weights(), present, strict=True):
            np.testing.assert_array_equal(average, weight)


@pytest.mark.parametrize(("size", "averages"), [(50, True), (20_000, False)])
def test_no_averages_where_only_some_rows_of_a_matrix_are_updated(size, averages):
    codes = np.random.default_rng(0).integers(0, 50, (320, 1)).astype(np.int32)
    train, context = Prepared((codes,), (codes[:, 0] % 2).astype(np.int32)), FitContext(2, iterations=2)
    networks = [
        fit_network([Codes(size)], PlainConcat(), replace(SMALL, averaging=share), train, None, context)
        for share in (0.0, 0.98)
    ]
    pairs = zip(*(network.weights for network in networks), strict=True)
    assert averages == any(np.abs(last - kept).max() > 1e-6 for last, kept in pairs)


@pytest.mark.parametrize("averaging", [0.0, 0.98])
def test_decisions_are_made_on_the_weights_that_are_kept(averaging):
    classifier, validation = replace(SMALL, averaging=averaging, max_epochs=6), _rows(100, 2)
    context = Watched(2, seed=3)
    kept = fit_network(EXTRACTORS, PlainConcat(), classifier, TRAIN, validation, context)
    right = kept.predict_probabilities(validation.blocks)[np.arange(100), validation.labels]
    assert float(-np.log(right).mean()) == pytest.approx(min(context.losses), abs=1e-5)


def test_a_refit_is_averaged_too():
    context = FitContext(2, seed=3, iterations=3)
    averaged, last = (
        fit_network(EXTRACTORS, PlainConcat(), replace(SMALL, averaging=share), TRAIN, None, context)
        for share in (0.98, 0.0)
    )
    first = _network(SMALL).loaded.model.get_weights()[0]
    moved = [np.linalg.norm(network.weights[0] - first) for network in (averaged, last)]
    assert 0.5 * moved[1] < moved[0] < 0.99 * moved[1]
