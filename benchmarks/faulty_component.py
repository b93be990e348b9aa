"""A component that misbehaves as AUTOFLOW_FAULT says; `faults.py` brings it to a search with --components."""

import ctypes
import os
import subprocess
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind


def misbehave(how: str) -> None:
    """Raises, dies, hangs, prints, forks or allocates."""
    if how == "raise":
        raise ValueError("no such luck")
    if how == "exit":
        os._exit(3)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "hang":
        ctypes.PyDLL(None).sleep(100_000)  # keeps the interpreter's lock, as a loop in C does
    if how == "print":
        for _ in range(1024):
            print("x" * 2**20)
    if how == "fork":
        for _ in range(5):
            if os.fork() == 0:
                time.sleep(100_000)
            subprocess.Popen(["sleep", "100000"], start_new_session=True)
    if how == "allocate":
        hoard = []
        while True:
            hoard.append(np.ones(2**24))
            time.sleep(0.02)


@register
@dataclass(frozen=True)
class Misbehaving(FeatureExtractor):
    """Passes numbers on, unless it misbehaves."""

    accepts: ClassVar = frozenset({ColumnKind.NUMERIC})

    @classmethod
    def sample(cls, hp, profile):
        """Draws nothing."""
        return cls()

    def fit(self, values, *, seed):
        """Misbehaves, if it comes to that."""
        how = os.environ["AUTOFLOW_FAULT"]
        misbehave(how)
        return FittedMisbehaving(values.shape[1], float("inf") if how == "infinity" else float("nan"))


@dataclass(frozen=True)
class FittedMisbehaving(FittedExtractor):
    """Gives `filler` for every number where it is asked for numbers that are none, else the number."""

    num_columns: int
    filler: float

    @property
    def widths(self):
        """One a column."""
        return (1,) * self.num_columns

    def transform(self, values):
        """Returns the numbers, or others that are none."""
        if os.environ["AUTOFLOW_FAULT"] in ("nan", "infinity"):
            return np.full(values.shape, self.filler, np.float32)
        return np.nan_to_num(values).astype(np.float32)

    def graph(self, values, tables):
        """Returns the same in TensorFlow."""
        import tensorflow as tf

        return tf.cast(tf.where(tf.math.is_nan(values), tf.zeros_like(values), values), tf.float32)
