"""Verification of an exported model in a clean process that cannot import AutoFlow.

The process is started early, while the search runs, because importing TensorFlow takes seconds; the
verification itself then takes about one. What can go wrong is an outcome and not an exception: the caller
decides what a refuted or an untried model is worth.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from autoflow.data.images import picture_bytes
from autoflow.data.schema import ColumnKind, Schema
from autoflow.manifest import num_ranked

_SCRIPT = Path(__file__).with_name("clean_process.py")


class Outcome(StrEnum):
    """What a verification found; the value is a sentence for people."""

    PASSED = "the exported model answers in a clean process as it was scored"
    DIFFERENT = "the exported model does not answer as it was scored"
    BROKEN = "the exported model cannot be loaded or run"
    TIMED_OUT = "the verification took too long and was stopped"
    DIED = "the verifying process died"
    NOT_STARTED = "the verifying process could not be started"

    @property
    def refutes(self) -> bool:
        """Whether the model was found wrong, as opposed to not judged."""
        return self in (Outcome.DIFFERENT, Outcome.BROKEN)


@dataclass(frozen=True)
class VerificationResult:
    """What a clean process found about an exported model.

    Args:
        outcome: passed, or what was wrong.
        detail: what came in the place of what was expected; empty where passed.
        max_difference: largest difference of a probability from its expected value; NaN where not measured.
        max_row_difference: largest difference between a row alone and the same row in a batch; likewise.
        row_ms: median time of one row through the loaded graph, in milliseconds; likewise.
        num_rows: rows compared.
        num_warmup_records: warm-up requests replayed.
        seconds: what the caller waited.
    """

    outcome: Outcome
    detail: str = ""
    max_difference: float = float("nan")
    max_row_difference: float = float("nan")
    row_ms: float = float("nan")
    num_rows: int = 0
    num_warmup_records: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the model passed."""
        return self.outcome is Outcome.PASSED

    @property
    def message(self) -> str:
        """One sentence for people."""
        return self.outcome.value + (f": {self.detail}" if self.detail else "")


class Verifier:
    """A process that waits with TensorFlow loaded to try exported models.

    Start it early, verify once or more, close it; as a context manager it closes itself. It is in a process
    group of its own, so that Ctrl-C does not end it before the last export, and it ends by itself when this
    process dies.

    Args:
        nice: added niceness of the process, 0 to 19.

    >>> with Verifier() as verifier:                                                    # doctest: +SKIP
    ...     verifier.verify(Path("run/model/1"), schema, rows, probabilities).message
    'the exported model answers in a clean process as it was scored'
    """

    def __init__(self, *, nice: int = 0) -> None:
        self._nice = nice
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._log: IO[str] | None = None

    def start(self) -> Self:
        """Starts the process and returns at once; a failure to start shows in the result of `verify`."""
        if self._process is not None:
            return self
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._answers = queue.SimpleQueue()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(_SCRIPT), str(self._nice), *_search_path()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                encoding="utf-8",
                env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
                # A group and not a session: Linux shares cores by session, and nice counts only within one.
                process_group=0,
            )
        except OSError as error:
            self._log.write(str(error))
            return self
        threading.Thread(target=_forward, args=(self._process, self._answers), daemon=True).start()
        return self

    def verify(
        self,
        folder: Path,
        schema: Schema,
        rows: Mapping[str, np.ndarray],
        expected: np.ndarray,
        *,
        timeout_seconds: float = 60.0,
    ) -> VerificationResult:
        """Returns what a clean process finds about a version folder.

        It loads the folder as a server does, and checks names and types of inputs and outputs, the rows in a
        batch and one by one, the order of the answers, `classify` with missing keys, and the warm-up file.

        Args:
            folder: version folder.
            schema: columns and classes that the model must have.
            rows: by header, `float64[n]` or `object[n]` of str or Picture; about 50 are enough.
            expected: `float32[n, C]`.
            timeout_seconds: time for everything, starting the process included where it does not run.
        """
        started = time.monotonic()
        if self._process is not None and self._process.poll() is not None:
            self.close()  # it died while it waited, which says nothing about this model
        self.start()
        with tempfile.TemporaryDirectory(prefix="autoflow-verify-") as scratch:
            request = Path(scratch, "request.json")
            request.write_text(_request(folder, schema, rows, expected), encoding="utf-8")
            result = self._ask(request, started + timeout_seconds)
        if not result.ok and not result.outcome.refutes:
            self.close()  # its state is unknown, so that the next model gets a new one
        return VerificationResult(**(vars(result) | {"seconds": time.monotonic() - started}))

    def close(self) -> None:
        """Ends the process; safe to call twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                _close_quietly(stream)
        if self._log is not None:
            self._log.close()
        self._process = self._log = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: Path, deadline: float) -> VerificationResult:
        process = self._process
        if process is None or process.stdin is None:
            return VerificationResult(Outcome.NOT_STARTED, self._last_words())
        try:
            process.stdin.write(json.dumps({"request": str(request)}) + "\n")
            process.stdin.flush()
            while True:
                line = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
                if line is None:
                    return VerificationResult(Outcome.DIED, self._last_words())
                answer = json.loads(line)
                if answer["outcome"] != "ready":
                    return _result(answer)
        except queue.Empty:
            return VerificationResult(Outcome.TIMED_OUT)
        except (OSError, ValueError):  # a broken pipe, or half a line
            return VerificationResult(Outcome.DIED, self._last_words())

    def _last_words(self) -> str:
        if self._process is not None:
            try:
                self._process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                return "it closed its output"
        if self._log is None:
            return ""
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        code = f"exit code {self._process.returncode}" if self._process is not None else ""
        return "; ".join(filter(None, [code, *lines[-1:]]))[:500]


def _forward(process: subprocess.Popen[str], answers: queue.SimpleQueue[str | None]) -> None:
    if process.stdout is not None:
        try:
            for line in process.stdout:
                answers.put(line)
        except (OSError, ValueError):  # closed under this thread by `close`
            pass
    answers.put(None)


def _close_quietly(stream: IO[str] | None) -> None:
    try:
        if stream is not None:
            stream.close()
    except OSError:  # a dead reader
        pass


def _search_path() -> list[str]:
    """Returns where this process finds modules; `python -I` alone would not see a user's own packages."""
    return [folder for folder in sys.path if folder and Path(folder).is_dir()]


def _request(folder: Path, schema: Schema, rows: Mapping[str, np.ndarray], expected: np.ndarray) -> str:
    columns = [[column.name, column.raw_type.value] for column in schema.columns]
    values = {
        column.name: [{"b64": b64encode(content).decode()} for content in picture_bytes(rows[column.name])]
        if column.kind is ColumnKind.IMAGE
        else rows[column.name].tolist()
        for column in schema.columns
    }
    return json.dumps(
        {
            "folder": str(folder.resolve()),
            "columns": columns,
            "classes": list(schema.classes),
            "num_ranked": num_ranked(len(schema.classes)),
            "rows": values,
            "expected": np.asarray(expected).tolist(),
        }
    )


def _result(answer: Mapping[str, Any]) -> VerificationResult:
    nan = float("nan")
    measured = {name: answer.get(name) for name in ("max_difference", "max_row_difference", "row_ms")}
    return VerificationResult(
        outcome=Outcome[answer["outcome"].upper()],
        detail=answer["message"],
        num_rows=answer.get("num_rows", 0),
        num_warmup_records=answer.get("num_warmup_records", 0),
        **{name: nan if value is None else value for name, value in measured.items()},
    )
