"""Measures how an engine of trials that only wait scales over the nodes of a cluster on this machine.

    python benchmarks/cluster.py [--nodes 1 2 4 8 16] [--seconds 1.0] [--trials 20]

Each node has one core, so one worker, and every trial sleeps: what is short of linear is the cost of Ray, of
the study's loop, of the sampler and of the ledger. The driver's part of it is printed for each trial.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from runs import machine, markdown

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.cluster_utils import Cluster

from autoflow.budget import Budget
from autoflow.components.discovery import discover
from autoflow.data.schema import ColumnKind, ColumnProfile, DataProfile
from autoflow.search.costs import FinishCosts
from autoflow.search.ledger import Ledger
from autoflow.search.members import MemberChooser
from autoflow.search.ray_pool import RayPool
from autoflow.search.ray_worker import RayWorker
from autoflow.search.sampler import Sampler
from autoflow.search.study import Study
from autoflow.search.trial import Outcome, TrialJob, TrialResult

_HELD_OUT = 400
_PROFILE = DataProfile(
    2_000,
    (1_200, 800),
    tuple(ColumnProfile(f"c{number}", ColumnKind.NUMERIC, 60, 0.1) for number in range(10)),
)


class WaitingWorker(RayWorker):
    """A worker whose trials sleep; it takes no data and imports nothing for them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def begin(self, experiment: object) -> int:
        """Takes nothing; returns the process id."""
        return os.getpid()

    def evaluate(self, job: TrialJob) -> TrialResult:
        """Waits and makes up held-out probabilities of its own."""
        time.sleep(self._seconds)
        generator = np.random.default_rng(job.seed)
        shares = generator.dirichlet((2.0, 2.0), _HELD_OUT).astype(np.float32)
        loss = float(-np.log(shares[np.arange(_HELD_OUT), np.arange(_HELD_OUT) % 2]).mean())
        return TrialResult(
            job.number,
            job.spec,
            Outcome.FINISHED,
            loss,
            loss,
            self._seconds,
            probabilities=shares,
            artifact=b"",
        )


class WaitingPool(RayPool):
    """A pool of workers whose trials sleep for `cache_name` seconds."""

    def _new_actor(self) -> object:
        actor = ray.remote(WaitingWorker).options(num_cpus=1, max_restarts=0, max_task_retries=0)
        return actor.remote(float(self.session))


def measured(num_nodes: int, seconds: float, trials: int) -> tuple[float, float]:
    """Returns trials a second, and the driver's CPU milliseconds a trial, with `trials` a node."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(num_nodes - 1):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        pool = WaitingPool(num_nodes, 1, (), str(seconds))
        pool.begin(None, lambda: False)  # type: ignore[arg-type]
        with tempfile.TemporaryDirectory() as folder:
            study = _study(pool, Path(folder), num_nodes * trials)
            started, used = time.perf_counter(), time.process_time()
            study.run()
            wall, used = time.perf_counter() - started, time.process_time() - used
        num_finished = sum(result.finished for result in study.results)
        pool.close()
    finally:
        ray.shutdown()
        cluster.shutdown()
    return num_finished / wall, 1e3 * used / num_finished


def _study(pool: RayPool, folder: Path, num_trials: int) -> Study:
    labels = np.arange(_HELD_OUT, dtype=np.int32) % 2
    ledger = Ledger(folder, {"data": "waiting"})
    return Study(
        pool=pool,
        sampler=Sampler(_PROFILE, 0),
        ledger=ledger,
        chooser=MemberChooser(ledger, labels, 2, "log_loss", 0),
        budget=Budget(3_600.0),
        costs=FinishCosts(0.0, 0.0, 0.0),
        metric="log_loss",
        seed=0,
        max_trials=num_trials,
        recipes=[],
        observer=lambda event: None,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--seconds", type=float, default=1.0, help="that a trial waits")
    parser.add_argument("--trials", type=int, default=20, help="for each node")
    arguments = parser.parse_args()
    discover()
    import keras_tuner  # noqa: F401  # a search pays for it before its first trial

    rows, rate_of_one = [], float("nan")
    for num_nodes in arguments.nodes:
        rate, cost = measured(num_nodes, arguments.seconds, arguments.trials)
        rate_of_one = rate / num_nodes if not rate_of_one > 0 else rate_of_one
        rows.append([str(num_nodes), f"{rate:.2f}", f"{rate / (num_nodes * rate_of_one):.3f}", f"{cost:.1f}"])
        print(f"{num_nodes} nodes: {rows[-1][1:]}", flush=True)
    print(f"\n{machine()}, trials of {arguments.seconds:g} s, {arguments.trials} a node\n")
    print(markdown(["nodes", "trials a second", "of linear", "driver's CPU ms a trial"], rows))


if __name__ == "__main__":
    main()
