"""Tables of vectors that a network learns and looks up: float32 in training, half precision in an export."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class VectorTable:
    """Vectors of which a row of the table needs a few; they are most of what such a network weighs.

    A Keras layer names its own in an attribute `vector_tables`.

    Args:
        variable: `float32[v, d]`, trained along.
    """

    def __init__(self, variable: keras.Variable) -> None:
        self.variable = variable
        self._halved: tf.Tensor | None = None

    def rows(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns `tf.float32[..., d]` for integers of any shape."""
        import tensorflow as tf

        if self._halved is None:
            return tf.gather(self.variable.value, numbers)
        return tf.cast(tf.gather(self._halved, numbers), tf.float32)

    @contextmanager
    def reading(self, halved: tf.Tensor) -> Iterator[None]:
        """Lets `rows` read `tf.float16[v, d]` in place of the variable for a while.

        The whole of a table is never widened: that would take as long as serving many rows.
        """
        self._halved = halved
        try:
            yield
        finally:
            self._halved = None
