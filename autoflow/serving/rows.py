"""Raw rows for a model from any table: the columns that it reads, and what in them could not be read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from autoflow.data.checks import check_known, check_readable, picture_remarks
from autoflow.data.dataset import features_for
from autoflow.data.labels import label_strings, labels_of
from autoflow.data.reading import RawTable, read_table
from autoflow.data.schema import ColumnKind, Schema
from autoflow.data.values import column_values, is_number_kind
from autoflow.errors import DataError


@dataclass(frozen=True)
class RawRows:
    """Rows as a model takes them.

    Args:
        values: by header, `float64[n]` with NaN or `object[n]` of str with "" where missing, or of
            Picture.
        warnings: one sentence for each column with cells that could not be read and count as missing.
    """

    values: dict[str, np.ndarray]
    warnings: tuple[str, ...] = ()


def open_table(
    data: str | os.PathLike[str] | pd.DataFrame,
    encoding: str | None,
    image_folder: str | os.PathLike[str] | None,
) -> RawTable:
    """Returns the table of a path or DataFrame; raises DataError as `read_table` does."""
    return read_table(
        Path(data) if isinstance(data, str | os.PathLike) else data,
        encoding=encoding,
        image_folder=None if image_folder is None else Path(image_folder),
    )


def raw_rows(schema: Schema, table: RawTable) -> RawRows:
    """Returns the rows of a table that a model with this schema reads.

    Args:
        schema: of the model.
        table: as read; further columns, the label among them, are ignored.

    Raises:
        DataError: the table lacks a column.
    """
    values = features_for(schema.columns, table)
    warnings: list[str] = []
    for column in schema.columns:
        if column.kind is ColumnKind.IMAGE:
            warnings.extend(
                f"{table.name}: {line}." for line in picture_remarks(column.name, values[column.name])
            )
            warnings.extend(_folder_hint(table, column.name, values[column.name]))
        if is_number_kind(column.kind):
            read = column_values(column, values[column.name])
            said = check_readable(column, table.columns[column.name], read)
            warnings.extend(f"{table.name}: {line}." for line in said)
        if column.known_values:
            said = check_known(column, column_values(column, values[column.name]))
            warnings.extend(f"{table.name}: {line}." for line in said)
    return RawRows(values, tuple(warnings))


def _folder_hint(table: RawTable, column: str, values: np.ndarray) -> list[str]:
    """Returns what to do where the table names picture files and none of them can be used."""
    given = [value for value in values if value.digest or value.problem]
    if not given or any(value.digest or not value.path for value in given):
        return []
    where = table.folder.resolve()
    return [
        f"{table.name}: column {column!r}: none of the picture files can be used; they are looked for in "
        f"{where}. Name another folder with --image-folder."
    ]


def labelled_rows(schema: Schema, table: RawTable) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions `int64[m]` of the rows that have a label, and their classes `int32[m]`.

    The class is -1 for a label that the model does not know.

    Raises:
        DataError: the table has no label column, no label in it, or none that the model knows.
    """
    labels = labels_of(table, schema)
    missing = label_strings(table, schema.label).is_null().to_numpy(zero_copy_only=False)
    positions = np.flatnonzero(~missing)
    if not len(positions):
        raise DataError(
            f"{table.name}: the label column '{schema.label}' is empty; "
            "an evaluation needs rows whose label is known."
        )
    if (labels < 0).all():
        raise DataError(
            f"{table.name}: none of the labels in {schema.label!r} is a class of this model "
            f"({first_ten(schema.classes)}); name the table that belongs to it"
        )
    return positions, labels[positions]


def first_ten(names: tuple[str, ...]) -> str:
    """Returns the first ten names and how many more there are."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
