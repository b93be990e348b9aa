"""Waves make a linear body see what repeats, and columns keep their places beside indicators."""

from __future__ import annotations

import numpy as np

from autoflow.components.base import FeatureExtractor, FitContext
from autoflow.components.classification.mlp import Mlp
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.feature_extraction.periodic_embedding import PeriodicEmbedding
from autoflow.components.feature_extraction.standardized import Standardized
from autoflow.pipeline.training import Prepared, fit_network

LINEAR = Mlp(num_layers=0, learning_rate=0.02, batch_size=64, max_epochs=30, patience=30)


def _accuracy(extractor: FeatureExtractor) -> float:
    """Of a linear body on the sign of a wave with two turns over the column."""
    numbers = np.random.default_rng(0).uniform(0, 1, (1600, 1))
    labels = (np.sin(4 * np.pi * numbers[:, 0]) > 0).astype(np.int32)
    fitted = extractor.fit(numbers[:1000], seed=0)
    parts = [
        Prepared((fitted.transform(numbers[rows]),), labels[rows])
        for rows in (slice(0, 1000), slice(1000, 1200), slice(1200, 1600))
    ]
    network = fit_network([fitted], PlainConcat(), LINEAR, parts[0], parts[1], FitContext(2, seed=1))
    answers = network.predict_probabilities(parts[2].blocks).argmax(axis=1)
    return float(np.mean(answers == parts[2].labels))


def test_a_linear_body_sees_what_repeats():
    assert _accuracy(Standardized()) < 0.7
    assert _accuracy(PeriodicEmbedding(spread=1.0)) > 0.9


def test_columns_keep_their_order_beside_indicators():
    values = np.array([[1.0, np.nan, 5.0], [2.0, 3.0, 6.0], [4.0, 7.0, 9.0]])
    fitted = PeriodicEmbedding(dimensions=3).fit(values, seed=0)
    assert fitted.widths == (1, 2, 1)
    assert fitted.layer_widths == (3, 4, 3)
    prepared = fitted.transform(values)
    embedded = np.asarray(fitted.layer()(prepared))
    np.testing.assert_allclose(embedded[:, [0, 3, 7]], prepared[:, [0, 1, 3]])
    np.testing.assert_array_equal(embedded[:, 6], [1.0, 0.0, 0.0])
