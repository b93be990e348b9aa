"""Predictions from an exported model: TensorFlow, its manifest and the data floor, and never a component.

`load` finds the version, checks that its files are the ones that were exported, and opens the graph as a
server does. Nothing is unpickled and no code of the model's makers runs, only the operations of its graph.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from autoflow.data.reading import RawTable
from autoflow.data.schema import Column, ColumnKind
from autoflow.errors import NoModelError, UsageError
from autoflow.manifest import Manifest, damage, read_manifest, versions_in
from autoflow.metrics import Scores, evaluate_probabilities
from autoflow.serving.rows import first_ten, labelled_rows, open_table, raw_rows
from autoflow.serving.session import ServingSession

_log = logging.getLogger(__name__)

_BATCH_ROWS = 4096
_PICTURE_ROWS = 128
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


def load(path: str | os.PathLike[str]) -> Predictor:
    """Returns a predictor for an exported model.

    Args:
        path: a version folder such as `run/model/1`, a model folder with integer versions (the largest is
            taken), or a run folder that holds one as `model/`.

    Raises:
        UsageError: there is no such path.
        NoModelError: no model there, or a damaged or changed one.

    >>> load("run").predict("new_rows.csv")                                             # doctest: +SKIP
    array(['yes', 'no'], dtype=object)
    """
    folder = find_version(Path(path))
    manifest = read_manifest(folder)
    wrong = damage(folder, manifest)
    if wrong:
        raise NoModelError(f"{folder}: {wrong}; copy the version folder again, or export the model again.")
    return Predictor(folder, manifest, ServingSession(folder, manifest.schema))


def find_version(path: Path) -> Path:
    """Returns the version folder that a path means: itself, or the largest version in it or in its `model`.

    Raises:
        UsageError: there is no such path.
        NoModelError: there is no model in it.
    """
    if (path / "saved_model.pb").exists():
        return path
    for folder in (path / "model", path):
        versions = versions_in(folder)
        if versions:
            return folder / str(versions[-1])
    if not path.exists():
        raise UsageError(f"{path}: there is no such folder; give a run folder or a version folder.")
    raise NoModelError(
        f"{path}: there is no exported model here; give a run folder whose search has finished, "
        "or a version folder such as run/model/1."
    )


class Predictor:
    """An exported model that answers tables; made by `load`.

    Args:
        folder: version folder.
        manifest: of that folder.
        session: its loaded graph.
    """

    def __init__(self, folder: Path, manifest: Manifest, session: ServingSession) -> None:
        self.folder = folder
        self.manifest = manifest
        self._session = session
        self._warnings: tuple[str, ...] = ()
        self._classes = _typed(manifest.schema.classes, manifest.schema.label_type)

    @property
    def classes_(self) -> np.ndarray:
        """The classes in the type of the training labels, in the order of the columns of `predict_proba`."""
        return self._classes.copy()

    @property
    def label(self) -> str:
        """Header of the label column."""
        return self.manifest.schema.label

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that the model reads; a table may have more."""
        return self.manifest.schema.columns

    @property
    def warnings_(self) -> tuple[str, ...]:
        """What was wrong with cells of the last table, one sentence a column; empty where nothing was."""
        return self._warnings

    def predict(
        self,
        data: str | os.PathLike[str] | pd.DataFrame,
        *,
        encoding: str | None = None,
        image_folder: str | os.PathLike[str] | None = None,
    ) -> np.ndarray:
        """Returns the most probable class of each row, in the type of the training labels.

        Args:
            data: a table's path or a DataFrame; columns that the model does not read are ignored.
            encoding: of a text file; None for UTF-8 or what a byte order mark says.
            image_folder: where the paths of pictures start; None for the folder of the file, or the working
                folder for a DataFrame.

        Raises:
            DataError: the table cannot be read or lacks a column.
        """
        probabilities = self.predict_proba(data, encoding=encoding, image_folder=image_folder)
        return self._classes[probabilities.argmax(axis=1)]

    def predict_proba(
        self,
        data: str | os.PathLike[str] | pd.DataFrame,
        *,
        encoding: str | None = None,
        image_folder: str | os.PathLike[str] | None = None,
    ) -> np.ndarray:
        """Returns `float32[n, C]`, rows in the order of the table and columns in that of `classes_`.

        Args and errors are those of `predict`.
        """
        return self._predict(open_table(data, encoding, image_folder))

    def predict_raw(self, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns `float32[n, C]` for rows that are already raw values.

        Args:
            raw: by header, `float64[n]` with NaN or `object[n]` of str with "" where missing, `object[n]` of
                bytes for pictures.
        """
        batches = [self._session.probabilities(batch) for batch in self._batches(raw)]
        return np.concatenate(batches) if batches else np.zeros((0, len(self._classes)), np.float32)

    def embed(
        self,
        data: str | os.PathLike[str] | pd.DataFrame,
        *,
        encoding: str | None = None,
        image_folder: str | os.PathLike[str] | None = None,
    ) -> np.ndarray:
        """Returns `float32[n, d]`: what the model makes of each row before it decides, for other uses.

        Of a network these are its fused features, which were learned; of another classifier its prepared
        features, or log-probabilities where there are over 512 features. Of several members the heaviest
        network speaks, or else the heaviest member. Args are those of `predict`.

        Raises:
            DataError: the table cannot be read or lacks a column.
            NoModelError: the model was exported by an AutoFlow that had no embeddings yet.
        """
        raw = self._raw(open_table(data, encoding, image_folder))
        batches = [self._session.embeddings(batch) for batch in self._batches(raw)]
        size = self.manifest.embedding_size
        return np.concatenate(batches) if batches else np.zeros((0, size), np.float32)

    def _batches(self, raw: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        num_rows = len(raw[self.columns[0].name]) if self.columns else 0
        pictures = any(column.kind is ColumnKind.IMAGE for column in self.columns)
        size = _PICTURE_ROWS if pictures else _BATCH_ROWS  # a batch of photos is read as a whole
        for start in range(0, num_rows, size):
            yield {name: values[start : start + size] for name, values in raw.items()}

    def predict_table(
        self,
        data: str | os.PathLike[str] | pd.DataFrame,
        *,
        encoding: str | None = None,
        image_folder: str | os.PathLike[str] | None = None,
    ) -> pd.DataFrame:
        """Returns a row of answers a row of the table: `label`, `score`, and `score_<class>` of every class.

        Labels are strings, spelled as in the training table; `predict` has them in their type.
        Args and errors are those of `predict`. The index of a DataFrame is kept.
        """
        probabilities = self.predict_proba(data, encoding=encoding, image_folder=image_folder)
        classes = self.manifest.schema.classes
        spelled = np.array(classes, dtype=object)  # as in the training table, so that the two can be joined
        answers = {"label": spelled[probabilities.argmax(axis=1)], "score": probabilities.max(axis=1)}
        for position, name in enumerate(classes):
            answers[f"score_{name}"] = probabilities[:, position]
        return pd.DataFrame(answers, index=data.index if isinstance(data, pd.DataFrame) else None)

    def evaluate(
        self,
        data: str | os.PathLike[str] | pd.DataFrame,
        *,
        encoding: str | None = None,
        image_folder: str | os.PathLike[str] | None = None,
    ) -> Scores:
        """Returns how good the answers are on labelled rows; rows without a label are left out.

        A label that the model does not know counts as wrong. Args are those of `predict`.

        Raises:
            DataError: the table cannot be read, or lacks a column or the labels.
        """
        table = open_table(data, encoding, image_folder)
        positions, labels = labelled_rows(self.manifest.schema, table)
        probabilities = self._predict(table)[positions]
        unknown = int((labels < 0).sum())
        if unknown:
            labels_are = "1 label is" if unknown == 1 else f"{unknown} labels are"
            self._warn((f"{table.name}: {labels_are} no class of this model, which counts as wrong.",))
        return evaluate_probabilities(labels, probabilities, self.manifest.schema.classes)

    def _predict(self, table: RawTable) -> np.ndarray:
        return self.predict_raw(self._raw(table))

    def _raw(self, table: RawTable) -> dict[str, np.ndarray]:
        rows = raw_rows(self.manifest.schema, table)
        self._warnings = ()
        self._warn(rows.warnings)
        return rows.values

    def _warn(self, warnings: tuple[str, ...]) -> None:
        self._warnings += warnings
        for warning in warnings:
            _log.warning("%s", warning)

    def __repr__(self) -> str:
        schema = self.manifest.schema
        return f"Predictor({str(self.folder)!r}: {schema.label!r} from {len(schema.columns)} columns)"

    def _repr_html_(self) -> str:
        schema = self.manifest.schema
        facts = {
            "model": str(self.folder),
            "predicts": f"{schema.label}: {first_ten(schema.classes)}",
            "exported": self.manifest.created,
            "training rows": str(self.manifest.details.num_training_rows),
        }
        facts |= {
            f"{rows} {name}": f"{value:.4g}"
            for rows, figures in self.manifest.details.metrics.items()
            for name, value in figures.items()
            if isinstance(value, (int, float))
        }
        head = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items())
        body = "".join(
            f"<tr><td>{escape(column.name)}</td><td>{escape(column.kind)}</td>"
            f"<td>{escape(column.raw_type)}</td></tr>"
            for column in schema.columns
        )
        return (
            f"<table>{head}</table><details><summary>{len(schema.columns)} columns</summary>"
            f"<table><tr><th>column</th><th>kind</th><th>type</th></tr>{body}</table></details>"
        )


def _typed(classes: tuple[str, ...], label_type: str) -> np.ndarray:
    """Returns class names in the type of the training labels; strings where a name is no such value."""
    try:
        if label_type == "integer":
            return np.array([int(name) for name in classes])
        if label_type == "float":
            return np.array([float(name) for name in classes])
        if label_type == "boolean":
            return np.array([_TRUTHS[name.lower()] for name in classes])
    except (KeyError, ValueError, OverflowError):
        _log.warning("the classes are no %s values and are returned as strings", label_type)
    return np.array(classes, dtype=object)
