"""Durations and deadlines."""

import subprocess
import sys
import time

import pytest

from autoflow.budget import Budget, format_duration, parse_duration
from autoflow.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("2d", 172800),
        (" 1m 30s ", 90),
        (45, 45),
    ],
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "5 minutes", "-5m", "0", "1h-5m", "m5", float("nan"), float("inf"), -1]
)
def test_other_texts_are_refused(text):
    with pytest.raises(UsageError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0s"), (8.31, "8.3s"), (45.4, "45s"), (302, "5m 02s"), (5400, "1h 30m"), (-3, "0.0s")],
)
def test_durations_are_shown_short(seconds, text):
    assert format_duration(seconds) == text


def test_a_budget_counts_down():
    budget = Budget(100.0)
    assert 99 < budget.remaining() <= 100
    assert Budget(100.0, budget.started - 40).elapsed() == pytest.approx(40, abs=1)


def test_the_budget_of_a_process_began_when_it_did():
    began = time.monotonic()
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import time; time.sleep(0.5)\n"
            "from autoflow.budget import Budget; print(Budget.since_process_start(60.0).started)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(told.stdout) == pytest.approx(began, abs=0.2)
