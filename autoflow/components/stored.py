"""Large arrays of a model's graph: constants, unless an export keeps them beside the graph.

TensorFlow copies a graph with all its constants many times while it loads, and again for each signature
while it optimises it: a forest and word embeddings of 35 MB took 5.1 s to load and try as constants and 2.4 s
as variables, in memory once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

Keep = Callable[[np.ndarray], "tf.Tensor"]

LEAST_BYTES = 2**15
"""Smaller arrays are constants everywhere, which TensorFlow can compute with beforehand."""

_keep: ContextVar[Keep | None] = ContextVar("keep", default=None)


def stored(values: np.ndarray) -> tf.Tensor:
    """Returns numbers as a tensor of the graph that is built, or of eager execution.

    Args:
        values: of any shape and numeric type; a large one that an extractor or a model brings into its graph.
    """
    import tensorflow as tf

    keep = _keep.get()
    if keep is None or values.nbytes < LEAST_BYTES:
        return tf.constant(values)
    return keep(values)


def looked_up(table: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Returns the rows of a table at some places, like `tf.gather`, in two thirds of its time for short rows.

    Args:
        table: of any shape.
        places: integers of any shape, all within the table.
    """
    import tensorflow as tf

    return tf.gather_nd(table, places[..., None])


@contextmanager
def keeping(keep: Keep) -> Iterator[None]:
    """Lets `keep` say what becomes of large arrays for a while.

    Args:
        keep: from an array to a tensor that holds it.
    """
    token = _keep.set(keep)
    try:
        yield
    finally:
        _keep.reset(token)
