"""What the concatenations mean, beyond the contract that tests/components/test_contract.py checks for all."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from autoflow.components.base import Concatenation
from autoflow.components.concatenation._tokens import (
    inputs_of,
    project,
    projection_matrices,
    side_by_side,
)
from autoflow.components.concatenation.attention import Attention
from autoflow.components.concatenation.cross_network import CrossNetwork
from autoflow.components.concatenation.gated import Gated
from autoflow.components.concatenation.low_rank_bilinear import LowRankBilinear
from autoflow.components.concatenation.max_pool import MaxPool
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.concatenation.projected_sum import ProjectedSum

RANDOM = np.random.default_rng(0)


def test_plain_concat_puts_nodes_side_by_side() -> None:
    left, right = np.eye(2, dtype=np.float32), np.full((2, 3), 7, np.float32)
    merged = PlainConcat().layer([(1, 1), (3,)])([left, right]).numpy()
    assert merged.tolist() == [[1, 0, 7, 7, 7], [0, 1, 7, 7, 7]]


def test_each_column_has_a_projection_of_its_own() -> None:
    widths = ((2, 1), (3, 1, 2))
    inputs = inputs_of(widths)
    model = keras.Model(inputs, project(side_by_side(inputs), [2, 1, 3, 1, 2], 4))
    base = [np.zeros((1, 3), np.float32), np.zeros((1, 6), np.float32)]
    before = model(base).numpy()[0]
    moved = [base[0].copy(), base[1].copy()]
    moved[1][0, 3] = 1.0  # the fourth raw column, one wide
    changed = np.abs(model(moved).numpy()[0] - before).max(axis=1) > 1e-6
    assert changed.tolist() == [False, False, False, True, False]


def test_no_weight_is_spent_on_zeros() -> None:
    inputs = inputs_of([(1,) * 20 + (50,)])
    model = keras.Model(inputs, project(inputs[0], [1] * 20 + [50], 8))
    assert model.count_params() == 8 * (20 + 50) + 8 * 21


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_projected_sum_has_its_width(pooling: str) -> None:
    layer = ProjectedSum(dimensions=24, pooling=pooling).layer([(3, 1)])
    assert layer([RANDOM.normal(0, 1, (5, 4)).astype(np.float32)]).shape == (5, 24)


@pytest.mark.parametrize("unit", ["node", "column"])
@pytest.mark.parametrize("gate", ["sigmoid", "softmax"])
def test_gates_weigh_tanh_units(unit: str, gate: str) -> None:
    layer = Gated(dimensions=16, unit=unit, gate=gate).layer([(1, 1, 2), (5,)])
    inputs = [100 * RANDOM.normal(0, 1, (6, 4)), 100 * RANDOM.normal(0, 1, (6, 5))]
    merged = layer([node.astype(np.float32) for node in inputs]).numpy()
    units = 2 if unit == "node" else 4
    assert merged.shape == (6, 16)
    assert np.abs(merged).max() <= (1.0 if gate == "softmax" else 2 * units**0.5) + 1e-5


@pytest.mark.parametrize("pooling", ["class", "mean"])
def test_attention_mixes_columns(pooling: str) -> None:
    layer = Attention(heads=2, head_width=8, blocks=2, pooling=pooling).layer([(1, 1, 4)])
    rows = RANDOM.normal(0, 1, (4, 6)).astype(np.float32)
    merged = layer([rows], training=False).numpy()
    other = rows.copy()
    other[:, 1] += 1.0
    assert merged.shape == (4, 16)
    assert np.abs(layer([other], training=False).numpy() - merged).max() > 1e-3


@pytest.mark.parametrize(
    "component",
    [
        ProjectedSum(),
        Gated(unit="column"),
        Attention(),
        MaxPool(),
        CrossNetwork(),
        LowRankBilinear(unit="column"),
    ],
)
def test_a_column_without_features_is_passed_over(component: Concatenation) -> None:
    rows = RANDOM.normal(0, 1, (3, 3)).astype(np.float32)
    assert np.isfinite(component.layer([(2, 0, 1)])([rows]).numpy()).all()


def test_projection_matrices_are_those_of_the_slices() -> None:
    widths = [2, 1, 3, 1]
    inputs = inputs_of([widths])
    model = keras.Model(inputs, project(inputs[0], widths, 4))
    matrices = projection_matrices(model, widths)
    row = RANDOM.normal(0, 1, (1, 7)).astype(np.float32)
    moved = (model([row]) - model([np.zeros_like(row)])).numpy()[0]
    expected = [part @ matrix for part, matrix in zip(np.split(row[0], [2, 3, 6]), matrices, strict=True)]
    assert np.allclose(moved, expected, atol=1e-5)


def test_the_maximum_ignores_a_column_that_is_below() -> None:
    layer = MaxPool(dimensions=16).layer([(1,), (1,)])
    layer.set_weights([np.ones_like(weight) for weight in layer.get_weights()[:1]] + layer.get_weights()[1:])
    high, low, lower = (np.full((1, 1), value, np.float32) for value in (2.0, 1.0, -1.0))
    assert np.array_equal(layer([high, low]).numpy(), layer([high, lower]).numpy())


def test_a_cross_layer_multiplies_features() -> None:
    layer = CrossNetwork(layers=1, rank=4).layer([(1, 1)])
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32) * 2
    none, left, right, both = layer([corners]).numpy()
    assert np.abs(both - left - right + none).max() > 1e-3  # zero for any sum of functions of one feature


@pytest.mark.parametrize("widths", [((2,), (3,)), ((5,),), ((1,),) * 40])
def test_bilinear_fusion_has_its_width(widths: tuple[tuple[int, ...], ...]) -> None:
    layer = LowRankBilinear(rank=8).layer(widths)
    merged = layer([RANDOM.normal(0, 1, (6, sum(node))).astype(np.float32) for node in widths]).numpy()
    assert merged.shape == (6, 8 * (1 + (len(widths) if len(widths) <= 32 else 1)))
    assert np.ptp(merged[:, :8], axis=0).min() > 0


@pytest.mark.parametrize("unit", ["node", "column"])
@pytest.mark.parametrize("gate", ["sigmoid", "softmax"])
def test_gates_tell_what_a_column_moves(unit: str, gate: str) -> None:
    merge, widths = Gated(dimensions=16, unit=unit, gate=gate), ((1, 0, 2), (4, 1))
    keras.utils.set_random_seed(0)  # gates that happen to close on the large column would hide it
    layer = merge.layer(widths)
    random = np.random.default_rng(0)
    features = [random.normal(0, 1, (50, 3)), random.normal(0, 1, (50, 5))]
    features[1][:, 4] = 3.0  # a constant moves nothing
    features[0][:, 0] *= 20.0
    shares = merge.contributions(layer, [node.astype(np.float32) for node in features], widths)
    assert shares is not None
    assert shares.shape == (5,)
    assert abs(shares.sum() - 1) < 1e-9
    assert shares[1] == 0
    assert shares[4] < 1e-6
    assert shares[0] == shares.max()


def test_a_closed_gate_contributes_nothing() -> None:
    merge, widths = Gated(dimensions=16, unit="column"), ((1, 1),)
    layer = merge.layer(widths)
    gates = next(inner for inner in layer.layers if isinstance(inner, keras.layers.Dense))
    gates.set_weights([np.zeros((2, 2), np.float32), np.array([4.0, -40.0], np.float32)])
    rows = RANDOM.normal(0, 1, (50, 2)).astype(np.float32)
    shares = merge.contributions(layer, [rows], widths)
    assert shares is not None
    assert shares[0] > 1 - 1e-9


def test_other_merges_cannot_tell() -> None:
    merge = Attention()
    assert merge.contributions(merge.layer([(1,)]), [np.zeros((2, 1), np.float32)], [(1,)]) is None
