"""Many fits one after the other in one process: what grows from fit to fit?"""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from fault_runs import Count

import autoflow

WARM = 20
GROWTH = 0.05


def fits(times: int) -> Count:
    """Fits a tiny table again and again; memory, descriptors, threads and folders must not grow."""
    count = Count("fits in one process", measured="MB, descriptors, threads, temporary files after each fit")
    generator = np.random.default_rng(0)
    values = generator.normal(size=(60, 2))
    table = pd.DataFrame({"a": values[:, 0], "b": values[:, 1], "kind": np.where(values[:, 0] > 0, "p", "n")})
    seen: list[tuple[float, ...]] = []
    with _own_temporary_folder() as folder:
        for number in range(times):
            autoflow.ModelBuilder(label="kind", max_trials=1, workers=1, time_budget="10m").fit(table)
            gc.collect()
            seen.append(_held(folder))
            count.runs += 1
            print(number, *(f"{figure:.4g}" for figure in seen[-1]), flush=True)
            count.good += len(seen) <= WARM or not _grown(seen[WARM - 1], seen[-1])
    if len(seen) > WARM:
        count.notes += _grown(seen[WARM - 1], seen[-1])
    for figures in seen[:: max(1, times // 10)] + seen[-1:]:
        count.figures += figures
    return count


@contextlib.contextmanager
def _own_temporary_folder() -> Iterator[Path]:
    """Gives a folder in which all temporary files of this process lie; Ray's sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="", dir="/tmp") as folder:
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = None
            del os.environ["TMPDIR"]


def _held(folder: Path) -> tuple[float, ...]:
    """Returns megabytes, descriptors, threads, and the number of temporary files."""
    process = psutil.Process()
    return (
        process.memory_info().rss / 1e6,
        process.num_fds(),
        process.num_threads(),
        len(list(folder.iterdir())),
    )


def _grown(before: tuple[float, ...], now: tuple[float, ...]) -> list[str]:
    names = ("memory", "descriptors", "threads", "temporary folders")
    return [
        f"{name}: {first:.4g}, then {last:.4g}"
        for name, first, last in zip(names, before, now, strict=True)
        if last > first * (1 + GROWTH)
    ]
