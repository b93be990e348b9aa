"""Many fits one after the other in one process: what grows from fit to fit?"""

from __future__ import annotations

import gc
import os
import tempfile
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
    for number in range(times):
        autoflow.ModelBuilder(label="kind", max_trials=1, workers=1, time_budget="10m").fit(table)
        gc.collect()
        seen.append(_held())
        count.runs += 1
        print(number, *(f"{figure:.4g}" for figure in seen[-1]), flush=True)
        count.good += len(seen) <= WARM or not _grown(seen[WARM - 1], seen[-1])
    if len(seen) > WARM:
        count.notes += _grown(seen[WARM - 1], seen[-1])
    for figures in seen[:: max(1, times // 10)] + seen[-1:]:
        count.figures += figures
    return count


def _held() -> tuple[float, ...]:
    """Returns megabytes, descriptors, threads, and files of ours among the temporary ones."""
    process = psutil.Process()
    folders = [
        *Path(tempfile.gettempdir()).glob(f"autoflow-{os.getuid()}-*"),
        *Path("/tmp").glob("ray/session_2*"),
    ]
    return process.memory_info().rss / 1e6, process.num_fds(), process.num_threads(), len(folders)


def _grown(before: tuple[float, ...], now: tuple[float, ...]) -> list[str]:
    names = ("memory", "descriptors", "threads", "temporary folders")
    return [
        f"{name}: {first:.4g}, then {last:.4g}"
        for name, first, last in zip(names, before, now, strict=True)
        if last > first * (1 + GROWTH)
    ]
