"""The step from the classes that a training part holds to all classes of the table.

A fold may lack a rare class entirely; libraries then renumber the labels or fail. Classifiers fit on the
classes that are present and come back through `Spread`, which also keeps every probability above zero so
that log-loss stays finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

_DOUBT = 0.1
"""Rows' worth of evidence spread evenly over all classes."""


@dataclass(frozen=True, eq=False)
class PresentClasses:
    """The classes with at least one training row.

    Args:
        present: their numbers, sorted, int32.
        shares: their shares of the training rows, float64, sum 1.
        num_classes: number of classes of the table.
        num_rows: number of training rows.
    """

    present: np.ndarray
    shares: np.ndarray
    num_classes: int
    num_rows: int

    @classmethod
    def of(cls, labels: np.ndarray, num_classes: int) -> PresentClasses:
        """Returns the present classes of training labels `int32[n]`, n at least 1."""
        counts = np.bincount(labels, minlength=num_classes)
        present = np.flatnonzero(counts).astype(np.int32)
        return cls(present, counts[present] / counts.sum(), num_classes, len(labels))

    def __len__(self) -> int:
        return len(self.present)

    def positions(self, labels: np.ndarray) -> np.ndarray:
        """Returns `int32[n]` places of the labels among the present classes, -1 for absent ones."""
        places = np.full(self.num_classes, -1, np.int32)
        places[self.present] = np.arange(len(self.present), dtype=np.int32)
        return places[labels]

    def spread(self, doubt: float = _DOUBT) -> Spread:
        """Returns the step from probabilities of the present classes to those of all classes.

        Args:
            doubt: rows' worth of evidence that is spread evenly over all classes, above 0.
        """
        return Spread(self.present, self.num_classes, doubt / (self.num_rows + doubt))


@dataclass(frozen=True, eq=False)
class Spread:
    """From probabilities of the present classes to those of all classes.

    A thousand classes would make a matrix of a million numbers of it in every exported member.

    Args:
        present: numbers of the present classes, sorted, int32.
        num_classes: number of classes of the table.
        share: probability that is spread evenly over all classes, above 0, small.
    """

    present: np.ndarray
    num_classes: int
    share: float

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns `float32[n, num_classes]` for `float32[n, present]` whose rows sum to 1."""
        shape = (len(probabilities), self.num_classes)
        out = np.full(shape, np.float32(self.share / self.num_classes), np.float32)
        out[:, self.present] += probabilities * np.float32(1.0 - self.share)
        return out

    def graph(self, probabilities: tf.Tensor) -> tf.Tensor:
        """Returns the same as core ops."""
        import tensorflow as tf

        if len(self.present) < self.num_classes:
            places = np.full(
                self.num_classes, len(self.present), np.int32
            )  # where a column of zeros is added
            places[self.present] = np.arange(len(self.present), dtype=np.int32)
            probabilities = tf.gather(tf.pad(probabilities, [[0, 0], [0, 1]]), places, axis=1)
        even = np.float32(self.share / self.num_classes)
        return probabilities * np.float32(1.0 - self.share) + even


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns `float32[n, k]` probabilities of `float[n, k]` logits, computed in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean negative log of the probability of the true class, finite."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(chosen, 1e-15)).mean())
