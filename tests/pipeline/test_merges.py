"""Merges that multiply find what two columns say together, even with a linear body behind them."""

import numpy as np
import pytest

from autoflow.components.base import FitContext
from autoflow.components.classification.mlp import Mlp
from autoflow.components.concatenation.cross_network import CrossNetwork
from autoflow.components.concatenation.low_rank_bilinear import LowRankBilinear
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.feature_extraction.standardized import Standardized
from autoflow.pipeline.training import Prepared, fit_network

LINEAR = Mlp(num_layers=0, learning_rate=0.01, batch_size=64, max_epochs=30, patience=30)


def _rows(num_rows, seed):
    """Two nodes of two columns; the label is the sign of a product across them."""
    blocks = tuple(np.random.default_rng(seed).normal(0, 1, (2, num_rows, 2)).astype(np.float32))
    return Prepared(blocks, (blocks[0][:, 0] * blocks[1][:, 1] > 0).astype(np.int32))


def _accuracy(merge):
    train, held_out = _rows(800, 1), _rows(400, 2)
    extractors = [Standardized().fit(block.astype(np.float64), seed=0) for block in train.blocks]
    network = fit_network(extractors, merge, LINEAR, train, _rows(200, 3), FitContext(2, seed=1))
    return np.mean(network.predict_probabilities(held_out.blocks).argmax(axis=1) == held_out.labels)


def test_a_linear_body_alone_cannot_find_it():
    assert _accuracy(PlainConcat()) < 0.65


@pytest.mark.parametrize("merge", [CrossNetwork(layers=1), LowRankBilinear(rank=16)])
def test_products_find_it(merge):
    assert _accuracy(merge) > 0.85
