"""Prints how busy the searches of `accuracy.py` kept the machine.

    python benchmarks/efficiency.py RESULTS.jsonl

"Share in trials" is the part of all core-seconds, from the start of the process to the deadline, in which a
worker fitted or predicted for a trial that the ledger holds; "with refits" adds the fits of the chosen
pipelines on all rows.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from runs import markdown

HEADER = {
    "set": "set",
    "share": "share in trials",
    "share_with_refits": "with refits",
    "first_s": "first model, s",
    "last_s": "search ends, s",
    "trials_a_minute": "trials a minute",
    "peak_gib": "peak GiB",
    "wall": "wall / budget",
}
FORMATS = ("{}", "{:.0%}", "{:.0%}", "{:.1f}", "{:.0f}", "{:.1f}", "{:.2f}", "{:.3f}")


def shown(row: dict[str, Any]) -> list[str]:
    """Returns the cells of a row in the order of HEADER."""
    return [text.format(row[key]) for text, key in zip(FORMATS, HEADER, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    lines = parser.parse_args().results.read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if "share" in row]
    for row in rows:
        row["wall"] = row["wall_s"] / row["budget_s"]
    middle = {key: np.median([row[key] for row in rows]) for key in HEADER if key != "set"}
    print(markdown(list(HEADER.values()), [shown(row) for row in [*rows, {"set": "median"} | middle]]))


if __name__ == "__main__":
    main()
