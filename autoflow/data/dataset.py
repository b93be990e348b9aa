"""The table that a search works on: raw values by column, class numbers, and what is derived from them.

Reading, guessing and checking happen in their own files; `load_dataset` is their straight line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autoflow.data.cells import count_cells, wording
from autoflow.data.checks import (
    check_class_names,
    check_columns,
    check_features,
    check_labels,
    check_pictures,
    check_readable,
    check_rows,
    check_texts,
    rows_to_look_at,
)
from autoflow.data.columnwise import for_each
from autoflow.data.headers import header_warnings
from autoflow.data.images import picture_digests
from autoflow.data.inference import infer_schema
from autoflow.data.labels import labels_of
from autoflow.data.reading import RawTable, read_table
from autoflow.data.schema import Column, ColumnKind, ColumnProfile, DataProfile, RawType, Schema
from autoflow.data.ties import group_codes, moments_of, undated_rows
from autoflow.data.values import (
    column_values,
    distinct_strings,
    is_number_kind,
    is_readable,
    raw_values,
    string_array,
)
from autoflow.errors import DataError, near_names, shortened

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Dataset:
    """Labelled rows, column by column; made by `load_dataset`.

    Args:
        name: of the table, for messages.
        schema: columns, label and classes.
        raw: raw values of every column of the schema, `float64[n]` or `object[n]` of str or Picture (see
            `autoflow.data.values`).
        labels: int32[n], class numbers.
        groups: int64[n], equal for rows that a split may not part; None where any two may be parted.
        moments: float64[n], orders rows in time for the split, NaN where missing; None for no order.
    """

    name: str
    schema: Schema
    raw: Mapping[str, np.ndarray]
    labels: np.ndarray
    groups: np.ndarray | None = None
    moments: np.ndarray | None = None

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.labels)

    @property
    def has_pictures(self) -> bool:
        """Whether a column holds pictures."""
        return any(column.kind is ColumnKind.IMAGE for column in self.schema.columns)

    def rows(self, indices: np.ndarray) -> Dataset:
        """Returns the rows with these numbers, in this order."""
        return self._with(indices, {name: values[indices] for name, values in self.raw.items()})

    def view(self, indices: np.ndarray) -> Dataset:
        """As `rows`, but the raw values of a column are copied each time that it is read, and not kept."""
        return self._with(indices, _RowsOf(self.raw, indices))

    def _with(self, indices: np.ndarray, raw: Mapping[str, np.ndarray]) -> Dataset:
        return replace(
            self,
            raw=raw,
            labels=self.labels[indices],
            groups=None if self.groups is None else self.groups[indices],
            moments=None if self.moments is None else self.moments[indices],
        )

    def values(self, name: str) -> np.ndarray:
        """Returns the column values of one column: float64[n], or object[n] of str or Picture."""
        return column_values(self.schema.column(name), self.raw[name])

    def comparable(self, name: str) -> np.ndarray:
        """As `values`, with a name of its content (str) in the place of each picture."""
        values = self.values(name)
        is_image = self.schema.column(name).kind is ColumnKind.IMAGE
        return picture_digests(values) if is_image else values

    def matrix(self, columns: Sequence[str]) -> np.ndarray:
        """Returns the column values of some columns side by side, as a feature extractor takes them.

        Args:
            columns: headers, one or more, all with numbers, all with strings or all with pictures.

        Returns:
            `float64[n, k]` or `object[n, k]`.
        """
        return stacked([self.schema.column(name) for name in columns], self.raw)

    def profile(self) -> DataProfile:
        """Returns the counts and shares that shape the search space."""
        counts = np.bincount(self.labels, minlength=len(self.schema.classes))
        columns = tuple(
            for_each(lambda column: _profile(column, self), self.schema.columns, num_rows=self.num_rows)
        )
        return DataProfile(self.num_rows, tuple(int(count) for count in counts), columns)

    def feature_keys(self) -> np.ndarray:
        """Returns uint64[n]: equal for rows that are equal in all features, different for others.

        Spaces around a category make no difference, as no model sees them.
        """
        return self._feature_keys

    @cached_property
    def _feature_keys(self) -> np.ndarray:
        keys = np.zeros(self.num_rows, np.uint64)
        categorical = {column.name for column in self.schema.columns if column.kind is ColumnKind.CATEGORICAL}
        for name, values in self._contents().items():
            values = self.values(name) if name in categorical else values
            # equal numbers have equal bits once -0.0 is 0.0; every NaN here is the same one
            part = (
                (values + 0.0).view(np.uint64) if values.dtype == np.float64 else distinct_strings(values)[1]
            )
            keys = _mixed(keys ^ _mixed(part.astype(np.uint64)))
        return keys

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal digits over headers, raw values, classes and labels."""
        digest = hashlib.sha256(repr((self.schema.label, self.schema.classes, self.num_rows)).encode())
        for name, values in self._contents().items():
            digest.update(repr((name, str(values.dtype))).encode())
            if values.dtype == np.float64:
                digest.update(np.ascontiguousarray(values).data)
            else:
                for buffer in string_array(values).buffers()[1:]:
                    digest.update(buffer)
        digest.update(np.ascontiguousarray(self.labels, np.int32).data)
        return digest.hexdigest()

    def _contents(self) -> dict[str, np.ndarray]:
        """Returns the raw values, with a name of its content in the place of each picture."""
        images = {column.name for column in self.schema.columns if column.kind is ColumnKind.IMAGE}
        return {
            name: picture_digests(values) if name in images else values for name, values in self.raw.items()
        }


def load_dataset(
    source: str | Path | pd.DataFrame,
    *,
    label: str | None = None,
    encoding: str | None = None,
    image_folder: Path | None = None,
    group: str | None = None,
    time_column: str | None = None,
    ignored: Sequence[str] = (),
) -> tuple[Dataset, tuple[str, ...], tuple[str, ...]]:
    """Returns the data set of a labelled table, notes, and warnings, both in plain words.

    The notes say how the file was read and the label found, the warnings what deserves a look; the kinds
    and the columns left out are in the schema, each with its reason.

    Args:
        source: path or DataFrame, as for `read_table`.
        label: header of the label; None to find it.
        encoding: of a text file; None for UTF-8.
        image_folder: where the paths of pictures start; see `read_table`.
        group: header of a column whose equal values a split may not part; it is no feature.
        time_column: header of a column that orders rows in time; it stays a feature.
        ignored: headers of columns that are no features.

    Raises:
        DataError: the table cannot be used as it is.
        UsageError: no such encoding is known.
    """
    table = read_table(source, encoding=encoding, image_folder=image_folder)
    return dataset_of(table, label=label, group=group, time_column=time_column, ignored=ignored)


def dataset_of(
    table: RawTable,
    *,
    label: str | None = None,
    group: str | None = None,
    time_column: str | None = None,
    ignored: Sequence[str] = (),
) -> tuple[Dataset, tuple[str, ...], tuple[str, ...]]:
    """As `load_dataset`, for a table that was read already."""
    groups = None if group is None else group_codes(table, group)
    moments = None if time_column is None else moments_of(table, time_column)
    schema = infer_schema(table, label=label, group=group, ignored=ignored)
    labels = labels_of(table, schema)
    check_labels(table.name, schema, labels)
    check_features(table.name, schema)
    raw = features_for(schema.columns, table)
    dataset = Dataset(table.name, schema, raw, labels, groups, moments)
    unlabelled = int(np.count_nonzero(labels < 0))
    if unlabelled:
        dataset = dataset.rows(np.flatnonzero(labels >= 0))
    notes = (*table.notes, f"label column {schema.label!r}, {schema.label_reason}")
    warnings = list(header_warnings(table.columns, schema.label))
    warnings.extend(check_class_names(schema))
    if unlabelled:
        warnings.append(f"{unlabelled:,} of {table.num_rows:,} rows have no label and are left out")
    if dataset.moments is not None:
        warnings.extend(undated_rows(dataset.moments, time_column))
    for column in schema.columns:
        if column.kind is ColumnKind.IMAGE:
            warnings.extend(check_pictures(table.name, column.name, raw[column.name]))
        if is_number_kind(column.kind):
            values = column_values(column, raw[column.name])
            warnings.extend(check_readable(column, table.columns[column.name], values))
        if column.kind is ColumnKind.TEXT:
            warnings.extend(check_texts(column.name, string_array(raw[column.name])))
    warnings.extend(check_rows(schema, dataset.labels, dataset.feature_keys()))
    few = dataset.rows(rows_to_look_at(dataset.labels, len(schema.columns)))
    warnings.extend(
        check_columns({column.name: few.comparable(column.name) for column in schema.columns}, few.labels)
    )
    return dataset, notes, tuple(warnings)


def features_for(columns: Sequence[Column], table: RawTable) -> dict[str, np.ndarray]:
    """Returns the raw values of a table for a model, at prediction time.

    Further columns are ignored, and so is their order; a label is not needed.

    Args:
        columns: what the model takes.
        table: as read.

    Returns:
        Raw values by header in the order of `columns`.

    Raises:
        DataError: a column is missing, then the message shows the difference, or holds lists and the like.
    """
    missing = [column.name for column in columns if column.name not in table.columns]
    if missing:
        expected = {column.name for column in columns}
        extra = [name for name in table.columns if name not in expected]
        raise DataError(_difference(table.name, missing, extra, len(expected)))
    for column in columns:
        as_read = table.columns[column.name]
        if not is_readable(column, as_read):
            raise DataError(
                f"{table.name}: column {column.name!r} holds {shortened(str(as_read.type))} values, which "
                f"the model cannot read; in the training rows it was {column.kind.value}."
            )
    values = for_each(
        lambda column: raw_values(column, table.columns[column.name], table.folder),
        columns,
        num_rows=table.num_rows,
    )
    return {column.name: each for column, each in zip(columns, values, strict=True)}


class _RowsOf(Mapping[str, np.ndarray]):
    """Some rows of raw values by header: folds of a million rows would be copies of nearly all of them.

    It stays in its process: a pickle of it would hold all rows.
    """

    def __init__(self, raw: Mapping[str, np.ndarray], indices: np.ndarray) -> None:
        self._raw, self._indices = raw, indices

    def __getitem__(self, name: str) -> np.ndarray:
        return self._raw[name][self._indices]

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)


def stacked(columns: Sequence[Column], raw: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns column values side by side, `float64[n, k]` or `object[n, k]`, from raw values by header."""
    if len({(is_number_kind(column.kind), column.kind is ColumnKind.IMAGE) for column in columns}) != 1:
        raise ValueError(f"numbers, strings or pictures in one node: {[column.name for column in columns]}")
    return np.stack([column_values(column, raw[column.name]) for column in columns], axis=1)


def raw_texts(columns: Sequence[Column], raw: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns raw values side by side as text, `object[n, k]` of str, for a node that reads whole rows.

    Pictures stay what they are. Numbers become text that reads back as the same number of the column's raw
    type, `"nan"` where missing.
    """
    texts = []
    for column in columns:
        values = raw[column.name]
        if column.raw_type is not RawType.STRING:
            exact = values.astype(np.float32) if column.raw_type is RawType.FLOAT32 else values
            values = np.array([repr(value) for value in exact.astype(np.float64).tolist()], object)
        texts.append(values)
    return np.stack(texts, axis=1)


def _difference(name: str, missing: list[str], extra: list[str], num_expected: int) -> str:
    shown = ", ".join(repr(column) for column in missing[:5])
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    are = "is" if len(missing) == 1 else "are"
    message = f"{name}: of {num_expected} columns that the model takes, {shown}{more} {are} missing"
    if not extra:
        return f"{message}. Add what is missing; empty cells are fine."
    unknown = ", ".join(repr(column) for column in extra[:5]) + (" ..." if len(extra) > 5 else "")
    hint = near_names(missing[0], extra)
    help_ = f" For {missing[0]!r}: {hint}" if hint.startswith("did you mean") else ""
    return f"{message}; the table has {unknown} instead, which the model does not know.{help_}"


def _profile(column: Column, dataset: Dataset) -> ColumnProfile:
    values = dataset.comparable(column.name)
    if is_number_kind(column.kind):
        distinct = pc.count_distinct(pa.array(values, from_pandas=True), mode="only_valid").as_py()
        missing = float(np.isnan(values).mean()) if len(values) else 0.0
        return ColumnProfile(column.name, column.kind, distinct, missing)
    cells = count_cells(string_array(values))
    if column.kind is ColumnKind.IMAGE:
        sides = [
            (picture.height * picture.width) ** 0.5 for picture in dataset.raw[column.name] if picture.digest
        ]
        return ColumnProfile(
            column.name,
            column.kind,
            cells.num_distinct,
            cells.missing_share,
            picture_side=float(np.median(sides)) if sides else 0.0,
        )
    words = wording(cells)
    return ColumnProfile(
        column.name, column.kind, cells.num_distinct, cells.missing_share, words.mean_characters, words.spaced
    )


def _mixed(keys: np.ndarray) -> np.ndarray:
    """Scatters 64-bit integers (the finaliser of SplitMix64, Steele et al. 2014)."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))
