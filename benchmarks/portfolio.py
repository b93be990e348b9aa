"""Measures every recipe of the opening portfolio and writes the order of trying into the package.

    python benchmarks/portfolio.py DATA_FOLDER [--rows 1000 5000] [--seconds 15] [--workers 2]
                                   [--sets adult ...] [--results FILE.jsonl] [--write]

Each recipe of `portfolio.json` is fitted on part of the training rows of each set and predicts the rest, once
for each number of rows; test files are not read. For every shape of data the order is greedy: next comes the
recipe that lowers the held-out log-loss of the mean of those before it most, for each second that it takes,
over all sets of that shape. `--write` puts the orders into `autoflow/search/portfolio_order.json`; those of
shapes that were not measured stay.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from runs import Table, machine, tables

from autoflow.components.discovery import discover
from autoflow.data.dataset import load_dataset
from autoflow.data.split import make_folds
from autoflow.metrics import SMALLEST_PROBABILITY
from autoflow.pipeline.cache import PreparedCache
from autoflow.search.evaluate import Evaluator, Experiment
from autoflow.search.portfolio import ORDER_FILE, named_recipes, shape_of
from autoflow.search.sampler import Sampler
from autoflow.search.trial import TrialJob

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


def measure(table: Table, num_rows: int, seconds: float) -> SetMeasured:
    """Returns what each recipe does on some training rows of a set, on one thread."""
    discover()
    dataset, _, _ = load_dataset(table.train, label=table.label)
    if dataset.num_rows > num_rows:
        some = np.random.default_rng(0).choice(dataset.num_rows, num_rows, replace=False)
        dataset = dataset.rows(np.sort(some))
    shape = shape_of(dataset.profile())
    folds = make_folds(dataset.labels, feature_keys=dataset.feature_keys(), seed=0, share=0.25)
    experiment = Experiment(dataset, folds, "log_loss", 0)
    labels = dataset.labels[experiment.validation_rows]
    sampler, found = Sampler(dataset.profile(), 0), []
    with tempfile.TemporaryDirectory() as scratch:
        evaluator = Evaluator(experiment, PreparedCache(Path(scratch, "cache")), 1)
        for number, (name, values) in enumerate(named_recipes(dataset.profile()).items()):
            job = TrialJob(number, sampler.recipe(values).spec, 0, seconds)
            result = evaluator.evaluate(job)
            right = None
            if result.probabilities is not None:
                right = result.probabilities[np.arange(len(labels)), labels].astype(np.float64)
            found.append(Measured(name, max(result.seconds, _LEAST_SECONDS), right))
    return SetMeasured(table.name, dataset.num_rows, shape, found)


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
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 5000], help="of a set at most")
    parser.add_argument("--seconds", type=float, default=15, help="of a recipe on a set at most")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--results", type=Path, help="append one JSON line a recipe and set")
    parser.add_argument("--write", action="store_true", help="put the orders into the package")
    arguments = parser.parse_args()
    shapes: dict[str, list[SetMeasured]] = {}
    chosen = tables(arguments.folder, arguments.sets)
    jobs = [(table, num_rows, arguments.seconds) for num_rows in arguments.rows for table in chosen]
    with multiprocessing.get_context("spawn").Pool(arguments.workers, maxtasksperchild=1) as pool:
        for done in [pool.apply_async(measure, job) for job in jobs]:
            each = done.get()
            shapes.setdefault(each.shape, []).append(each)
            print(
                f"{each.name}: {len(each.measured)} recipes, {each.num_rows} rows: {each.shape}", flush=True
            )
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
