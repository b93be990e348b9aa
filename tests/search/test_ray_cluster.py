"""What becomes of signals and sockets where Ray starts, without starting it."""

from __future__ import annotations

import os
import signal
import subprocess

from autoflow.search.ray_cluster import _in_groups_of_their_own, _not_listening


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
