"""The opening portfolio: the orders that the script wrote, how they are read, how they are learned."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from autoflow.components.discovery import discover
from autoflow.data.schema import ColumnKind, ColumnProfile, DataProfile
from autoflow.search import portfolio
from autoflow.search.portfolio import ORDER_FILE, named_recipes, recipes, shape_of

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ROWS = 200


@pytest.fixture(scope="module", autouse=True)
def _components():
    discover()


def profile(kind=ColumnKind.NUMERIC, num_rows=500):
    column = ColumnProfile("a", kind, 300, 0.0, 60.0 if kind is ColumnKind.TEXT else 0.0)
    return DataProfile(num_rows, (num_rows - 100, 100), (column,))


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("learned_portfolio", BENCHMARKS / "portfolio.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


def test_the_orders_that_were_written_name_each_recipe_once():
    known = json.loads(ORDER_FILE.with_name("portfolio.json").read_text(encoding="utf-8"))["recipes"]
    orders = json.loads(ORDER_FILE.read_text(encoding="utf-8"))
    assert orders.keys() <= {"pictures", "texts", "texts and others", "few rows", "many rows"}
    for order in orders.values():
        assert set(order) <= known.keys()
        assert len(order) == len(set(order)) > 5


def test_recipes_come_in_the_order_of_their_shape_with_the_baseline_first(tmp_path, monkeypatch):
    wanted = ["tabm", "mlp", "no such recipe", "boosted_trees"]
    monkeypatch.setattr(portfolio, "ORDER_FILE", tmp_path / "order.json")
    (tmp_path / "order.json").write_text(json.dumps({shape_of(profile()): wanted}), encoding="utf-8")
    opened = recipes(profile())
    named = named_recipes(profile())
    assert [each["classification"] for each in opened[:3]] == ["majority", "tabm", "mlp"]
    assert opened.index(named["boosted_trees"]) < opened.index(named["residual_network"])
    by_hand = recipes(profile(ColumnKind.TEXT))
    assert by_hand[1] == named_recipes(profile(ColumnKind.TEXT))["logistic_regression"]


def made_up(script, name, recipes_of):
    """Returns a set of two classes from recipes, seconds, probabilities of the right class and kinds."""
    measured = [
        script.Measured(recipe, network, seconds, None if right is None else np.full(ROWS, right))
        for recipe, seconds, right, network in recipes_of
    ]
    return script.SetMeasured(name, 1000, 2, "many rows", measured)


def test_what_is_good_and_quick_moves_to_the_front_and_the_rest_stays(script):
    first, second, third, fourth = script.by_hand()[1:5]
    one = made_up(
        script,
        "one",
        [
            (first, 20.0, 0.6, False),
            (second, 20.0, 0.6, False),
            (third, 1.0, 0.9, False),
            (fourth, 9.0, None, False),
        ],
    )
    assert script.order([one]) == [first, third, second, fourth]  # two workers begin at once
    equal = made_up(script, "equal", [(name, 5.0, 0.7, False) for name in (first, second, third)])
    assert script.order([equal]) == [first, second, third]
    ((by_hand, learned),) = script.left_out([equal])
    assert by_hand == learned


def test_one_worker_keeps_to_networks_and_imports_once(script):
    names = script.by_hand()[1:5]
    kinds = [True, True, False, False]
    each = made_up(script, "s", [(n, 20.0, 0.7, k) for n, k in zip(names, kinds, strict=True)])
    ends = {one.recipe: at for one, at in script.schedule(names, each)}
    assert [ends[name] for name in names] == [25.0, 45.0, 20.0, 40.0]
    assert script.regret(names, each) > 0
