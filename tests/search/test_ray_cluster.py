"""What becomes of signals and sockets where Ray starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from autoflow.search.ray_cluster import _in_groups_of_their_own, _not_listening

DRIVER = """
import contextlib, os, secrets
from pathlib import Path
from autoflow.search.leftovers import Watcher, marked, scratch_folder
from autoflow.search.ray_cluster import start_ray, stop_ray

class Environment:
    def names(self):
        return list(os.environ)

name = secrets.token_hex(4)
scratch_folder(name).mkdir(mode=0o700)
watcher = Watcher(name)
cluster = start_ray(1, None, name)
import ray
names = ray.get(ray.remote(Environment).remote().names.remote())
started = ""
for process in marked(name):
    with contextlib.suppress(OSError):  # one that has ended since
        started += Path("/proc", str(process), "cmdline").read_text()
assert "ray::" in started and not any(script in started for script in ("dashboard.py", "monitor.py"))
stop_ray(cluster)
watcher.close()
assert "GRPC_EXPERIMENTS" not in os.environ
assert "RAY_AUTH_TOKEN" in names and "GRPC_EXPERIMENTS" not in names
print([os.readlink(descriptor) for descriptor in Path("/proc/self/fd").iterdir() if descriptor.is_socket()])
"""


def _group_of_a_child() -> int:
    """Returns the group of a process started as Ray starts its own."""
    child = subprocess.Popen(["sleep", "1000"], preexec_fn=lambda: None)
    try:
        return os.getpgid(child.pid)
    finally:
        child.kill()
        child.wait()


def test_what_ray_starts_is_out_of_reach_of_signals_to_our_group() -> None:
    with _in_groups_of_their_own():
        assert _group_of_a_child() != os.getpgid(0)
    assert _group_of_a_child() == os.getpgid(0)


def test_ray_takes_no_signal_over_while_it_starts() -> None:
    import ray._private.utils as utils

    before = signal.getsignal(signal.SIGTERM)
    try:
        with _not_listening():
            utils.set_sigterm_handler(signal.SIG_IGN)
            assert signal.getsignal(signal.SIGTERM) is before
        utils.set_sigterm_handler(signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("before", ["", "import ray"])
def test_ray_starts_whoever_imported_it_without_onlookers_and_leaves_no_socket(before: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    done = subprocess.run(
        [sys.executable, "-c", before + DRIVER], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
