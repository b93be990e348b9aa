"""Measures what exported models cost to serve, each in a process of its own that knows TensorFlow alone.

    python benchmarks/serving.py DATA_FOLDER RUNS [--sets adult ...] [--peers PEERS.jsonl]
                                 [--results FILE.jsonl]

RUNS is a folder of `accuracy.py --keep`: one run folder a set. Rows are those of the test file, repeated to
10,000. Peers' medians come from a file of earlier runs (one JSON object a line: peer, ok, row_ms,
artefact_bytes, predict_s, n_test).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from runs import machine, markdown, tables

_ROWS, _BATCH, _SINGLE = 10_000, 1_000, 200
HEADER = ["set", "loading, s", "memory, MB", "one row, ms", "10,000 rows, rows a second", "MB"]


def served(model: Path, test: Path) -> dict[str, float]:
    """Returns what a model costs; run it where nothing else was done before.

    Args:
        model: exported version folder.
        test: CSV file with the raw columns.

    Returns:
        `load_s` until the first answer, `memory_mb` that this process took for it beside TensorFlow, `row_ms`
        (median of single rows), `rows_a_second` of batches of 1,000, and `mb` on disk.
    """
    import tensorflow as tf

    manifest = json.loads((model / "assets.extra/autoflow.json").read_text(encoding="utf-8"))
    frame = pd.read_csv(test, dtype=str, keep_default_na=False)
    columns = {each["key"]: _raw(frame[each["name"]], each, test.parent) for each in manifest["columns"]}
    before, started = psutil.Process().memory_info().rss, time.perf_counter()
    loaded = tf.saved_model.load(str(model))
    answer = loaded.signatures["serving_default"]

    def ask(rows: np.ndarray) -> float:
        inputs = {key: tf.constant(values[rows]) for key, values in columns.items()}
        began = time.perf_counter()
        answer(**inputs)["score"].numpy()
        return time.perf_counter() - began

    ask(np.arange(1))
    load_s = time.perf_counter() - started
    single = [ask(np.array([number % len(frame)])) for number in range(_SINGLE)]
    places = np.arange(_ROWS) % len(frame)
    ask(places[:_BATCH])
    batches = sum(ask(places[start : start + _BATCH]) for start in range(0, _ROWS, _BATCH))
    return {
        "load_s": load_s,
        "memory_mb": (psutil.Process().memory_info().rss - before) / 1e6,
        "row_ms": 1e3 * float(np.median(single[_SINGLE // 10 :])),
        "rows_a_second": _ROWS / batches,
        "mb": sum(path.stat().st_size for path in model.rglob("*") if path.is_file()) / 1e6,
    }


def _raw(values: pd.Series, column: dict[str, Any], folder: Path) -> np.ndarray:
    if column["kind"] == "image":
        return np.array([(folder / name).read_bytes() for name in values], object)
    if column["raw_type"] == "string":
        return values.to_numpy(object)
    return pd.to_numeric(values, errors="coerce").to_numpy(column["raw_type"])


def peers_rows(peers: Path) -> list[list[str]]:
    """Returns a row of medians for each peer."""
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in map(json.loads, peers.read_text(encoding="utf-8").splitlines()):
        if row["ok"]:
            runs[row["peer"]].append(row)
    rows = []
    for peer, own in sorted(runs.items()):
        row_ms, size = (np.median([row[key] for row in own]) for key in ("row_ms", "artefact_bytes"))
        rate = np.median([row["n_test"] / row["predict_s"] for row in own])
        name = f"{peer}, median of {len(own)}"
        rows.append([name, "", "", f"{row_ms:.2f}", f"{rate:,.0f}", f"{size / 1e6:.1f}"])
    return rows


def shown(row: dict[str, Any]) -> list[str]:
    """Returns the cells of a row in the order of HEADER."""
    figures = f"{row['load_s']:.1f}", f"{row['memory_mb']:.0f}", f"{row['row_ms']:.2f}"
    return [row["set"], *figures, f"{row['rows_a_second']:,.0f}", f"{row['mb']:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", type=Path, help="folder of kept run folders")
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--results", type=Path, help="append one JSON line a set")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    rows: list[dict[str, Any]] = []
    for table in tables(arguments.folder, arguments.sets):
        versions = sorted(
            (arguments.runs / table.name / "model").glob("[0-9]*"), key=lambda path: int(path.name)
        )
        if not versions:
            continue
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as clean:
            rows.append({"set": table.name} | clean.submit(served, versions[-1], table.test).result())
        print(" ".join(shown(rows[-1])), flush=True)
        if arguments.results:
            with arguments.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    middle = {key: float(np.median([row[key] for row in rows])) for key in rows[0] if key != "set"}
    print(f"\n{machine()}\n")
    peers = peers_rows(arguments.peers) if arguments.peers else []
    print(markdown(HEADER, [*(shown(row) for row in [*rows, {"set": "median"} | middle]), *peers]))


if __name__ == "__main__":
    main()
