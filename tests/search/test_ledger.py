"""The run folder: durable, exclusive, and honest about damage."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from autoflow.components.discovery import discover
from autoflow.components.registry import Role, lookup
from autoflow.errors import MachineError, RunFolderInUseError, UsageError
from autoflow.pipeline.spec import Node, PipelineSpec
from autoflow.search.ledger import Ledger, LedgerEntry
from autoflow.search.sampler import Proposal
from autoflow.search.trial import Outcome, TrialResult

SETTINGS = {"data": "abc", "label": "kind", "metric": "log_loss", "seed": 0}


def entry(number=0):
    discover()
    spec = PipelineSpec(
        (Node("numeric", ("a", "b"), lookup(Role.FEATURE_EXTRACTION, "standardized")()),),
        lookup(Role.CONCATENATION, "plain_concat")(),
        lookup(Role.CLASSIFICATION, "majority")(),
    )
    result = TrialResult(
        number,
        spec,
        Outcome.FINISHED,
        0.5,
        0.5,
        1.5,
        12,
        probabilities=np.eye(3, dtype=np.float32),
        artifact=b"fitted",
    )
    return LedgerEntry(Proposal(spec, {"classification": "majority"}, {}, "portfolio"), result, 4.5)


def test_what_is_recorded_is_there_after_reopening(tmp_path):
    ledger = Ledger(tmp_path / "run", SETTINGS)
    written = entry()
    ledger.record(written)
    ledger.close()
    ledger = Ledger(tmp_path / "run", SETTINGS)
    (read,) = ledger.entries()
    assert read.proposal == written.proposal
    assert (read.result.score, read.result.iterations, read.elapsed) == (0.5, 12, 4.5)
    assert ledger.artifact(0) == b"fitted"
    assert np.array_equal(ledger.probabilities(0), np.eye(3))
    ledger.close()


def test_two_writers_never_share_a_folder(tmp_path):
    ledger = Ledger(tmp_path / "run", SETTINGS)
    with pytest.raises(RunFolderInUseError, match=f"process {os.getpid()}"):
        Ledger(tmp_path / "run", SETTINGS)
    ledger.close()
    Ledger(tmp_path / "run", SETTINGS).close()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    script = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from autoflow.search.ledger import Ledger
        Ledger(Path({str(tmp_path / "run")!r}), {SETTINGS!r})
        print("held", flush=True)
        time.sleep(60)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "held"
    with pytest.raises(RunFolderInUseError):
        Ledger(tmp_path / "run", SETTINGS)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    Ledger(tmp_path / "run", SETTINGS).close()


@pytest.mark.parametrize("key", ["data", "label", "metric", "seed"])
def test_a_folder_of_another_run_is_refused(tmp_path, key):
    Ledger(tmp_path / "run", SETTINGS).close()
    with pytest.raises(UsageError, match=f"its {key} was .*--output"):
        Ledger(tmp_path / "run", SETTINGS | {key: "other"})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"components": "9f86d081884c7d65"}, r"its component files \(--components\) were others"),
        ({"embeddings": ["9f86d081884c7d65"]}, "its models of --embedding were others"),
        ({"image_weights": [["MobileNetV2", "9f86d081884c7d65"]]}, r"\(--image-weights\) were others"),
        ({"data": "d2", "seed": 3}, "another table.*; its seed was 0, this one has 3"),
        ({"data": "d2", "label": "sort"}, 'run: its label was "kind", this one has "sort"[.]'),
    ],
)
def test_what_differs_is_said_in_words(tmp_path, changes, words):
    whole = SETTINGS | {"components": "e3b0c44298fc1c14", "embeddings": [], "image_weights": []}
    Ledger(tmp_path / "run", whole).close()
    with pytest.raises(UsageError, match=words) as caught:
        Ledger(tmp_path / "run", whole | changes)
    assert "9f86d" not in str(caught.value)
    assert "e3b0c" not in str(caught.value)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        Ledger(tmp_path, SETTINGS)
    with pytest.raises(UsageError, match="is a file"):
        Ledger(tmp_path / "letters.txt", SETTINGS)


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_artefact_is_detected(tmp_path, damage):
    ledger = Ledger(tmp_path / "run", SETTINGS)
    ledger.record(entry())
    path = tmp_path / "run" / "trials" / "00000.fit"
    content = path.read_bytes()
    if damage == "flip":
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "truncate":
        path.write_bytes(content[:-1])
    else:
        path.unlink()
    with pytest.raises(MachineError, match=r"00000\.fit"):
        ledger.artifact(0)
    ledger.close()


def test_a_damaged_database_is_refused_with_its_name(tmp_path):
    Ledger(tmp_path / "run", SETTINGS).close()
    (tmp_path / "run" / "ledger.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(MachineError, match=r"ledger\.sqlite.*--output"):
        Ledger(tmp_path / "run", SETTINGS)


def test_the_run_folder_is_private(tmp_path):
    Ledger(tmp_path / "run", SETTINGS).close()
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0
