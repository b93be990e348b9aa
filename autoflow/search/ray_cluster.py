"""Starting Ray on this machine or joining a cluster, and cleaning up after either.

A Ray of ours listens on the loopback interface only and asks for a token, so that nobody else on the machine
or in the network can give it work; it lives as long as the command.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from autoflow.errors import MachineError

_REACH_SECONDS = 5.0


@dataclass(frozen=True)
class Cluster:
    """A running Ray, joined or started by `start_ray`.

    Args:
        started_here: whether closing should stop it.
        cores: that the whole cluster has.
        processes: process ids and creation times of what was started here.
    """

    started_here: bool
    cores: int
    processes: tuple[tuple[int, float], ...] = ()


def start_ray(num_cpus: int, address: str | None) -> Cluster:
    """Starts Ray on this machine, or joins the cluster at `address`, or uses the one already joined.

    Must be called on a thread that outlives the cluster: Ray's processes end with the thread that started
    them.

    Raises:
        MachineError: Ray does not start, or the cluster has fewer than `num_cpus` cores.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is not None:
        _check_reachable(address)
    before = set(psutil.Process().children(recursive=True))
    with _sheltered() if address is None else contextlib.nullcontext():
        import ray

        started = not ray.is_initialized()
        try:
            if started:
                _initialise(num_cpus, address)
        except Exception as error:
            place = f"cluster {address} cannot be joined" if address else "Ray does not start on this machine"
            raise MachineError(f"{place}: {last_line(error)}") from error
    cores = int(ray.cluster_resources().get("CPU", 0))
    if cores < num_cpus:
        if started:
            ray.shutdown()
        raise MachineError(
            f"the cluster has {cores} cores, but {num_cpus} are asked for; ask for fewer with --workers"
        )
    after = set(psutil.Process().children(recursive=True)) - before
    return Cluster(started, cores, tuple((process.pid, process.create_time()) for process in after))


def _initialise(num_cpus: int, address: str | None) -> None:
    import ray

    with _quiet_output():
        if address is not None:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
            return
        ray.init(
            address="local",  # a stale or foreign cluster on this machine is none of ours
            num_cpus=num_cpus,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            object_store_memory=_object_store_bytes(),
            _node_ip_address="127.0.0.1",
        )


def _check_reachable(address: str) -> None:
    """Raises MachineError where nothing listens: Ray would wait a minute and then end this process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS).close()
    except OSError as error:
        raise MachineError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); check --ray-address"
        ) from error


def stop_ray(cluster: Cluster) -> None:
    """Stops what `start_ray` started."""
    import ray

    if cluster.started_here:
        ray.shutdown()


def sweep(processes: list[list[float]], cache_name: str) -> None:
    """Ends what a killed driver left behind on this machine.

    Args:
        processes: process ids and creation times of its Ray.
        cache_name: of its prepared features; empty for none.
    """
    if processes and cache_name and Path(cache_name).name == cache_name:  # a file may be anybody's
        shutil.rmtree(cache_folder(cache_name), ignore_errors=True)
    for pid, created in processes:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(int(pid))
            if abs(process.create_time() - created) < 1:
                process.kill()


def available_cores() -> int:
    """Returns the cores that this process may use: affinity and the container's quota, not the machine's."""
    cores = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def cache_folder(name: str) -> Path:
    """Returns this machine's folder for the prepared features of a run."""
    return Path(tempfile.gettempdir()) / f"autoflow-{os.getuid()}-{name}"


@contextlib.contextmanager
def _sheltered() -> Iterator[None]:
    """Sets what Ray reads when it is imported and started; a cluster joined later must not see it."""
    wanted = {
        # otherwise Ray takes the loopback address for a mistake and puts the network's in its place
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _token(),
    }
    wanted = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name in wanted:
            os.environ.pop(name, None)


@functools.cache
def _token() -> str:
    """Returns one token a process: Ray remembers the first that it saw."""
    return secrets.token_hex(32)


@contextlib.contextmanager
def _quiet_output() -> Iterator[None]:
    """Keeps Ray's start-up chatter off the terminal; its errors arrive as exceptions."""
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield


def _object_store_bytes() -> int:
    return int(min(2 * 2**30, max(256 * 2**20, psutil.virtual_memory().available * 0.15)))


def last_line(error: BaseException) -> str:
    """Returns what a person needs of an error of Ray, whose text begins with a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
