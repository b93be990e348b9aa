"""A ledger whose bytes changed is refused in one line, or reads as it was written."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from test_ledger import SETTINGS, entry

from autoflow.errors import AutoFlowError, MachineError
from autoflow.search.ledger import Ledger

POSITIONS = 600


@pytest.fixture
def run(tmp_path: Path) -> Path:
    ledger = Ledger(tmp_path / "run", SETTINGS)
    for number in range(3):
        ledger.record(entry(number))
    ledger.remember("model", {"version": "1"})
    ledger.close()
    return tmp_path / "run"


def _content(folder: Path) -> object:
    ledger = Ledger(folder, SETTINGS)
    try:
        entries = [(each.proposal, vars(each.result), each.elapsed) for each in ledger.entries()]
        return repr(entries), ledger.setting("model"), ledger.artifact(0)
    finally:
        ledger.close()


def test_a_flipped_bit_is_refused_or_harmless(run: Path) -> None:
    path = run / "ledger.sqlite"
    written, expected = path.read_bytes(), _content(run)
    refused = {}
    step = max(1, len(written) // POSITIONS)
    for position in range(0, len(written), step):
        flipped = bytearray(written)
        flipped[position] ^= 1 << position // step % 8
        path.write_bytes(flipped)
        try:
            assert _content(run) == expected, f"byte {position} changed what is read"
        except AutoFlowError as error:
            refused[position] = str(error)
    assert len(refused) > POSITIONS / 20
    assert all(str(run) in message and "\n" not in message for message in refused.values())
    path.write_bytes(written)
    assert _content(run) == expected


def test_a_ledger_that_was_cut_off_is_refused(run: Path) -> None:
    path = run / "ledger.sqlite"
    written = path.read_bytes()
    for length in range(0, len(written), 499):
        path.write_bytes(written[:length])
        with pytest.raises(MachineError, match=r"ledger\.sqlite is damaged: .*--output"):
            Ledger(run, SETTINGS)


def test_rows_that_changed_or_went_away_are_noticed(run: Path) -> None:
    for change in (
        "DELETE FROM trials WHERE number = 1",
        "UPDATE trials SET score = 0.25 WHERE number = 2",
        "DELETE FROM settings",
        "DELETE FROM seal",
        "DELETE FROM trials; DELETE FROM settings",
    ):
        copy = run.with_name("copy")
        shutil.copytree(run, copy)
        with sqlite3.connect(copy / "ledger.sqlite") as database:
            database.executescript(change)
        database.close()
        with pytest.raises(MachineError, match="is damaged"):
            Ledger(copy, SETTINGS)
        shutil.rmtree(copy)


def test_a_trial_without_a_plain_score_is_read_as_it_was_written(run: Path) -> None:
    ledger = Ledger(run, SETTINGS)
    original = entry(3)
    result = type(original.result)(
        3, original.result.spec, original.result.outcome, -0.0, 1, 2, message="\ud800 \0 odd"
    )
    ledger.record(type(original)(original.proposal, result, 7))
    ledger.close()
    ledger = Ledger(run, SETTINGS)
    assert (ledger.entries()[3].result.score, ledger.entries()[3].elapsed) == (0.0, 7.0)
    ledger.close()
