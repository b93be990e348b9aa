"""Starting Ray on this machine or joining a cluster, and cleaning up after either.

A Ray of ours listens on the loopback interface only and asks for a token, so that nobody else on the machine
or in the network can give it work; it lives as long as the command.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import secrets
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from autoflow.errors import MachineError
from autoflow.machine import available_bytes
from autoflow.search.leftovers import MARK, scratch_folder

_REACH_SECONDS = 5.0
_starting = threading.Event()
"""Set while Ray starts its processes."""


@dataclass(frozen=True)
class Cluster:
    """A running Ray, joined or started by `start_ray`.

    Args:
        started_here: whether closing should stop it.
        cores: that the whole cluster has.
    """

    started_here: bool
    cores: int


def start_ray(num_cpus: int, address: str | None, session: str) -> Cluster:
    """Starts Ray on this machine, or joins the cluster at `address`, or uses the one already joined.

    What is started here carries the name of the session and has its files in the session's scratch folder.
    Must be called on a thread that outlives the cluster: Ray's processes end with the thread that started
    them.

    Raises:
        MachineError: Ray does not start, or the cluster has fewer than `num_cpus` cores.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is not None:
        _check_reachable(address)
    imported_before = "ray" in sys.modules
    with _sheltered(session) if address is None else contextlib.nullcontext():
        import ray

        started = not ray.is_initialized()
        try:
            if started:
                _let_sockets_be_closed()
                if imported_before and address is None:
                    _ask_for_token()
                _initialise(num_cpus, address, session)
                _let_ray_print(False)
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
    return Cluster(started, cores)


def _initialise(num_cpus: int, address: str | None, session: str) -> None:
    import ray

    with _quiet_output():
        if address is not None:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
            return
        with _in_groups_of_their_own(), _not_listening(), _without_onlookers():
            ray.init(
                address="local",  # a stale or foreign cluster on this machine is none of ours
                num_cpus=num_cpus,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                object_store_memory=_object_store_bytes(),
                _node_ip_address="127.0.0.1",
                # Ray opens its folder to everybody, so it lies in one that is private
                _temp_dir=str(scratch_folder(session) / "ray"),
            )


def _ask_for_token() -> None:
    """Sets what Ray has read already where somebody imported it before us; without, it would not start."""
    from ray._raylet import Config  # type: ignore[attr-defined]  # it is compiled

    Config.initialize(json.dumps({"AUTH_MODE": "token"}))


@functools.cache
def _let_sockets_be_closed() -> None:
    """Chooses the later of the two engines that gRPC has for the connections of this process.

    With the other one, which Ray's build of gRPC prefers, each Ray that this process leaves keeps a socket
    open. gRPC reads the choice when the first channel is made, so one is made, to nowhere; Ray's processes,
    which inherit the environment when they are started, do not get to see it.
    """
    import ray._raylet

    open_channel = getattr(ray._raylet, "GcsErrorSubscriber", None)
    if open_channel is None:  # a Ray without it keeps its sockets, which is no reason not to search
        return
    name = "GRPC_EXPERIMENTS"
    before = os.environ.get(name)
    os.environ[name] = ",".join(filter(None, (before, "event_engine_client")))
    try:
        open_channel(address="127.0.0.1:1")
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _let_ray_print(wanted: bool) -> None:
    """Says whether Ray may tell of dead workers on standard output, as `log_to_driver` does not keep it from.

    The study tells of them in the sentence of the trial. There is no option; Ray's debugger does the same.
    """
    import ray._private.worker

    ray._private.worker._worker_logs_enabled = wanted


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
        _let_ray_print(True)


@contextlib.contextmanager
def _sheltered(session: str) -> Iterator[None]:
    """Sets what Ray reads when it is imported and started; a cluster joined later must not see it."""
    wanted = {
        # otherwise Ray takes the loopback address for a mistake and puts the network's in its place
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _token(),
    }
    wanted = {name: value for name, value in wanted.items() if name not in os.environ}
    wanted |= {MARK: session, "TMPDIR": str(scratch_folder(session))}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _in_groups_of_their_own() -> Iterator[None]:
    """Lets each process that Ray starts meanwhile lead a process group, which those that it starts are in.

    A terminal and `timeout` send signals to the whole group of the command. It decides itself how to end:
    with Ray ended beside it there is no model, and a start that waits for the ended Ray lasts a minute, after
    which Ray ends the command with a line of its own.
    """
    _listen_to_forks()
    _starting.set()
    try:
        yield
    finally:
        _starting.clear()


@functools.cache
def _listen_to_forks() -> None:
    """Ray runs a function of its own between fork and exec, so Python calls this one there, too."""
    os.register_at_fork(after_in_child=lambda: os.setpgid(0, 0) if _starting.is_set() else None)


@contextlib.contextmanager
def _not_listening() -> Iterator[None]:
    """Keeps Ray from answering a SIGTERM to this process itself while it starts.

    It would end its own processes and then wait for them, or be aborted. There is no option.
    """
    import ray._private.utils as utils

    before = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = before


@contextlib.contextmanager
def _without_onlookers() -> Iterator[None]:
    """Keeps Ray from starting what nobody here looks at: its dashboard, its reader of logs, its autoscaler.

    These are Python processes of two core-seconds together, beside which workers start two seconds later on
    two cores, and there is no option for any of them. A Ray with all its extras notes every second, in the
    session's scratch folder, that it does not find its dashboard.
    """
    from ray._private.node import Node

    with contextlib.ExitStack() as stack:
        for name in ("start_api_server", "start_log_monitor", "start_monitor"):
            if hasattr(Node, name):  # its private methods may have other names one day
                stack.callback(setattr, Node, name, getattr(Node, name))
                setattr(Node, name, lambda node, **options: None)
        yield


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
    return int(min(2 * 2**30, max(256 * 2**20, available_bytes() * 0.15)))


def last_line(error: BaseException) -> str:
    """Returns what a person needs of an error of Ray, whose text begins with a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
