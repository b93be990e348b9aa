"""Chooses rows of a table to verify an exported model with; they travel with it.

Nothing is exported or checked here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autoflow.data.dataset import Dataset
from autoflow.data.images import Picture
from autoflow.data.schema import ColumnKind
from autoflow.export.saved_model import num_examples

_LOOKED_AT = 100
_UNSEEN = "\u2047 never seen"


def examples_of(dataset: Dataset) -> Mapping[str, np.ndarray]:
    """Returns rows to verify: some spread over the table, one with all values missing, one never seen."""
    examples = {}
    for name, values in _small_rows(dataset, num_examples(dataset.schema) - 2).items():
        odd: list[object] = ["", _UNSEEN] if values.dtype == object else [np.nan, 1e6]
        if dataset.schema.column(name).kind is ColumnKind.IMAGE:
            odd = [Picture(), Picture("unseen", content=_UNSEEN.encode())]
        examples[name] = np.concatenate([values, np.array(odd, values.dtype)])
    return examples


def spread(dataset: Dataset, num_rows: int) -> dict[str, np.ndarray]:
    """Returns raw columns of so many rows, or all, evenly spread over the table."""
    rows = np.unique(np.linspace(0, dataset.num_rows - 1, num_rows).astype(np.int64))
    return {column.name: dataset.raw[column.name][rows] for column in dataset.schema.columns}


def _small_rows(dataset: Dataset, num_rows: int) -> dict[str, np.ndarray]:
    """Returns raw columns of so many rows, spread over the table; with pictures those of the smallest files.

    They travel with the model, as examples and as warm-up requests.
    """
    images = [column.name for column in dataset.schema.columns if column.kind is ColumnKind.IMAGE]
    if not images:
        return spread(dataset, num_rows)
    rows = spread(dataset, _LOOKED_AT)
    sizes = np.sum([[len(picture.read()) for picture in rows[name]] for name in images], axis=0)
    by_size = np.argsort(np.where(sizes, sizes, np.inf), kind="stable")  # missing pictures show nothing
    chosen = np.sort(by_size[:num_rows])
    return {name: values[chosen] for name, values in rows.items()}
