"""What a container allows is less than what the host has."""

import os

import psutil
import pytest

from autoflow import machine


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    return tmp_path


def test_without_limits_all_that_the_process_sees_is_available(cgroup):
    assert machine.available_cores() == len(os.sched_getaffinity(0))
    for name, text in (("cpu.max", "max 100000"), ("memory.max", "max")):
        (cgroup / name).write_text(text + "\n")
    assert machine.available_cores() == len(os.sched_getaffinity(0))
    assert machine.available_bytes() == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_a_container_is_the_limit(cgroup):
    (cgroup / "cpu.max").write_text("100000 100000\n")
    assert machine.available_cores() == 1
    (cgroup / "memory.max").write_text("3000000\n")
    (cgroup / "memory.current").write_text("2500000\n")
    (cgroup / "memory.stat").write_text("anon 1500000\ninactive_file 400000\n")
    assert machine.available_bytes() == 900_000
    (cgroup / "memory.current").write_text("9000000\n")
    assert machine.available_bytes() == 0
