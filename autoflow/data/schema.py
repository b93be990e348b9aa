"""What AutoFlow knows about a table: column kinds, raw types, label classes and a statistical profile.

These are immutable values that travel to workers, into the run folder and into the manifest. Reading
files and guessing kinds happens elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property


class ColumnKind(StrEnum):
    """What a column means to the feature extractors."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    TEXT = "text"
    IMAGE = "image"
    ROW = "row"
    """Of no column: what a node has that reads raw values of several columns for an exported model."""


class RawType(StrEnum):
    """What the exported model takes for a column: the type of its input tensor."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"


@dataclass(frozen=True)
class Column:
    """One feature column of the table.

    Args:
        name: the raw header.
        kind: what the column means.
        raw_type: type of the raw value. Numbers are float32, or float64 where the training values do not
            fit float32 exactly enough (integers past 2^24); everything else is a string, numbers that are
            written with a unit or a decimal comma included.
        reason: why the kind was chosen, in plain words.
        datetime_format: name of the format in `autoflow.data.datetimes`; empty for other kinds.
        true_values: for booleans held as strings, the spellings of true (compared after stripping).
        false_values: likewise of false. Any other spelling is missing.
        number_format: for numbers held as strings, the name of the format in `autoflow.data.numbers`.
        known_values: for categories, all that the training rows had (stripped), sorted; empty where they are
            too many to travel with the model.
    """

    name: str
    kind: ColumnKind
    raw_type: RawType
    reason: str = ""
    datetime_format: str = ""
    true_values: tuple[str, ...] = ()
    false_values: tuple[str, ...] = ()
    number_format: str = ""
    known_values: tuple[str, ...] = ()


@dataclass(frozen=True)
class DroppedColumn:
    """A column that is left out, with the reason in plain words."""

    name: str
    reason: str


@dataclass(frozen=True)
class Schema:
    """The columns that a model uses, the label and its classes.

    Args:
        columns: feature columns in the order of the table.
        label: header of the label column.
        classes: the labels as strings in their original spelling, sorted (numerically when all are
            numbers); class `i` of every probability matrix is `classes[i]`.
        label_reason: how the label column was chosen.
        label_type: `"string"`, `"integer"`, `"float"` or `"boolean"`: what the Python API returns.
        dropped: columns left out.
    """

    columns: tuple[Column, ...]
    label: str
    classes: tuple[str, ...]
    label_reason: str = ""
    label_type: str = "string"
    dropped: tuple[DroppedColumn, ...] = ()

    def column(self, name: str) -> Column:
        """Returns the column with this header; raises KeyError for an unknown one."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}


@dataclass(frozen=True)
class ColumnProfile:
    """Statistics of one feature column that shape the search space.

    Args:
        name: the raw header.
        kind: as in the schema.
        num_distinct: number of distinct non-missing values.
        missing_share: share of missing rows, 0 to 1.
        mean_characters: mean length of the non-missing strings; 0 for numbers.
        spaced: whether the strings hold words parted by spaces (False for Japanese and the like).
        picture_side: median of the pictures' sides in pixels (root of height times width); 0 for others.
    """

    name: str
    kind: ColumnKind
    num_distinct: int
    missing_share: float
    mean_characters: float = 0.0
    spaced: bool = True
    picture_side: float = 0.0


@dataclass(frozen=True)
class ModelPart:
    """An exported model whose embedding is to be a feature of the next one.

    Args:
        folder: its version folder, absolute.
        fingerprint: SHA-256 in hexadecimal digits over the files that its graph is read from.
        columns: headers of the raw columns that it reads, in the order of its inputs.
    """

    folder: str
    fingerprint: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class ImageWeights:
    """A pretrained network for pictures.

    Args:
        architecture: name in `keras.applications`.
        file: of weights, or `imagenet`.
        fingerprint: of the file.
    """

    architecture: str
    file: str
    fingerprint: str


@dataclass(frozen=True)
class TextEmbeddings:
    """A pretrained embedding model for texts.

    Args:
        folder: where it lies, absolute.
        fingerprint: of its files.
    """

    folder: str
    fingerprint: str


@dataclass(frozen=True)
class DataProfile:
    """What `sample` may know about the data: never values, only counts and shares.

    Args:
        num_rows: rows available for training.
        class_counts: rows of each class, in class order.
        columns: one profile a feature column.
        parts: exported models whose embeddings the user wants as features.
        image_weights: pretrained networks for pictures that the user named.
        text_embeddings: pretrained embedding models for texts that the user named.
    """

    num_rows: int
    class_counts: tuple[int, ...]
    columns: tuple[ColumnProfile, ...]
    parts: tuple[ModelPart, ...] = ()
    image_weights: tuple[ImageWeights, ...] = ()
    text_embeddings: tuple[TextEmbeddings, ...] = ()

    @property
    def num_classes(self) -> int:
        """Number of classes, two or more."""
        return len(self.class_counts)

    def restricted(self, names: Sequence[str]) -> DataProfile:
        """Returns the profile of some of the columns, in the given order, without parts."""
        by_name = {column.name: column for column in self.columns}
        return replace(self, columns=tuple(by_name[name] for name in names), parts=())
