"""Compares a model of all columns of a mixed table with models of its columns of one kind alone.

    python benchmarks/kinds.py DATA_FOLDER --sets petfinder grocery_products pokedex [--seconds 300]
                               [--results accuracy.jsonl]

The kinds are those that AutoFlow itself sees; every model gets the same budget, one after the other. Models
of all columns that benchmarks/accuracy.py measured at that budget are taken from its results.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
from runs import Table, evaluate, fit, machine, markdown, tables

from autoflow.data.dataset import load_dataset


def columns_by_kind(table: Table) -> dict[str, list[str]]:
    """Returns the feature columns that AutoFlow uses, by kind; dates, numbers and booleans count as one."""
    found: dict[str, list[str]] = {}
    plain = {"numeric", "boolean", "datetime"}
    for column in load_dataset(table.train, label=table.label)[0].schema.columns:
        kind = "numeric" if column.kind.value in plain else column.kind.value
        found.setdefault(kind, []).append(column.name)
    return found


def with_columns(table: Table, columns: list[str], folder: Path) -> Table:
    """Returns the set with some of its columns only, as files in a folder."""
    files = {}
    for part, path in (("train", table.train), ("test", table.test)):
        files[part] = folder / f"{part}.csv"
        pd.read_csv(path, dtype=str)[[*columns, table.label]].to_csv(files[part], index=False)
    return replace(table, train=files["train"], test=files["test"])


def log_loss(table: Table, seconds: float, images: Path) -> float:
    """Returns the test log-loss of a model of a table."""
    with tempfile.TemporaryDirectory() as scratch:
        run = fit(table, seconds, Path(scratch, "run"), "--image-folder", str(images))
        if run.model is None:
            raise SystemExit(f"{table.name}: no model, exit code {run.code}\n{run.output}")
        return float(evaluate(run.model, table, "--image-folder", str(images))["log_loss"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--results", type=Path, help="what benchmarks/accuracy.py wrote")
    arguments = parser.parse_args()
    lines = arguments.results.read_text(encoding="utf-8").splitlines() if arguments.results else []
    measured = {
        line["set"]: line["log_loss"]
        for line in map(json.loads, lines)
        if line["budget_s"] == arguments.seconds
    }
    rows = []
    for table in tables(arguments.folder, arguments.sets):
        whole = measured.get(table.name) or log_loss(table, arguments.seconds, arguments.folder)
        losses = {"all": whole}
        for kind, columns in columns_by_kind(table).items():
            with tempfile.TemporaryDirectory() as scratch:
                part = with_columns(table, columns, Path(scratch))
                losses[kind] = log_loss(part, arguments.seconds, arguments.folder)
        best = min((kind for kind in losses if kind != "all"), key=losses.__getitem__)
        cells = [f"{losses['all']:.4f}", f"{losses[best]:.4f} ({best})"]
        others = ", ".join(f"{kind} {loss:.4f}" for kind, loss in losses.items() if kind not in ("all", best))
        rows.append([table.name, *cells, others])
        print(" ".join(rows[-1]), flush=True)
    print(f"\n{machine()}, {arguments.seconds:g} s, test log-loss\n")
    print(markdown(["set", "all columns", "best kind alone", "other kinds"], rows))


if __name__ == "__main__":
    main()
