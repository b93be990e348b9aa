"""What the networks share: the scales of features."""

from __future__ import annotations

import numpy as np

from autoflow.components.base import FitContext
from autoflow.components.classification._networks import feature_scales
from autoflow.components.classification.mlp import Mlp
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.feature_extraction.standardized import Standardized
from autoflow.pipeline.training import Prepared, fit_network


def _scales(model) -> list:
    layers = [inner for layer in model.layers for inner in getattr(layer, "layers", [])]
    return [layer for layer in layers if type(layer) is type(feature_scales())]


def test_scales_change_nothing_at_first_and_are_no_matrix_that_decays():
    features = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    layer = feature_scales()
    np.testing.assert_array_equal(layer(features), features)
    assert [tuple(weight.shape) for weight in layer.trainable_weights] == [(7,)]


def test_features_that_tell_something_are_scaled_beyond_noise():
    random = np.random.default_rng(0)
    numbers = random.normal(size=(600, 12)).astype(np.float32)
    train = Prepared((numbers,), (numbers[:, 0] * numbers[:, 1] > 0).astype(np.int32))
    extractor = Standardized().fit(numbers.astype(np.float64), seed=0)
    mlp = Mlp(num_units=16, batch_size=64, learning_rate=5e-3)
    network = fit_network([extractor], PlainConcat(), mlp, train, None, FitContext(2, iterations=15))
    (layer,) = _scales(network.build())
    factors = np.abs(layer(np.ones((1, 12), np.float32)).numpy()[0])
    assert factors[:2].min() > factors[2:].max()


def test_a_linear_model_has_no_scales():
    layers = Mlp(num_layers=0).body(4, 2, 0).layers
    assert not any(type(layer) is type(feature_scales()) for layer in layers)
