"""Learns the order of the opening portfolio from kept runs and writes it into the package.

    python benchmarks/portfolio.py DATA_FOLDER RUNS [RUNS ...] [--results FILE.jsonl] [--write SHAPE ...]

RUNS are folders of `accuracy.py --keep`: one run folder a set. What counts are the trials of the recipes of
`portfolio.json` in them, with the seconds that they took and their held-out probabilities; test files are not
read. A search is played through with these: two workers, the recipes in some order, and at every moment the
mean of what has finished. Each shape of data gets the order by hand, changed where that would have lowered
the held-out log-loss over the sets of that shape. What a set would have gained from an order that was
learned without it is printed first; where that is nothing on average, the order by hand stays. `--write`
puts the others into `autoflow/search/portfolio_order.json`: name the shapes for which whole runs confirmed
them, as trials take less time where there is less.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from runs import Table, machine, markdown, tables

from autoflow.components.base import NeuralClassifier
from autoflow.components.discovery import discover
from autoflow.data.dataset import load_dataset
from autoflow.data.plan import plan_rows
from autoflow.metrics import SMALLEST_PROBABILITY
from autoflow.pipeline.spec import PipelineSpec
from autoflow.search.portfolio import ORDER_FILE, named_recipes, shape_of
from autoflow.search.sampler import Sampler

_SHARES = np.array([0.25, 0.5, 0.75, 1.0])
_LEAST_SECONDS = 0.2
"""Below this the cost of a trial is what the search around it takes."""
_IMPORT_SECONDS = 5.0
_MOMENTS = np.geomspace(12.0, 280.0, 24)
"""Seconds after the first trial began, when searches of half a minute to five minutes end.

With earlier moments, too, quick and weak recipes came first, and a minute was over before the best was done.
"""
_MOST_HELD_OUT = 1_000
_WORTH_MOVING = 5e-4


@dataclass(frozen=True)
class Measured:
    """What a recipe did on a set: seconds, and held-out probabilities of the true classes, if it finished."""

    recipe: str
    is_network: bool
    seconds: float
    right: np.ndarray | None


@dataclass(frozen=True)
class SetMeasured:
    """All recipes on one set."""

    name: str
    num_rows: int
    num_classes: int
    shape: str
    measured: list[Measured]


def measured(table: Table, folder: Path) -> SetMeasured:
    """Returns what the recipes did in one run of a set.

    Args:
        table: the set.
        folder: run folder.
    """
    dataset, _, _ = load_dataset(table.train, label=table.label)
    profile = dataset.profile()
    sampler = Sampler(profile, 0)
    recipes = {
        sampler.recipe(values).spec.fingerprint: name for name, values in named_recipes(profile).items()
    }
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as database:
        seconds = json.loads(_setting(database, "planned_seconds"))
        trials = database.execute("SELECT number, spec, outcome, seconds, share FROM trials").fetchall()
    folds = plan_rows(dataset, seed=0, seconds=seconds).folds
    labels = dataset.labels[np.concatenate([fold.validation for fold in folds])]
    generator = np.random.default_rng(0)
    chosen = generator.permutation(len(labels))[:_MOST_HELD_OUT]
    found: dict[str, tuple[float, Measured]] = {}
    for number, spec, outcome, took, share in trials:
        pipeline = PipelineSpec.from_json(json.loads(spec))
        name = recipes.get(pipeline.fingerprint)
        if name is None or found.get(name, (0.0,))[0] > share:
            continue
        right = None
        if outcome == "FINISHED":
            probabilities = np.load(folder / f"trials/{number:05d}.npy")
            right = probabilities[np.arange(len(labels)), labels][chosen].astype(np.float64)
        is_network = isinstance(pipeline.classifier, NeuralClassifier)
        found[name] = share, Measured(name, is_network, max(took / share, _LEAST_SECONDS), right)
    done = [each for _, each in found.values()]
    return SetMeasured(table.name, dataset.num_rows, len(profile.class_counts), shape_of(profile), done)


def _setting(database: sqlite3.Connection, key: str) -> str:
    return str(database.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()[0])


def _runs(folder: Path, runs: list[Path]) -> Iterator[SetMeasured]:
    for table in tables(folder):
        for run in runs:
            if (run / table.name / "ledger.sqlite").exists():
                yield measured(table, run / table.name)


def order(sets: list[SetMeasured]) -> list[str]:
    """Returns the recipes of the sets of one shape, in an order that lowers the mean `regret`.

    It begins with the order by hand, and moves one recipe after the other forward to where it serves most, no
    further than needed, as long as that gains anything worth the name: the rest stays where it was.
    """
    known = {measured.recipe for each in sets for measured in each.measured}
    ordered = [recipe for recipe in by_hand() if recipe in known]
    lowest = _mean_regret(ordered, sets)
    moved = True
    while moved:
        moved = False
        for recipe in list(ordered):
            others = [each for each in ordered if each != recipe]
            earlier = reversed(range(ordered.index(recipe)))
            moves = [[*others[:place], recipe, *others[place:]] for place in earlier]
            regrets = [_mean_regret(move, sets) for move in moves]
            if min(regrets, default=lowest) < lowest - _WORTH_MOVING:
                lowest, ordered, moved = min(regrets), moves[int(np.argmin(regrets))], True
    return ordered


def by_hand() -> list[str]:
    """Returns the recipes in the order of `portfolio.json`."""
    portfolio = json.loads(ORDER_FILE.with_name("portfolio.json").read_text(encoding="utf-8"))
    return list(portfolio["recipes"])


def _mean_regret(ordered: list[str], sets: list[SetMeasured]) -> float:
    return float(np.mean([regret(ordered, each) for each in sets]))


def regret(ordered: list[str], each: SetMeasured) -> float:
    """Returns how far the best mean of what has finished is above that of all recipes, as log of the ratio.

    That is the mean over moments of a search which are as far apart as their logarithms, from `_MOMENTS`: an
    order is good if it would be at whatever time the search ended.

    Args:
        ordered: names of recipes; those that the set does not have are passed over.
        each: the set.
    """
    losses, mean = [], np.full(_num_held_out(each), SMALLEST_PROBABILITY)
    loss = _losses(np.full((1, 1), 1 / each.num_classes))[0]
    ends = schedule(ordered, each)
    for measured, _ in ends:
        if measured.right is not None:
            mixed = _SHARES[:, None] * measured.right + (1 - _SHARES[:, None]) * mean
            mixed_losses = _losses(mixed)
            if mixed_losses.min() < loss:
                loss, mean = mixed_losses.min(), mixed[mixed_losses.argmin()]
        losses.append(loss)
    finished = np.searchsorted([at for _, at in ends], _MOMENTS, side="right")
    at_moments = np.array([_losses(np.full((1, 1), 1 / each.num_classes))[0], *losses])[finished]
    return float(np.log(at_moments / losses[-1]).mean())


def schedule(ordered: list[str], each: SetMeasured) -> list[tuple[Measured, float]]:
    """Returns the recipes with the seconds after which each ends, on two workers as the search uses them.

    The worker that has imported TensorFlow prefers networks, the other one what is none; see
    `autoflow.search.proposals`.
    """
    waiting = [one for name in ordered for one in each.measured if one.recipe == name]
    free, knows = [0.0, 0.0], [False, False]
    ends = []
    while waiting:
        worker = int(np.argmin(free))
        mine = [one for one in waiting if one.is_network == knows[worker] or knows[0] == knows[1]]
        chosen = (mine or waiting)[0]
        waiting.remove(chosen)
        if chosen.is_network and not knows[worker]:
            free[worker], knows[worker] = free[worker] + _IMPORT_SECONDS, True
        free[worker] += chosen.seconds
        ends.append((chosen, free[worker]))
    return sorted(ends, key=lambda end: end[1])


def _losses(right: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(right, SMALLEST_PROBABILITY)).mean(axis=1)


def _num_held_out(each: SetMeasured) -> int:
    return next(len(measured.right) for measured in each.measured if measured.right is not None)


def left_out(sets: list[SetMeasured]) -> Iterator[tuple[float, float]]:
    """Yields for each set its regret in the order by hand, and in one learned from others of its shape."""
    for each in sets:
        others = [other for other in sets if other.name != each.name]
        learned = order(others) if others else by_hand()
        rest = [recipe for recipe in by_hand() if recipe not in learned]
        yield regret(by_hand(), each), regret(learned + rest, each)


def as_lines(each: SetMeasured) -> list[str]:
    """Returns a JSON line a recipe, for the file of raw results."""
    return [
        json.dumps(
            {
                "set": each.name,
                "rows": each.num_rows,
                "shape": each.shape,
                "recipe": one.recipe,
                "seconds": round(one.seconds, 2),
                "log_loss": None if one.right is None else round(float(_losses(one.right[None])[0]), 4),
            }
        )
        for one in each.measured
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of kept run folders")
    parser.add_argument("--results", type=Path, help="append one JSON line a recipe and set")
    parser.add_argument("--write", nargs="+", default=[], metavar="SHAPE", help="put these into the package")
    arguments = parser.parse_args()
    discover()
    shapes: dict[str, list[SetMeasured]] = {}
    for each in _runs(arguments.folder, arguments.runs):
        shapes.setdefault(each.shape, []).append(each)
        print(f"{each.name}: {len(each.measured)} recipes, {each.num_rows} rows: {each.shape}", flush=True)
        if arguments.results:
            with arguments.results.open("a", encoding="utf-8") as file:
                file.write("".join(line + "\n" for line in as_lines(each)))
    rows, orders = [], {}
    for shape, sets in sorted(shapes.items()):
        regrets = list(left_out(sets))
        rows += [
            [each.name, shape, f"{by_hand:.4f}", f"{learned:.4f}"]
            for each, (by_hand, learned) in zip(sets, regrets, strict=True)
        ]
        means = np.mean(regrets, axis=0)
        if means[1] < means[0]:
            orders[shape] = order(sets)
    print(f"\n{machine()}\n")
    print(markdown(["set", "shape", "regret by hand", "learned from others"], rows) + "\n")
    print(json.dumps(orders, indent=2))
    if arguments.write:
        written = {shape: orders[shape] for shape in arguments.write if shape in orders}
        ORDER_FILE.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
