"""Measures how a time budget is kept: whole processes, imports included.

    python benchmarks/budget.py DATA_FOLDER [--seconds 20 60 300] [--sets adult ...] [--results FILE.jsonl]

Prints a table: wall seconds of `autoflow fit` over the budget given, and whether a model came out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from runs import fit, machine, markdown, tables


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, nargs="+", default=[20, 60, 300])
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--results", type=Path, help="append one JSON line a run")
    arguments = parser.parse_args()
    rows = []
    for table in tables(arguments.folder, arguments.sets):
        for seconds in arguments.seconds:
            with tempfile.TemporaryDirectory() as scratch:
                run = fit(table, seconds, Path(scratch, "run"))
            ratio = run.seconds / seconds
            rows.append(
                [
                    table.name,
                    f"{seconds:g}",
                    f"{run.seconds:.1f}",
                    f"{ratio:.3f}",
                    "yes" if run.model else "NO",
                ]
            )
            print(" ".join(rows[-1]), flush=True)
            if arguments.results:
                record = {"set": table.name, "budget_s": seconds, "wall_s": run.seconds, "code": run.code}
                with arguments.results.open("a") as file:
                    file.write(json.dumps(record) + "\n")
    print(f"\n{machine()}\n")
    print(markdown(["set", "budget (s)", "wall (s)", "wall / budget", "model"], rows))
    worst = max(float(row[3]) for row in rows)
    print(f"\nworst ratio {worst:.3f}, models in {sum(row[4] == 'yes' for row in rows)} of {len(rows)} runs")


if __name__ == "__main__":
    main()
