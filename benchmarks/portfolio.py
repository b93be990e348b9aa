"""Learns the order of the opening portfolio from kept runs and writes it into the package.

    python benchmarks/portfolio.py DATA_FOLDER RUNS [RUNS ...] [--results FILE.jsonl] [--write]

RUNS are folders of `accuracy.py --keep`: one run folder a set. What counts are the trials of the recipes of
`portfolio.json` in them, with the seconds that they took and their held-out probabilities; test files are not
read. For every shape of data the order is greedy: next comes the recipe that lowers the held-out log-loss of
the mean of those before it most, for each second that it takes, over all sets of that shape. `--write` puts
the orders into `autoflow/search/portfolio_order.json`; those of shapes without a run stay.
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
from runs import Table, machine, tables

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


@dataclass(frozen=True)
class Measured:
    """What a recipe did on a set: seconds, and held-out probabilities of the true classes, if it finished."""

    recipe: str
    seconds: float
    right: np.ndarray | None


@dataclass(frozen=True)
class SetMeasured:
    """All recipes on one set."""

    name: str
    num_rows: int
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
    found: dict[str, tuple[float, Measured]] = {}
    for number, spec, outcome, took, share in trials:
        name = recipes.get(PipelineSpec.from_json(json.loads(spec)).fingerprint)
        if name is None or found.get(name, (0.0,))[0] > share:
            continue
        right = None
        if outcome == "FINISHED":
            probabilities = np.load(folder / f"trials/{number:05d}.npy")
            right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
        found[name] = share, Measured(name, max(took / share, _LEAST_SECONDS), right)
    done = [each for _, each in found.values()]
    return SetMeasured(table.name, dataset.num_rows, shape_of(profile), done)


def _setting(database: sqlite3.Connection, key: str) -> str:
    return str(database.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()[0])


def _runs(folder: Path, runs: list[Path]) -> Iterator[SetMeasured]:
    for table in tables(folder):
        for run in runs:
            if (run / table.name / "ledger.sqlite").exists():
                yield measured(table, run / table.name)


def order(sets: list[SetMeasured]) -> list[str]:
    """Returns the recipes of the sets of one shape, the best gain for a second first."""
    known = {measured.recipe: None for each in sets for measured in each.measured}
    means = [np.full(_num_held_out(each), SMALLEST_PROBABILITY) for each in sets]
    ordered: list[str] = []
    while len(ordered) < len(known):
        gains = {recipe: _gain(recipe, sets, means) for recipe in known if recipe not in ordered}
        best = max(gains, key=lambda recipe: gains[recipe][0])
        means = gains[best][1]
        ordered.append(best)
    return ordered


def _gain(recipe: str, sets: list[SetMeasured], means: list[np.ndarray]) -> tuple[float, list[np.ndarray]]:
    """Returns the mean relative gain for a second, and the means with the recipe in them."""
    gained, took, after = [], [], []
    for each, mean in zip(sets, means, strict=True):
        measured = next((one for one in each.measured if one.recipe == recipe), None)
        after.append(mean)
        if measured is None:
            continue
        took.append(measured.seconds)
        gained.append(0.0)
        if measured.right is not None:
            mixed = _SHARES[:, None] * measured.right + (1 - _SHARES[:, None]) * mean
            losses, before = _losses(mixed), _losses(mean[None])[0]
            if losses.min() < before:
                gained[-1] = 1 - losses.min() / before
                after[-1] = mixed[losses.argmin()]
    return float(np.mean(gained) / np.mean(took)), after


def _losses(right: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(right, SMALLEST_PROBABILITY)).mean(axis=1)


def _num_held_out(each: SetMeasured) -> int:
    return next(len(measured.right) for measured in each.measured if measured.right is not None)


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
    parser.add_argument("--write", action="store_true", help="put the orders into the package")
    arguments = parser.parse_args()
    discover()
    shapes: dict[str, list[SetMeasured]] = {}
    for each in _runs(arguments.folder, arguments.runs):
        shapes.setdefault(each.shape, []).append(each)
        print(f"{each.name}: {len(each.measured)} recipes, {each.num_rows} rows: {each.shape}", flush=True)
        if arguments.results:
            with arguments.results.open("a", encoding="utf-8") as file:
                file.write("".join(line + "\n" for line in as_lines(each)))
    print(f"\n{machine()}\n")
    orders = {shape: order(sets) for shape, sets in sorted(shapes.items())}
    print(json.dumps(orders, indent=2))
    if arguments.write:
        known = json.loads(ORDER_FILE.read_text(encoding="utf-8"))
        ORDER_FILE.write_text(json.dumps(known | orders, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
