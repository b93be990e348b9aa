"""Runs rows through an exported model without Python: `probe.c` on the libraries in the TensorFlow wheel."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_SOURCE = Path(__file__).with_name("probe.c")


@dataclass(frozen=True)
class Answer:
    """What the C program got: ranked class names and scores, and labels, for every row."""

    labels: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]
    scores: np.ndarray

    def probabilities(self, classes: tuple[str, ...]) -> np.ndarray:
        """Returns `float32[n, C]` in the given order of classes."""
        found = np.empty_like(self.scores)
        for row, names in enumerate(self.classes):
            for name, score in zip(names, self.scores[row], strict=True):
                found[row, classes.index(name)] = score
        return found


def compile_probe(folder: Path) -> Path:
    """Compiles the program into a folder and returns its path."""
    tensorflow = tensorflow_folder()
    binary = folder / "probe"
    command = ["gcc", "-O1", "-Wall", "-Werror", "-o", str(binary), str(_SOURCE)]
    command += [f"-I{tensorflow}/include", f"-L{tensorflow}", f"-Wl,-rpath,{tensorflow}"]
    command += ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    if shutil.which("ld.gold"):  # reads a gigabyte of symbols in a fifth of the time
        command += ["-fuse-ld=gold"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return binary


@functools.cache
def compiled_probe() -> Path:
    """Returns the program, compiled once a process: linking against TensorFlow takes seconds."""
    folder = tempfile.mkdtemp(prefix="autoflow-probe-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return compile_probe(Path(folder))


def run_probe(version_folder: Path, rows: Mapping[str, np.ndarray]) -> Answer:
    """Returns what the C program answers for raw rows.

    Args:
        version_folder: exported model.
        rows: by raw header, `float64[n]` with NaN or `object[n]` of str with "" where missing, of bytes for
            pictures.
    """
    with tempfile.TemporaryDirectory() as scratch:
        request, answer = Path(scratch, "rows"), Path(scratch, "answer")
        request.write_bytes(_encoded(rows))
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "PATH": os.defpath}
        command = [str(compiled_probe()), str(version_folder), str(request), str(answer)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == 0, done.stderr
        return _decoded(answer.read_bytes())


def linked_libraries(binary: Path) -> str:
    """Returns what `ldd` says that a program loads."""
    return subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=True, timeout=60).stdout


def tensorflow_folder() -> Path:
    """Returns the folder of the installed TensorFlow package."""
    spec = importlib.util.find_spec("tensorflow")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def rows_of_examples(examples: list[Mapping[str, float | str | None]], types: Mapping[str, str]) -> dict:
    """Returns a manifest's example rows as arrays by header.

    Args:
        examples: rows with None where missing.
        types: raw type by header.
    """
    rows = {}
    for header, raw_type in types.items():
        cells = [row[header] for row in examples]
        if raw_type == "string":
            rows[header] = np.array(["" if cell is None else cell for cell in cells], dtype=object)
        else:
            rows[header] = np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)
    return rows


def _encoded(rows: Mapping[str, np.ndarray]) -> bytes:
    num_rows = len(next(iter(rows.values())))
    parts = [struct.pack("=ii", num_rows, len(rows))]
    for header, values in rows.items():
        parts += [_string(header), b"s" if values.dtype == object else b"n"]
    for values in rows.values():
        parts += map(_string, values) if values.dtype == object else [values.astype(np.float64).tobytes()]
    return b"".join(parts)


def _string(text: str | bytes) -> bytes:
    encoded = text if isinstance(text, bytes) else text.encode()
    return struct.pack("=i", len(encoded)) + encoded


def _decoded(answer: bytes) -> Answer:
    num_rows, num_classes = struct.unpack_from("=ii", answer)
    position = 8
    labels, classes, scores = [], [], []
    for _ in range(num_rows):
        names = []
        for _ in range(num_classes + 1):
            (length,) = struct.unpack_from("=i", answer, position)
            names.append(answer[position + 4 : position + 4 + length].decode())
            position += 4 + length
        labels.append(names[0])
        classes.append(tuple(names[1:]))
        scores.append(np.frombuffer(answer, np.float32, num_classes, position))
        position += 4 * num_classes
    assert position == len(answer)
    return Answer(tuple(labels), tuple(classes), np.stack(scores))
