"""Cheap fidelities: shares of the rows, who moves up, and a search that uses them."""

import numpy as np
import pytest

from autoflow.search.fidelity import promotions, rungs_of, sampled


@pytest.mark.parametrize("num_rows", [10, 79_999, 80_000, 1_000_000])
def test_rungs_rise_to_all_rows_and_begin_with_enough(num_rows):
    rungs = rungs_of(num_rows)
    assert rungs[-1] == 1.0
    assert list(rungs) == sorted(set(rungs))
    assert len(rungs) == 1 or num_rows * rungs[0] >= 20_000


def test_a_smaller_part_lies_in_a_larger_one_and_holds_every_class():
    generator = np.random.default_rng(0)
    rows = np.sort(generator.choice(5000, 3000, replace=False))
    labels = np.where(np.arange(3000) < 3, 2, generator.integers(0, 2, 3000))
    parts = [sampled(rows, labels, share, seed=1) for share in (0.0625, 0.25, 1.0)]
    class_of = dict(zip(rows.tolist(), labels.tolist(), strict=True))
    for part, share in zip(parts, (0.0625, 0.25, 1.0), strict=True):
        assert abs(len(part) - share * 3000) <= 3
        assert (np.diff(part) > 0).all()
        assert {class_of[row] for row in part.tolist()} == {0, 1, 2}
    assert set(parts[0]) < set(parts[1]) < set(parts[2]) == set(rows)


def test_one_in_three_moves_up_the_best_first():
    losses = {0.25: {"a": 0.5, "b": 0.3, "c": 0.4, "d": 0.2, "e": 0.6, "f": 0.7}, 1.0: {}}
    assert promotions(losses, set()) == [("d", 1.0), ("b", 1.0)]
    assert promotions(losses, {("d", 1.0)}) == [("b", 1.0)]
    assert promotions({0.25: {"a": 0.5, "b": 0.3}, 1.0: {}}, set()) == []


def test_what_the_model_averages_moves_up_whatever_its_rank():
    losses = {0.25: {"a": 0.5, "b": 0.3, "c": 0.4, "d": 0.2, "e": 0.6, "f": 0.7}, 1.0: {}}
    assert promotions(losses, set(), {"a", "d"}) == [("d", 1.0), ("b", 1.0), ("a", 1.0)]
    assert promotions(losses, {("a", 1.0)}, {"a", "d"}) == [("d", 1.0), ("b", 1.0)]


def test_a_larger_rung_goes_first():
    low = {name: float(position) for position, name in enumerate("abcdefghi")}
    losses = {0.0625: low, 0.25: {"a": 0.1, "b": 0.2, "c": 0.3}, 1.0: {}}
    begun = {("a", 0.25), ("b", 0.25), ("c", 0.25)}
    assert promotions(losses, begun) == [("a", 1.0)]
