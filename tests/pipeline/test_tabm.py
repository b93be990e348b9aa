"""Many perceptrons in one network: a loss for each, the mean of their probabilities, rows in parts."""

from __future__ import annotations

import numpy as np
import pytest

from autoflow.components.base import FitContext
from autoflow.components.classification.tabm import Tabm
from autoflow.components.concatenation.attention import Attention
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.feature_extraction.standardized import Standardized
from autoflow.pipeline import network as network_module
from autoflow.pipeline.training import FittedNetwork, Prepared, fit_network

MEMBERS = Tabm(num_members=4, num_units=16, dropout=0.0, learning_rate=0.01, batch_size=64, max_epochs=25)


def _rows(num: int, seed: int) -> Prepared:
    """The sign of a product, which no linear model finds."""
    numbers = np.random.default_rng(seed).normal(size=(num, 3)).astype(np.float32)
    return Prepared((numbers,), (numbers[:, 0] * numbers[:, 1] > 0).astype(np.int32))


@pytest.fixture(scope="module")
def trained() -> FittedNetwork:
    train = _rows(600, 1)
    extractor = Standardized().fit(train.blocks[0].astype(np.float64), seed=0)
    return fit_network([extractor], PlainConcat(), MEMBERS, train, _rows(200, 2), FitContext(2, seed=1))


def test_it_learns_and_its_graph_says_the_same(trained):
    import tensorflow as tf

    asked = _rows(400, 3)
    expected = trained.predict_probabilities(asked.blocks)
    assert np.mean(expected.argmax(axis=1) == asked.labels) > 0.85
    spec = [tf.TensorSpec([None, 3], tf.float32)]
    answer = tf.function(lambda numbers: trained.graph([numbers])[0], input_signature=spec, autograph=False)
    np.testing.assert_allclose(answer(asked.blocks[0]).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(answer(asked.blocks[0][5:6]).numpy(), expected[5:6], atol=1e-6)


def test_it_answers_the_mean_of_probabilities_of_members_that_differ(trained):
    import keras

    model = trained.build()
    asked = _rows(50, 4).blocks[0]
    body = next(layer for layer in model.layers if isinstance(layer, keras.Sequential))
    members = body.layers[-1]
    each = keras.ops.softmax(members(asked, training=True)).numpy()
    assert each.shape == (50, 4, 2)
    assert each.std(axis=1).max() > 0.02
    np.testing.assert_allclose(
        keras.ops.softmax(members(asked, training=False)).numpy(), each.mean(axis=1), atol=1e-5
    )


def test_rows_are_predicted_in_parts_where_members_and_classes_are_many(trained, monkeypatch):
    asked = _rows(300, 5).blocks
    expected = trained.predict_probabilities(asked)
    held = network_module.numbers_a_row(trained.extractors, PlainConcat(), MEMBERS, 2)
    assert held >= 4 * 16
    monkeypatch.setattr(network_module, "_PREDICT_NUMBERS", 50 * held)
    assert [len(part[0]) for part in network_module.in_parts(asked, held)] == [50] * 6
    np.testing.assert_allclose(trained.predict_probabilities(asked), expected, atol=1e-6)


def test_attention_over_many_columns_holds_more_than_their_features():
    assert Attention().numbers_a_row([(1,) * 100]) > 50 * PlainConcat().numbers_a_row([(1,) * 100])


def test_wide_features_are_projected_once_for_all_members():
    wide, narrow = (MEMBERS.body(width, 2, seed=0).count_params() for width in (3000, 300))
    assert wide < 3000 * 40
    assert narrow > 300 * (16 + 4)
