"""The life of a run folder without workers and TensorFlow: trials, a model, a leaderboard, and kills.

Runs under `shim.c`: `python life.py SHIM FOLDER` ends every session of a run at every operation on its files
and prints, as JSON, what went wrong in the sessions that came after; an empty list is good.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from autoflow.components.discovery import discover
from autoflow.components.registry import Role, lookup
from autoflow.data.schema import Column, ColumnKind, RawType, Schema
from autoflow.errors import MachineError
from autoflow.export import saved_model
from autoflow.export.verify import Outcome as Verified
from autoflow.export.verify import VerificationResult
from autoflow.finished import FinishedModel, remember, remembered
from autoflow.manifest import (
    Manifest,
    ManifestDetails,
    changed_files,
    hash_files,
    next_version,
    read_manifest,
    versions_in,
    write_manifest,
)
from autoflow.pipeline.spec import Node, PipelineSpec
from autoflow.search.ledger import Ledger, LedgerEntry, write_durably
from autoflow.search.members import Member
from autoflow.search.sampler import Proposal
from autoflow.search.trial import Outcome, TrialResult

COUNT, KILL_BEFORE, KILL_AFTER, KILL_IN_THE_MIDDLE, FULL_FROM_HERE = range(5)
KILLED, REFUSED = 99, 5
SETTINGS = {"data": "abc", "label": "kind", "metric": "log_loss", "seed": 0}
NUM_TRIALS = 2
SCHEMA = Schema((Column("x", ColumnKind.NUMERIC, RawType.FLOAT32),), "kind", ("a", "b"))
BOARD = b"rank,trial\n" + b"1,0\n" * 500


def entry(number: int) -> LedgerEntry:
    """Returns a finished trial; the last one failed."""
    spec = PipelineSpec(
        (Node("numeric", ("x",), lookup(Role.FEATURE_EXTRACTION, "standardized")()),),
        lookup(Role.CONCATENATION, "plain_concat")(),
        lookup(Role.CLASSIFICATION, "majority")(),
    )
    proposal = Proposal(spec, {"n": number}, {}, "portfolio")
    if number == NUM_TRIALS - 1:
        return LedgerEntry(proposal, TrialResult(number, spec, Outcome.FAILED, message="no luck"), number)
    probabilities = np.full((40, 2), 0.5 + number / 10, np.float32)
    result = TrialResult(
        number, spec, Outcome.FINISHED, 0.5, 0.5, 1.0, probabilities=probabilities, artifact=_fit(number)
    )
    return LedgerEntry(proposal, result, float(number))


def _fit(number: int) -> bytes:
    return b"fitted %d " % number * 1000


def _write_version(model: object, folder: Path, **others: object) -> None:
    """Stands in for what TensorFlow writes into a hidden folder."""
    (folder / "variables").mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph" * 3000)
    (folder / "variables/variables.index").write_bytes(b"index" * 1000)
    write_manifest(Manifest(SCHEMA, ManifestDetails(), "now", {}, files=hash_files(folder)), folder)


def session(folder: Path, tell: Callable[[object], None]) -> None:
    """Goes on with a run, or begins it, and tells what is done and what it begins."""
    ledger = Ledger(folder, SETTINGS)
    results = [each.result for each in ledger.entries()]
    earlier = remembered(ledger, results)
    if earlier is None:
        done = {result.number for result in results}
        for number in sorted(set(range(NUM_TRIALS)) - done):
            tell(["begun", number])
            ledger.record(entry(number))
            tell(["done", number])
        results = [each.result for each in ledger.entries()]
        model = folder / "model"
        version = next_version(model)
        export = saved_model.export_model(
            SimpleNamespace(schema=SCHEMA), model, version=version, details=ManifestDetails(),
            examples={"x": np.zeros(1)},
        )  # fmt: skip
        assert export.folder is not None
        with contextlib.suppress(OSError):  # it can be written again at any time
            write_durably(folder / "leaderboard.csv", BOARD)
        passed = VerificationResult(Verified.PASSED)
        remember(ledger, FinishedModel(export.folder, (Member(results[0], 1.0),), True, {}, passed, 1), {})
        tell(["model", version])
    ledger.close()


def found(folder: Path) -> tuple[dict[int, bool], list[int]]:
    """Returns the trials that the next start sees, with whether they are whole, and the whole versions."""
    ledger = Ledger(folder, SETTINGS)
    whole = {}
    for each in ledger.entries():
        number, expected = each.result.number, entry(each.result.number)
        whole[number] = each.proposal == expected.proposal and each.elapsed == expected.elapsed
        if each.result.finished:
            assert expected.result.probabilities is not None
            whole[number] &= ledger.artifact(number) == expected.result.artifact
            whole[number] &= np.array_equal(ledger.probabilities(number), expected.result.probabilities)
    ledger.close()
    versions = versions_in(folder / "model")
    for version in versions:
        manifest = read_manifest(folder / "model" / str(version))
        assert "saved_model.pb" in manifest.files
        assert changed_files(folder / "model" / str(version), manifest.files) == []
    board = folder / "leaderboard.csv"
    assert not board.exists() or board.read_bytes() == BOARD
    return whole, versions


def struck(shim: ctypes.CDLL, folder: Path, mode: int, at: int) -> tuple[int, list[list[object]], str]:
    """Runs a session in a process of its own; returns its exit code, what it told, and its operations."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            shim.shim_arm(str(folder).encode(), mode, at)
            session(folder, lambda what: os.write(write, json.dumps(what).encode() + b"\n"))
            code = 0
        except MachineError as error:
            os.write(write, json.dumps(["refused", str(error)]).encode() + b"\n")
            code = REFUSED
        except BaseException:
            os.write(write, json.dumps(["bug", traceback.format_exc()]).encode() + b"\n")
        os.write(write, json.dumps(["operations", shim.shim_kinds().decode()]).encode() + b"\n")
        os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = [json.loads(line) for line in pipe]
    _, status = os.waitpid(child, 0)
    operations = next((str(value) for what, value in told if what == "operations"), "")
    return os.waitstatus_to_exitcode(status), told, operations


def complaints(
    shim: ctypes.CDLL, folder: Path, strikes: list[tuple[int, int]], expected: int
) -> Iterator[str]:
    """Yields what is wrong after sessions that are struck one after the other, and one that is not."""
    shutil.rmtree(folder, ignore_errors=True)
    done: set[object] = set()
    models: set[object] = set()
    versions: list[int] = []
    for mode, at in [*strikes, (COUNT, 0)]:
        where = f"strikes {strikes}, now {(mode, at)}"
        code, told, _ = struck(shim, folder, mode, at)
        if code not in ((0,) if mode == COUNT else (0, expected)):
            yield f"{where}: exit code {code}, told {told}"
            return
        begun = {value for what, value in told if what == "begun"}
        if begun & done:
            yield f"{where}: trials {begun & done} were done and are repeated"
        done |= {value for what, value in told if what == "done"}
        models |= {value for what, value in told if what == "model"}
        if not (folder / "ledger.sqlite").exists():
            if done:
                yield f"{where}: no ledger, but {done} were told"
            continue
        whole, versions = found(folder)
        done |= whole.keys()
        if not all(whole.values()) or not done <= whole.keys():
            yield f"{where}: {done} were done, the next start sees {whole}"
        if not models <= set(versions):
            yield f"{where}: versions {models} were told, there are {versions}"
    if done != set(range(NUM_TRIALS)) or not versions:
        yield f"{where}: ended with {done} and {versions}"


@contextlib.contextmanager
def _without_tensorflow() -> Iterator[None]:
    real = saved_model._write_version
    saved_model._write_version = _write_version
    yield
    saved_model._write_version = real


def plans(operations: str) -> Iterator[tuple[list[tuple[int, int]], int]]:
    """Yields strikes at a session and the next ones, and the exit code of a session that is struck."""
    yield [(KILL_BEFORE, 1)], KILLED
    for at, kind in enumerate(operations, start=1):
        yield [(KILL_AFTER, at)], KILLED  # on the disk the same as before the next one
        if at % 4 == 0:
            yield [(KILL_BEFORE, at), (KILL_AFTER, at * 7 % len(operations) + 1)], KILLED
        if kind == "w":
            yield [(KILL_IN_THE_MIDDLE, at)], KILLED
        yield [(FULL_FROM_HERE, at)], REFUSED


def main() -> None:
    shim, folder = ctypes.CDLL(sys.argv[1]), Path(sys.argv[2], "run")
    shim.shim_kinds.restype = ctypes.c_char_p
    discover()
    gc.freeze()  # so that the children share its pages
    with _without_tensorflow():
        code, told, operations = struck(shim, folder, COUNT, 0)
        wrong = [] if code == 0 else [str(told)]
        num_plans = 0
        for strikes, expected in plans(operations):
            wrong += complaints(shim, folder, strikes, expected)
            num_plans += 1
    print(json.dumps({"operations": operations, "plans": num_plans, "wrong": wrong}))


if __name__ == "__main__":
    main()
