"""Prints what the report of small tables says beside what the model is worth on rows that it never saw.

    python benchmarks/honesty.py DATA_FOLDER --sets german_credit adult --rows 800 --seeds 0 1 2 --seconds 60

For each set and seed, so many rows are drawn of all that there are, `autoflow fit` makes a model of them, and
all other rows test it: `validation` is the figure of the held-out rows that chose the model, `cross_chosen`
that of choices which other rows made.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from runs import Table, evaluate, fit, machine, markdown, noted_model, tables

HEADER = ["set", "seed", "trials", "validation", "cross_chosen", "its error", "test", "test rows"]


def drawn(table: Table, num_rows: int, seed: int, folder: Path) -> Table:
    """Returns a table with so many rows to learn from, drawn of all rows, and the others to test on."""
    parts = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in (table.train, table.test)]
    rows = pd.concat(parts, ignore_index=True)
    chosen = np.random.default_rng(seed).permutation(len(rows)) < num_rows
    paths = [folder / f"{table.name}.{name}.csv" for name in ("train", "test")]
    for path, part in zip(paths, (rows[chosen], rows[~chosen]), strict=True):
        part.to_csv(path, index=False)
    return replace(table, train=paths[0], test=paths[1])


def measure(table: Table, num_rows: int, seed: int, seconds: float) -> dict[str, Any]:
    """Returns the figures of one run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = drawn(table, num_rows, seed, folder)
        run = fit(small, seconds, folder / "run", "--seed", str(seed))
        if run.model is None:
            raise SystemExit(f"{table.name}: no model, exit code {run.code}\n{run.output}")
        test = evaluate(run.model, small)
        noted = noted_model(folder / "run")
    told = noted["scores"]
    return {
        "set": table.name,
        "rows": num_rows,
        "seed": seed,
        "budget_s": seconds,
        "num_trials": noted["num_trials"],
        "validation": told["validation"]["log_loss"],
        "cross_chosen": told["cross_chosen"]["log_loss"],
        "error": told["cross_chosen"]["log_loss_standard_error"],
        "test": test["log_loss"],
        "test_rows": test["num_rows"],
        "wall_s": run.seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--results", type=Path, help="append one JSON line a run")
    arguments = parser.parse_args()
    rows = []
    for seed in arguments.seeds:
        for table in tables(arguments.folder, arguments.sets):
            rows.append(measure(table, arguments.rows, seed, arguments.seconds))
            print(rows[-1], flush=True)
            if arguments.results:
                with arguments.results.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    cells = [
        [row["set"], str(row["seed"]), str(row["num_trials"])]
        + [f"{row[key]:.4f}" for key in ("validation", "cross_chosen", "error", "test")]
        + [str(row["test_rows"])]
        for row in rows
    ]
    print(f"\n{machine()}, {arguments.seconds:g} s, {arguments.rows} rows, log-loss\n")
    print(markdown(HEADER, cells))
    for name in ("validation", "cross_chosen"):
        gaps = np.array([row[name] - row["test"] for row in rows])
        print(f"\n{name} less test: {gaps.mean():+.4f} on average, {np.abs(gaps).mean():.4f} in size")


if __name__ == "__main__":
    main()
