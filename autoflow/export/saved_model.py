"""Writes a fitted model as a version folder that TensorFlow Serving loads and that takes raw rows.

A version appears whole or not at all: everything is written into a hidden folder, verified there, synced to
disk and then renamed, because a server loads the largest integer it sees. How the graph itself is made is in
`autoflow.export.graph`.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path

import numpy as np

from autoflow.data.images import Picture
from autoflow.data.schema import ColumnKind, Schema
from autoflow.durable import sync
from autoflow.errors import MachineError, UsageError
from autoflow.export.graph import (
    CLASSIFY,
    EMBED,
    SERVING,
    Servable,
    model_inputs,
    serialised_examples,
    serving_module,
)
from autoflow.export.verify import VerificationResult, Verifier
from autoflow.export.warmup import write_warmup
from autoflow.manifest import (
    Example,
    Manifest,
    ManifestDetails,
    hash_files,
    input_key,
    write_manifest,
)

_EXAMPLE_CELLS = 12_000
_FEWEST_EXAMPLES, _MOST_EXAMPLES = 8, 50

_MANIFEST_EXAMPLES = 3
_CLASSIFY_METHOD = "tensorflow/serving/classify"


def num_examples(schema: Schema) -> int:
    """Returns how many raw rows are checked at an export: fewer where the table is wide or large, 8 to 50."""
    if any(column.kind is ColumnKind.IMAGE for column in schema.columns):
        return _FEWEST_EXAMPLES  # they travel with the model
    return max(_FEWEST_EXAMPLES, min(_MOST_EXAMPLES, _EXAMPLE_CELLS // max(1, len(schema.columns))))


@dataclass(frozen=True)
class Limits:
    """What an exported model may cost to serve, as measured on this machine.

    Args:
        row_ms: median milliseconds of one row through the loaded graph.
        megabytes: size of the version folder, in millions of bytes.
    """

    row_ms: float = math.inf
    megabytes: float = math.inf

    @property
    def are_set(self) -> bool:
        """Whether there is a limit at all."""
        return min(self.row_ms, self.megabytes) < math.inf

    def refusal(self, verification: VerificationResult | None, num_bytes: int) -> str:
        """Returns what is too slow or too large, in plain words; empty where all is within the limits."""
        if num_bytes / 1e6 > self.megabytes:
            return f"it has {num_bytes / 1e6:.6g} MB, at most {self.megabytes:g} are wanted"
        if verification is not None and self.row_ms < math.inf and math.isnan(verification.row_ms):
            return f"what one row takes could not be measured, at most {self.row_ms:g} ms are wanted"
        if verification is not None and verification.row_ms > self.row_ms:
            return f"one row takes {verification.row_ms:.2f} ms, at most {self.row_ms:g} are wanted"
        return ""


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Export:
    """What became of an export.

    Args:
        folder: the version folder; None where nothing was published.
        verification: what a clean process found; None where none was asked.
        num_bytes: size of the version folder.
        refusal: why nothing was published, in plain words.
    """

    folder: Path | None
    verification: VerificationResult | None
    num_bytes: int
    refusal: str = ""


def export_model(
    model: Servable,
    folder: Path,
    *,
    version: int = 1,
    details: ManifestDetails,
    examples: Mapping[str, np.ndarray],
    verifier: Verifier | None = None,
    verify_seconds: float = 60.0,
    limits: Limits = NO_LIMITS,
) -> Export:
    """Writes `<folder>/<version>/` and returns where it is and what the verification found.

    Args:
        model: fitted; its module is built here.
        folder: model folder, created where missing; versions lie in it side by side.
        version: 1 or more; the largest one is served.
        details: recipes, metrics and rows for the manifest.
        examples: raw rows by header, as `Servable.predict_probabilities` takes them; the first
            `num_examples` are checked and become warm-up requests, three of them the manifest's examples.
        verifier: loads and tries the model in a clean process before it is published. A model that it refutes
            is not published; one that it could not judge (out of time, no process) is.
        verify_seconds: time that the verifier may take.
        limits: a model beyond them is not published.

    Raises:
        UsageError: the version exists.
        MachineError: the disk refuses.
    """
    target = folder / str(version)
    if target.exists():
        raise UsageError(f"{target} exists; a version never changes. Export under another version number.")
    with _staging(folder, str(version)) as staging:
        tried = _tried(model, staging, details, examples, verifier, verify_seconds)
        verification = tried.verification
        if verification is not None and verification.outcome.refutes:
            return replace(tried, refusal=verification.message)
        refusal = limits.refusal(verification, tried.num_bytes)
        if refusal:
            return replace(tried, refusal=refusal)
        _sync(staging)
        staging.rename(target)
        sync(folder)
        return replace(tried, folder=target)


def measure_model(
    model: Servable,
    folder: Path,
    *,
    examples: Mapping[str, np.ndarray],
    verifier: Verifier,
    verify_seconds: float,
) -> Export:
    """As `export_model`, but nothing is published, whatever comes out; the files are gone afterwards.

    Args:
        model: fitted.
        folder: model folder, in which the files lie meanwhile.
        examples: raw rows by header.
        verifier: loads and times the model.
        verify_seconds: time that the verifier may take.

    Raises:
        MachineError: the disk refuses.
    """
    with _staging(folder, "measured") as staging:
        return _tried(model, staging, ManifestDetails(), examples, verifier, verify_seconds)


@contextlib.contextmanager
def _staging(folder: Path, name: str) -> Iterator[Path]:
    """Gives a hidden new folder beside the versions, which is gone at the end unless it was renamed."""
    staging = folder / f".{name}.{os.getpid()}.partial"
    try:
        _remove_partial(folder)
        staging.mkdir(parents=True)
        yield staging
    except OSError as error:
        raise MachineError(
            f"{folder / name}: the model cannot be written ({error.strerror or error}); "
            "make room or access, then repeat the command, or choose another folder."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _tried(
    model: Servable,
    staging: Path,
    details: ManifestDetails,
    examples: Mapping[str, np.ndarray],
    verifier: Verifier | None,
    verify_seconds: float,
) -> Export:
    """Writes a version into a folder and returns what the verification found and how large it is."""
    checked = _write_version(model, staging, details=details, examples=_first_rows(model.schema, examples))
    verification = None
    if verifier is not None:
        verification = verifier.verify(
            staging, model.schema, checked.rows, checked.expected, timeout_seconds=verify_seconds
        )
    num_bytes = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    return Export(None, verification, num_bytes)


@dataclass(frozen=True)
class _CheckedRows:
    rows: Mapping[str, np.ndarray]
    expected: np.ndarray


def _write_version(
    model: Servable, folder: Path, *, details: ManifestDetails, examples: Mapping[str, np.ndarray]
) -> _CheckedRows:
    """Writes graph, warm-up requests and manifest; returns the rows to verify with what they must give."""
    import tensorflow as tf

    schema = model.schema
    expected = np.asarray(model.predict_probabilities(examples), dtype=np.float32)
    holder, signatures = serving_module(model)
    try:
        with _temporary_files_in(folder):
            tf.saved_model.save(holder, str(folder), signatures=signatures)
    except tf.errors.OpError as error:
        if str(folder) not in error.message:
            raise
        # TensorFlow has its own errors for what a disk refuses: "/run/.1.partial/...; No space left [Op:...]"
        raise OSError(error.message.rpartition("; ")[2].partition(" [Op:")[0]) from error
    _rename_inputs(folder, schema)
    write_warmup(folder, model_inputs(schema, examples), serialised_examples(schema, examples))
    manifest = Manifest(
        schema=schema,
        details=details,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=_versions(),
        examples=_manifest_examples(schema, examples, expected),
        embedding_size=int(signatures[EMBED].structured_outputs["embedding"].shape[1]),
        files=hash_files(folder),
    )
    write_manifest(manifest, folder)
    return _CheckedRows(examples, expected)


def _rename_inputs(folder: Path, schema: Schema) -> None:
    """Gives inputs of `serving_default` and `embed` their raw headers, `classify` the server's method name.

    `tf.saved_model.save` refuses or mangles most headers, but the file format takes any string.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    signatures = saved_model.meta_graphs[0].signature_def
    for key in (SERVING, EMBED):
        inputs = signatures[key].inputs
        tensors = {
            column.name: inputs[input_key(i)].SerializeToString() for i, column in enumerate(schema.columns)
        }
        inputs.clear()
        for header, tensor in tensors.items():
            inputs[header].ParseFromString(tensor)
    signatures[CLASSIFY].method_name = _CLASSIFY_METHOD
    path.write_bytes(saved_model.SerializeToString(deterministic=True))
    # Its hashes describe the file before the rewrite; loaders do without it and a wrong one would mislead.
    (folder / "fingerprint.pb").unlink(missing_ok=True)


def _manifest_examples(
    schema: Schema, rows: Mapping[str, np.ndarray], expected: np.ndarray
) -> tuple[Example, ...]:
    examples = []
    for position in range(len(expected)):
        row = {column.name: rows[column.name][position] for column in schema.columns}
        if any(value in (float("inf"), float("-inf")) for value in row.values()):
            continue  # JSON has no infinities
        scores = tuple(float(score) for score in expected[position])
        label = schema.classes[int(np.argmax(expected[position]))]
        examples.append(Example({name: _json_value(value) for name, value in row.items()}, label, scores))
        if len(examples) == _MANIFEST_EXAMPLES:
            break
    return tuple(examples)


def _json_value(value: object) -> float | str | dict[str, str] | None:
    if isinstance(value, Picture):
        content = value.read()
        return {"b64": b64encode(content).decode()} if content else None
    if isinstance(value, str):
        return value or None
    number = float(value)  # type: ignore[arg-type]
    return None if np.isnan(number) else number


def _first_rows(schema: Schema, examples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    rows = slice(num_examples(schema))
    return {column.name: examples[column.name][rows] for column in schema.columns}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("autoflow", "tensorflow", "keras"):
        try:
            found[package] = package_version(package)
        except PackageNotFoundError:  # a checkout on the path, or tensorflow-cpu
            found[package] = "unknown"
    return found


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Deletes the sources that TensorFlow writes when it traces signatures, and leaves where they are."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as place:
        tempfile.tempdir = place
        try:
            yield
        finally:
            tempfile.tempdir = before


def _remove_partial(folder: Path) -> None:
    """Removes what a killed export left; a run folder has one writer, so nobody is at work there."""
    for path in folder.glob(".*.partial"):
        shutil.rmtree(path, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        sync(path)
