"""Runs `autoflow fit` on a large made-up table and measures what it takes in time and memory.

    python benchmarks/scale.py [--rows 1000000] [--columns 50] [--classes 3] [--seconds 600]

Memory is what `runs.Memory` sees.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from runs import Memory, machine, markdown

_NOISE = 1.0


def made_up(num_rows: int, num_columns: int, num_classes: int) -> pa.Table:
    """Returns a labelled table: of ten columns six are numbers, three categories, one is a date."""
    generator = np.random.default_rng(0)
    logits = np.zeros((num_rows, num_classes))
    columns: dict[str, pa.Array] = {}
    for position in range(num_columns):
        name, kind = f"c{position}", position % 10
        if kind < 6:
            values = generator.normal(size=num_rows)
            effect = np.tanh(values * generator.uniform(0.5, 2))
            missing = generator.random(num_rows) < 0.05
            columns[name] = pa.array(values.round(4), mask=missing)
        elif kind < 9:
            cardinality = int(10 ** generator.uniform(0.5, 4.6))
            codes = (generator.random(num_rows) ** 2 * cardinality).astype(np.int64)
            effect = generator.normal(size=cardinality)[codes]
            words = pa.array([f"{name}-{code}" for code in range(cardinality)])
            columns[name] = pa.DictionaryArray.from_arrays(pa.array(codes), words).dictionary_decode()
        else:
            seconds = generator.integers(1_500_000_000, 1_700_000_000, num_rows)
            effect = np.sin(seconds / 86_400 / 365 * 2 * np.pi)
            columns[name] = pa.array(seconds, pa.timestamp("s"))
        logits += effect[:, None] * generator.normal(size=num_classes) / np.sqrt(num_columns / 4)
    chosen = (logits + _NOISE * generator.gumbel(size=logits.shape)).argmax(axis=1)
    columns["label"] = pa.array([f"class {code}" for code in range(num_classes)]).take(pa.array(chosen))
    return pa.table(columns)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=600)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        table = made_up(arguments.rows, arguments.columns, arguments.classes)
        pyarrow.csv.write_csv(table, folder / "train.csv")
        command = [sys.executable, "-m", "autoflow.cli", "fit", str(folder / "train.csv"), "--label", "label"]
        command += ["--time-budget", f"{arguments.seconds}s", "--output", str(folder / "run")]
        started, first = time.perf_counter(), float("nan")
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            memory = Memory(process.pid)
            memory.start()
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                if "(best so far)" in line and not first > 0:
                    first = time.perf_counter() - started
        wall = time.perf_counter() - started
        megabytes = (folder / "train.csv").stat().st_size / 1e6
    size = f"{arguments.rows:,} x {arguments.columns}, {megabytes:.0f} MB"
    cells = [size, str(arguments.classes), f"{first:.0f}", f"{wall / arguments.seconds:.3f}"]
    print(f"\n{machine()}, {arguments.seconds:g} s, exit code {process.returncode}\n")
    header = ["table", "classes", "first model, s", "wall / budget", "peak GiB"]
    print(markdown(header, [[*cells, f"{memory.peak_gib:.2f}"]]))


if __name__ == "__main__":
    main()
