"""Masks and tables must lead every row to the exit to which stepping down leads it, whatever the tree."""

import numpy as np
import pytest
from traced import graph_answers

from autoflow.components.classification import _forest_graph
from autoflow.components.classification._category_sets import NO_SET
from autoflow.components.classification._exit_masks import ExitMasks
from autoflow.components.classification._exit_tables import ExitTables, Intervals
from autoflow.components.classification._first_splits import FirstSplits
from autoflow.components.classification._forest_graph import forest_sums
from autoflow.components.classification._trees import Forest
from autoflow.components.stored import keeping

ROWS, COLUMNS = 300, 5


def grown(shape: str, num_splits: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns one tree: `"chain"` to the right or left, `"full"`, or `"random"`."""
    left, right = np.full(num_splits, -1), np.full(num_splits, -1)
    free = [(0, side) for side in (left, right)]
    for split in range(1, num_splits):
        place = {"chain": int(generator.integers(len(free) - 2, len(free))), "full": 0}.get(
            shape, int(generator.integers(len(free)))
        )
        parent, side = free.pop(place)
        side[parent] = split
        free += [(split, left), (split, right)]
    open_sides = [(split, side) for split in range(num_splits) for side in (left, right) if side[split] < 0]
    for leaf, (split, side) in enumerate(open_sides):
        side[split] = ~leaf
    return {
        "feature": generator.integers(0, COLUMNS, num_splits),
        "threshold": generator.normal(size=num_splits).round(1),
        "left": left,
        "right": right,
    }


def forest_of(shapes: list[tuple[str, int]], turns: int = 1, width: int = 1) -> Forest:
    generator = np.random.default_rng(0)
    trees = [grown(shape, size, generator) for shape, size in shapes]
    splits = np.array([size for _, size in shapes])
    joined = {
        key: np.concatenate([tree[key] for tree in trees]).astype(trees[0][key].dtype) for key in trees[0]
    }
    values = generator.normal(size=(int(splits.sum()) + len(shapes), width))
    return Forest.build(splits=splits, values=values, turns=turns, **joined)


def rows() -> np.ndarray:
    features = np.random.default_rng(1).normal(size=(ROWS, COLUMNS)).astype(np.float32)
    features[:50] = features[:50].round(1)  # on the thresholds themselves
    return features


def first_of(forest: Forest) -> FirstSplits:
    return FirstSplits.build(forest.roots, forest.child)


def arrivals(forest: Forest, features: np.ndarray) -> np.ndarray:
    """Returns the node `int[T, n]` to which the masks lead each row, tree by tree."""
    first = first_of(forest)
    alive = np.full((len(first.exits), len(features)), 2**31 - 1, np.int32)
    for asked, mask in zip(first.asked, first.mask, strict=True):
        goes_right = forest.threshold[asked][:, None] < features[:, forest.feature[asked]].T
        alive &= np.where(goes_right, mask[:, None], np.int32(-1))
    bits = (alive[:, :, None] >> np.arange(32)) & 1
    lowest = np.where(bits.any(axis=2), bits.argmax(axis=2), 32)
    return np.take_along_axis(first.exits, lowest, axis=1)


def step_down(forest: Forest, node: np.ndarray, features: np.ndarray, steps: int) -> np.ndarray:
    row = np.arange(len(features))
    for _ in range(steps):
        node = forest.child[node] + (features[row, forest.feature[node]] > forest.threshold[node])
    return node


@pytest.mark.parametrize(
    "shapes",
    [
        [("full", 31)],
        [("full", 30)],
        [("full", 127)],
        [("chain", 60)],
        [("random", 200), ("chain", 12), ("full", 3), ("random", 0), ("random", 31), ("random", 1)],
        [("random", 0), ("random", 0)],
    ],
)
def test_masks_lead_where_steps_lead(shapes):
    forest, features = forest_of(shapes), rows()
    rest = first_of(forest).rest
    reached = arrivals(forest, features)
    roots = np.repeat(forest.roots[:, None], ROWS, axis=1)
    leaves = step_down(forest, roots, features, forest.depth)
    np.testing.assert_array_equal(step_down(forest, reached, features, int(rest.max())), leaves)
    np.testing.assert_array_equal(reached[rest == 0], leaves[rest == 0])


def test_trees_of_up_to_31_splits_need_no_steps():
    forest = forest_of([("full", 31), ("chain", 31), ("random", 7)])
    assert first_of(forest).rest.tolist() == [0, 0, 0]


def test_the_longest_ways_are_shortened():
    forest = forest_of([("chain", 60)])
    assert forest.depth == 60
    assert first_of(forest).rest.tolist() == [29]


def test_equal_splits_are_asked_once():
    forest = forest_of([*[("random", 20)] * 8, ("random", 5)])
    forest.feature[:] = 2
    forest.threshold[np.isfinite(forest.threshold)] = 0.5
    masks = ExitMasks.build(
        first_of(forest), forest.feature, forest.threshold, np.full_like(forest.set_start, NO_SET)
    )
    # what unused places ask is one more
    assert masks.feature.tolist() == [0, 2]
    assert masks.threshold.tolist() == [np.inf, 0.5]


MANY = [("random", 200), ("chain", 31), ("full", 3), ("random", 0), ("random", 31), ("random", 1)]


@pytest.mark.parametrize(
    "shapes",
    [
        MANY,
        [("full", 7), ("random", 4), ("random", 0)],
        [("random", 8)],
        [("full", 15), ("chain", 12), ("random", 3)],
        [("random", 16), ("full", 15)],
        [("random", 30)],
        [("chain", 31)] * 5,
    ],
)
def test_tables_and_masks_find_the_same_exits(shapes):
    forest, features = forest_of(shapes), rows()
    features[60, :] = [np.inf, -np.inf, 3e38, -3e38, 0.0]
    first = first_of(forest)
    intervals = Intervals.build(first, forest.feature, forest.threshold)
    trees = np.random.default_rng(2).permutation(len(shapes))
    part = first.of(trees)
    masks = ExitMasks.build(part, forest.feature, forest.threshold, forest.set_start)
    tables = ExitTables.build(part, forest.feature, forest.threshold, intervals)
    asked = masks.graph(_tensor(features), None).numpy()
    looked_up = tables.graph(intervals.graph(_tensor(features))).numpy()
    np.testing.assert_array_equal(looked_up, asked)
    np.testing.assert_array_equal(
        np.take_along_axis(part.exits, looked_up, axis=1), arrivals(forest, features)[trees]
    )


def test_trees_without_splits_beside_others():
    forest, features = forest_of([("random", 40), ("random", 0), ("random", 0)]), rows()
    first = first_of(forest)
    intervals = Intervals.build(first, forest.feature, forest.threshold)
    part = first.of(np.array([1, 2]))
    tables = ExitTables.build(part, forest.feature, forest.threshold, intervals)
    assert not tables.graph(intervals.graph(_tensor(features))).numpy().any()
    masks = ExitMasks.build(part, forest.feature, forest.threshold, forest.set_start)
    assert not masks.graph(_tensor(features), None).numpy().any()


def test_tables_are_for_few_columns_and_small():
    forest = forest_of([("full", 31)] * 40)
    first = first_of(forest)
    assert Intervals.build(first, forest.feature, forest.threshold).are_worthwhile(first)
    many = np.random.default_rng(0).integers(0, 400, len(forest.feature))
    assert not Intervals.build(first, many, forest.threshold).are_worthwhile(first)
    different = np.random.default_rng(0).normal(size=len(forest.threshold)).astype(np.float32)
    assert Intervals.build(first, forest.feature, different).are_worthwhile(first)
    large = first.of(np.tile(np.arange(40), 100))
    assert not Intervals.build(large, forest.feature, different).are_worthwhile(large)
    stumps = first_of(forest_of([("random", 0)] * 3))
    assert not Intervals.build(stumps, forest.feature, forest.threshold).are_worthwhile(stumps)


@pytest.mark.parametrize("with_tables", [True, False])
@pytest.mark.parametrize("trees_at_once", [2048, 3])
@pytest.mark.parametrize(("turns", "width"), [(1, 1), (2, 1), (3, 1), (1, 4)])
def test_the_graph_adds_up_what_stepping_down_adds_up(turns, width, trees_at_once, with_tables, monkeypatch):
    monkeypatch.setattr(_forest_graph, "_TREES_AT_ONCE", trees_at_once)
    monkeypatch.setattr(Intervals, "are_worthwhile", lambda *_: with_tables)
    shapes = [("random", 150), ("full", 31), ("chain", 40), ("random", 0), ("random", 90), ("full", 7)]
    forest, features = forest_of(shapes, turns, width), rows()
    features[3, 1] = np.nan
    forest.threshold[forest.roots[:2]] = [np.inf, -np.inf]
    expected = forest.sums(features)
    np.testing.assert_allclose(graph_answers(forest, features), expected, atol=1e-6)
    alone = [graph_answers(forest, features[row : row + 1])[0] for row in range(4)]
    np.testing.assert_allclose(alone, expected[:4], atol=1e-6)
    assert graph_answers(forest, features[:0]).shape == (0, turns * width)


@pytest.mark.parametrize("with_tables", [True, False])
@pytest.mark.parametrize("shape", [("random", 150), ("random", 5), ("chain", 33)])
def test_the_graph_of_a_single_tree(shape, with_tables, monkeypatch):
    monkeypatch.setattr(Intervals, "are_worthwhile", lambda *_: with_tables)
    forest, features = forest_of([shape]), rows()
    np.testing.assert_allclose(graph_answers(forest, features), forest.sums(features), atol=1e-6)


def test_equal_leaves_are_held_once():
    forest = forest_of([("random", 150), ("random", 90)], width=3)
    forest.values[:] = forest.values[np.arange(len(forest.values)) % 4]
    features = rows()
    kept: list[np.ndarray] = []

    def keep(values: np.ndarray):
        import tensorflow as tf

        kept.append(values)
        return tf.constant(values)

    with pytest.MonkeyPatch.context() as patched, keeping(keep):
        patched.setattr("autoflow.components.stored.LEAST_BYTES", 0)
        answer = forest_sums(forest, _tensor(features)).numpy()
    np.testing.assert_allclose(answer, forest.sums(features), atol=1e-5)
    assert [len(values) for values in kept if values.shape[-1] == 3 and values.dtype == np.float32] == [4]


def _tensor(values: np.ndarray):
    import tensorflow as tf

    return tf.constant(values)
