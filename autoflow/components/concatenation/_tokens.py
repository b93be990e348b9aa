"""One learned vector a raw column, whatever the widths of the columns: the ground of the trained merges.

No component and no hyperparameter may enter this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


_PROJECTION = "projection_of_width_"
_MOST_RUNS = 8
"""Each costs an operation, of which a single row feels every one."""


def inputs_of(widths: Sequence[Sequence[int]]) -> list[keras.KerasTensor]:
    """Returns one symbolic input a node, `float32[B, sum(widths[i])]`."""
    import keras

    return [keras.Input((int(sum(node)),)) for node in widths]


def side_by_side(inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
    """Returns the features of all nodes as one tensor."""
    import keras

    return keras.layers.Concatenate()(inputs) if len(inputs) > 1 else inputs[0]


def project(features: keras.KerasTensor, widths: Sequence[int], dimensions: int) -> keras.KerasTensor:
    """Returns tokens `float32[B, len(widths), dimensions]`: each slice of the features by its own matrix.

    Slices of the same width go through one batched product, so that the number of operations grows with the
    number of different widths, and no weight is spent on zeros as in a block-diagonal matrix.

    Args:
        features: `float32[B, sum(widths)]`.
        widths: sizes of the slices, each 1 or more.
        dimensions: width of a token.
    """
    import keras

    sizes = np.array(widths, np.int64)
    starts = np.cumsum(sizes) - sizes
    blocks, columns = [], []
    for width in np.unique(sizes).tolist():
        members = np.flatnonzero(sizes == width)
        picked = _picked(features, (starts[members][:, None] + np.arange(width)).ravel())
        slices = keras.layers.Reshape((len(members), width))(picked)
        spread = keras.initializers.RandomNormal(stddev=width**-0.5)
        blocks.append(
            keras.layers.EinsumDense(
                "bcw,cwd->bcd",
                (len(members), dimensions),
                bias_axes="cd",
                kernel_initializer=spread,
                name=f"{_PROJECTION}{width}",
            )(slices)
        )
        columns.append(members)
    if len(blocks) == 1:
        return blocks[0]
    return keras.ops.take(
        keras.layers.Concatenate(axis=1)(blocks), np.argsort(np.concatenate(columns)), axis=1
    )


def _picked(features: keras.KerasTensor, places: np.ndarray) -> keras.KerasTensor:
    """Returns columns in rising order; runs of them are sliced, which is faster than taking each."""
    import keras

    runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
    if len(runs) > _MOST_RUNS:
        return keras.ops.take(features, places, axis=1)
    slices = [features[:, int(run[0]) : int(run[-1]) + 1] for run in runs]
    return keras.layers.Concatenate()(slices) if len(slices) > 1 else slices[0]


def projection_matrices(merge: keras.Model, widths: Sequence[int]) -> list[np.ndarray]:
    """Returns the matrix of each slice, `float32[widths[i], dimensions]`, in a model with one `project`."""
    sizes = np.array(widths, np.int64)
    matrices: dict[int, np.ndarray] = {}
    for width in np.unique(sizes).tolist():
        kernels = np.asarray(merge.get_layer(f"{_PROJECTION}{width}").kernel)
        matrices |= zip(np.flatnonzero(sizes == width).tolist(), kernels, strict=True)
    return [matrices[place] for place in range(len(sizes))]


def flat(widths: Sequence[Sequence[int]]) -> list[int]:
    """Returns the widths of all raw columns that have features, in order.

    A text column without any word in training, for instance, may have none.
    """
    return [int(width) for node in widths for width in node if width > 0]


def units_of(widths: Sequence[Sequence[int]], unit: str) -> list[int]:
    """Returns the widths of all raw columns (`unit` is `"column"`) or nodes (`"node"`) that have features."""
    return flat(widths) if unit == "column" else flat([[sum(node)] for node in widths])
