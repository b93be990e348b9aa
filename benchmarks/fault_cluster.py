"""Faults of a cluster, on several nodes of this machine: nodes that are lost, and room that is not there."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fault_runs import LONGEST_SECONDS, NUM_TRIALS, Count, ended, new_run, run_for, wait_for

from autoflow.manifest import versions_in

ASK_SECONDS = 10.0
WATCHDOG_SECONDS = 120.0


@contextlib.contextmanager
def cluster_of(head_cores: int, *other_cores: int) -> Iterator[tuple[Any, list[Any]]]:
    """Gives a cluster, whose head is never lost, and its other nodes."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": head_cores, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    try:
        nodes = [cluster.add_node(num_cpus=cores) for cores in other_cores]
        cluster.wait_for_nodes()
        yield cluster, nodes
    finally:
        cluster.shutdown()


class ClusterFaults:
    """The faults, each a method that takes how often and returns a count.

    Args:
        data: the table.
        budget: seconds of a whole search.
        seed: of the random choices.
    """

    def __init__(self, data: Path, budget: float, seed: int) -> None:
        self.data, self.budget = data, budget
        self.random = random.Random(seed)

    def losses(self, times: int, seconds: float) -> Count:
        """Loses one of two nodes beside the head again and again, and adds another one in its place."""
        count = Count(
            "a node of three lost and another added", measured="nodes lost, trials, trials without a score"
        )
        length = f"{self.budget + times * seconds}s"
        with cluster_of(1, 1, 1) as (cluster, nodes):
            options = ("--ray-address", cluster.address, "--workers", "3", "--time-budget", length)
            with new_run(self.data, *options) as run:
                run.start()
                wait_for(run, run.told, 4 * self.budget)
                lost, next_loss = 0, time.monotonic()
                while lost < times and run_for(run, max(0.0, next_loss - time.monotonic()), kill=False):
                    next_loss = time.monotonic() + seconds
                    cluster.remove_node(nodes.pop(self.random.randrange(len(nodes))), allow_graceful=False)
                    lost += 1
                    nodes.append(cluster.add_node(num_cpus=1))
                code = run.wait(LONGEST_SECONDS)
                trials = run.trials()
                without = sum("FINISHED" not in row for row in trials.values())
                wrong = ended(run, code) + [f"{lost} of {times} nodes were lost"] * (lost < times)
                told = re.findall(r"\] trial (\d+)", run.log())
                # those that the end of the time cut off are told and not recorded
                wrong += ["trials are missing"] * (sorted(run.told()) != list(range(len(run.told()))))
                count.figures += [lost, len(trials), without]
                count.add(
                    run, wrong, lost=len(trials.keys() - run.told()), repeated=len(told) - len(set(told))
                )
        return count

    def shrinks(self, times: int) -> Count:
        """Takes away the only node with cores; once it is back the same command goes on."""
        count = Count("a cluster without room left, then resumed", measured="seconds to the end")
        for _ in range(times):
            with cluster_of(0, 1) as (cluster, nodes):
                options = ("--ray-address", cluster.address, "--workers", "1", "--time-budget", "30m")
                with new_run(self.data, *options, "--max-trials", str(NUM_TRIALS)) as run:
                    run.start()
                    wait_for(run, run.told, 4 * self.budget)
                    cluster.remove_node(nodes.pop(), allow_graceful=False)
                    started = time.monotonic()
                    code = run.wait(LONGEST_SECONDS)
                    took = time.monotonic() - started
                    wrong = [f"exit code {code}"] * (code != 5)
                    wrong += [f"it took {took:.0f} s"] * (took > WATCHDOG_SECONDS)
                    wrong += ["no word of the cluster"] * ("the cluster has 0 cores left" not in run.log())
                    before = run.trials()
                    cluster.add_node(num_cpus=1)
                    cluster.wait_for_nodes()
                    run.start()
                    wrong += ended(run, run.wait(LONGEST_SECONDS))
                    after = run.trials()
                    count.figures.append(took)
                    count.add(run, wrong, lost=sum(after.get(key) != row for key, row in before.items()))
        return count

    def asks(self, times: int) -> Count:
        """Asks for more cores than the cluster has."""
        count = Count("more asked for than the cluster has", measured="seconds to the end")
        with cluster_of(1, 1) as (cluster, _):
            for _ in range(times):
                with new_run(self.data, "--ray-address", cluster.address, "--workers", "9") as run:
                    started = time.monotonic()
                    run.start()
                    code = run.wait(LONGEST_SECONDS)
                    took = time.monotonic() - started
                    wrong = [f"exit code {code}"] * (code != 5)
                    wrong += [f"it took {took:.0f} s"] * (took > ASK_SECONDS)
                    wrong += ["it is not said what there is"] * ("the cluster has 2 cores" not in run.log())
                    wrong += ["a model"] * bool(versions_in(run.folder / "model"))
                    count.figures.append(took)
                    count.add(run, wrong)
        return count
