"""Threads of all workers together are no more than the cores, and libraries keep to what a worker may use."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from autoflow.session import workers_and_threads


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("gigabytes", [0.5, 4, 24, 512])
def test_workers_times_threads_are_no_more_than_the_cores(cores: int, gigabytes: float) -> None:
    for asked in (None, 1, 2, cores):
        num_workers, num_threads = workers_and_threads(asked, cores, int(gigabytes * 1e9))
        assert num_workers == asked or asked is None
        assert num_workers >= 1
        assert num_threads >= 1
        if num_workers <= cores:
            assert num_workers * num_threads <= cores


def test_more_workers_than_cores_have_a_thread_each() -> None:
    assert workers_and_threads(5, 2, 10**11) == (5, 1)


def test_libraries_start_no_more_threads_than_a_worker_may_use() -> None:
    program = """
import json
import secrets
import ray
from autoflow.search.leftovers import Watcher, scratch_folder
from autoflow.search.ray_cluster import start_ray, stop_ray
from autoflow.search.ray_worker import RayWorker


class Looking(RayWorker):
    def pools(self):
        import numpy
        import scipy.linalg
        from threadpoolctl import threadpool_info

        return [pool["num_threads"] for pool in threadpool_info()]


name = secrets.token_hex(4)
scratch_folder(name).mkdir(mode=0o700)
watcher = Watcher(name)
cluster = start_ray(1, None, name)
worker = ray.remote(Looking).options(num_cpus=1).remote((), 1, name)
print(json.dumps(ray.get(worker.pools.remote())))
stop_ray(cluster)
watcher.close()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    pools = json.loads(ended.stdout.splitlines()[-1])
    assert len(pools) >= 3
    assert max(pools) == 1
