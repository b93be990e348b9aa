"""Imports TensorFlow without its start-up lines about CUDA, oneDNN and logging, which nobody asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_SILENT = "3"


def import_tensorflow() -> ModuleType:
    """Returns the `tensorflow` module, imported without a word; errors of the import are raised as usual.

    A `TF_CPP_MIN_LOG_LEVEL` below 3 asks for those lines: then nothing is hidden.
    """
    if "tensorflow" in sys.modules or os.environ.get(_LOG_LEVEL, _SILENT) != _SILENT:
        import tensorflow

        return tensorflow
    os.environ[_LOG_LEVEL] = _SILENT
    with _standard_error_hidden():
        import tensorflow
    tensorflow.get_logger().setLevel("ERROR")
    return tensorflow


@contextmanager
def _standard_error_hidden() -> Iterator[None]:
    """Points file descriptor 2 elsewhere: before its logging is set up, TensorFlow writes there directly."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # a process without a standard error has nothing to hide
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
