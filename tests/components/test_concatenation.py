"""What the concatenations mean, beyond the contract that tests/components/test_contract.py checks for all."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from autoflow.components.base import Concatenation
from autoflow.components.concatenation._tokens import inputs_of, project, side_by_side
from autoflow.components.concatenation.attention import Attention
from autoflow.components.concatenation.gated import Gated
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


@pytest.mark.parametrize("pooling", ["sum", "mean", "max"])
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


@pytest.mark.parametrize("component", [ProjectedSum(), Gated(unit="column"), Attention()])
def test_a_column_without_features_is_passed_over(component: Concatenation) -> None:
    rows = RANDOM.normal(0, 1, (3, 3)).astype(np.float32)
    assert np.isfinite(component.layer([(2, 0, 1)])([rows]).numpy()).all()
