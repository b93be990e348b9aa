"""The directions of the edges in a picture, as a function of its pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def edge_directions(values: tf.Tensor, cell: int, directions: int) -> tf.Tensor:
    """Returns how strong the edges of each direction are in each cell, `tf.float32[B, features]`.

    Follows the histograms of oriented gradients of Dalal and Triggs (2005), with a smooth share of each
    gradient for every direction in place of the nearest ones, overlapping cells, and a square root
    (Arandjelovic and Zisserman 2012).

    Args:
        values: `tf.float32[B, size, size, c]`, 0 to 1.
        cell: side of a cell in pixels; divides the size.
        directions: 2 or more.
    """
    import tensorflow as tf

    values = tf.pad(values, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    across = values[:, 1:-1, 2:] - values[:, 1:-1, :-2]
    down = values[:, 2:, 1:-1] - values[:, :-2, 1:-1]
    angles = [2 * math.pi * number / directions for number in range(directions)]
    strengths = tf.concat(
        [tf.nn.relu(math.cos(angle) * across + math.sin(angle) * down) ** 2 for angle in angles], axis=-1
    )
    length = tf.sqrt(across**2 + down**2 + 1e-8)
    strengths /= tf.concat([length] * directions, axis=-1)
    sums = tf.nn.avg_pool2d(strengths, 2 * cell, cell, "SAME")
    around = tf.nn.avg_pool2d(tf.reduce_sum(sums, axis=-1, keepdims=True), 3, 1, "SAME")
    flat = tf.sqrt(sums / (around + 0.01))
    return tf.reshape(flat, [-1, flat.shape[1:].num_elements()])
