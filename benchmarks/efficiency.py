"""Measures how busy a search keeps the machine.

    python benchmarks/efficiency.py DATA_FOLDER [--seconds 60] [--sets adult ...] [--results FILE.jsonl]

"Share in trials" is the part of all core-seconds, from the start of the process to the deadline, in which a
worker fitted or predicted for a trial that the ledger holds; "with refits" adds the fits of the chosen
pipelines on all rows at the end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from runs import Table, busyness, fit, machine, markdown, tables

HEADER = [
    "set",
    "share in trials",
    "with refits",
    "first model, s",
    "search ends, s",
    "trials a minute",
    "peak GiB",
    "wall / budget",
]


def measure(table: Table, seconds: float) -> dict[str, Any]:
    """Returns one row of the table."""
    with tempfile.TemporaryDirectory() as scratch:
        run = fit(table, seconds, Path(scratch, "run"))
        if run.model is None:
            raise SystemExit(f"{table.name}: no model, exit code {run.code}\n{run.output}")
        busy = busyness(Path(scratch, "run"), seconds)
    return {"set": table.name, "budget_s": seconds, "wall_s": run.seconds, "peak_gib": run.peak_gib} | busy


def shown(row: dict[str, Any]) -> list[str]:
    """Returns the cells of a row in the order of HEADER."""
    return [
        row["set"],
        f"{row['share']:.0%}",
        f"{row['share_with_refits']:.0%}",
        f"{row['first_s']:.1f}",
        f"{row['last_s']:.0f}",
        f"{row['trials_a_minute']:.1f}",
        f"{row['peak_gib']:.2f}",
        f"{row['wall_s'] / row['budget_s']:.3f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--results", type=Path, help="append one JSON line a set")
    arguments = parser.parse_args()
    rows = []
    for table in tables(arguments.folder, arguments.sets):
        rows.append(measure(table, arguments.seconds))
        print(" ".join(shown(rows[-1])), flush=True)
        if arguments.results:
            with arguments.results.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    print(f"\n{machine()}, {arguments.seconds:g} s\n")
    print(markdown(HEADER, [shown(row) for row in rows]))


if __name__ == "__main__":
    main()
