"""`ModelBuilder`, the Python API: scikit-learn's manners around one run."""

from __future__ import annotations

import atexit
import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from autoflow.budget import Budget, format_duration, parse_duration
from autoflow.components.discovery import ComponentFile
from autoflow.errors import NoModelError, UsageError
from autoflow.export.saved_model import Limits
from autoflow.report.figures import told_figures
from autoflow.run import RunReport, execute
from autoflow.settings import RunSettings

if TYPE_CHECKING:
    from autoflow.search.events import Event
    from autoflow.serving.predictor import Predictor

_LABEL_OF_Y = "label"


class ModelBuilder:
    """Builds a classifier from a labelled table and exports it as a TensorFlow SavedModel.

    The constructor stores its arguments; `fit` does the work. After it: `classes_`, `leaderboard_`,
    `report_`, `model_path_`, `warnings_`.

    Args:
        label: name of the label column; None to find it by name, else the last column.
        time_budget: for everything, such as `"90s"`, `"5m"`, `"1h30m"`, or seconds as a number.
        metric: what ranks trials: `log_loss`, `accuracy`, `balanced_accuracy`, `roc_auc` or `f1`.
        max_trials: trials in all; None for as many as fit in the time.
        output: run folder; None for a new temporary folder, which lives as long as this process.
        seed: with one worker, the same seed, machine and number of trials give the same leaderboard, unless
            the clock stops a trial, which the leaderboard says.
        workers: trials side by side; None for one a core.
        ray_address: a Ray cluster to join; None for this machine.
        components: files with components of your own.
        image_folder: where the paths of pictures start; None for the folder of the table, or the working
            folder for data frames.
        embeddings: exported models, run or version folders, whose embeddings are features of every trial.
        image_weights: pretrained networks for pictures, as `ARCHITECTURE=FILE` with a network and its weights
            of `keras.applications`, or `ARCHITECTURE=imagenet` for the published ones, fetched if need be.
        group: column whose equal values, such as a customer, are never parted between training and checking.
        time_column: column that orders rows in time; models of earlier rows are checked on later ones.
        ignore: columns that are left out.
        max_latency_ms: milliseconds that one row may take through the exported graph on this machine.
        max_size_mb: millions of bytes that the exported model may have.
        encoding: of text files; None for UTF-8.
        text_embeddings: folders of pretrained Model2Vec embeddings of texts; never fetched.

    >>> builder = ModelBuilder(label="species", time_budget="1m")
    >>> builder
    ModelBuilder(label='species', time_budget='1m', metric='log_loss')
    """

    def __init__(
        self,
        label: str | None = None,
        *,
        time_budget: str | float = "5m",
        metric: str = "log_loss",
        max_trials: int | None = None,
        output: str | Path | None = None,
        seed: int = 0,
        workers: int | None = None,
        ray_address: str | None = None,
        components: Sequence[str | Path] = (),
        image_folder: str | Path | None = None,
        embeddings: Sequence[str | Path] = (),
        image_weights: Sequence[str] = (),
        group: str | None = None,
        time_column: str | None = None,
        ignore: str | Sequence[str] = (),
        max_latency_ms: float = math.inf,
        max_size_mb: float = math.inf,
        encoding: str | None = None,
        text_embeddings: Sequence[str | Path] = (),
    ) -> None:
        self.label = label
        self.time_budget = time_budget
        self.metric = metric
        self.max_trials = max_trials
        self.output = output
        self.seed = seed
        self.workers = workers
        self.ray_address = ray_address
        self.components = components
        self.image_folder = image_folder
        self.embeddings = embeddings
        self.image_weights = image_weights
        self.group = group
        self.time_column = time_column
        self.ignore = ignore
        self.max_latency_ms = max_latency_ms
        self.max_size_mb = max_size_mb
        self.encoding = encoding
        self.text_embeddings = text_embeddings

    def fit(
        self,
        data: str | Path | pd.DataFrame,
        y: Sequence[object] | np.ndarray | pd.Series | None = None,
        *,
        observer: Callable[[Event], None] | None = None,
    ) -> ModelBuilder:
        """Searches and exports the best model.

        Args:
            data: a file (CSV, TSV, JSON lines, Parquet) or data frame that holds the label; or, with `y`,
                the features alone.
            y: one label a row; None where `data` holds them.
            observer: is called with every event of the run, to show progress.

        Returns:
            This object.

        Raises:
            AutoFlowError: see `autoflow.errors`; the message says what to do.
        """
        from autoflow.search.events import Warned
        from autoflow.serving.predictor import find_version

        if y is not None and self.label is not None:
            raise UsageError("fit(X, y) takes the labels from y; leave label out of ModelBuilder")
        table, label = (data, self.label) if y is None else _joined(data, y)
        source = str(data) if isinstance(data, str | Path) else "data frame"
        output = Path(self.output) if self.output is not None else self._temporary_folder()
        settings = RunSettings(
            output=output,
            label=label,
            seconds=parse_duration(self.time_budget),
            max_trials=self.max_trials,
            metric=self.metric,
            seed=self.seed,
            workers=self.workers,
            ray_address=self.ray_address,
            component_files=tuple(ComponentFile.read(Path(path)) for path in self.components),
            image_folder=None if self.image_folder is None else Path(self.image_folder),
            source=source,
            embeddings=tuple(find_version(Path(folder)) for folder in self.embeddings),
            image_weights=tuple(self.image_weights),
            group=self.group,
            time_column=self.time_column,
            ignored=(self.ignore,) if isinstance(self.ignore, str) else tuple(self.ignore),
            encoding=self.encoding,
            limits=Limits(self.max_latency_ms, self.max_size_mb),
            text_embeddings=tuple(Path(folder) for folder in self.text_embeddings),
        )
        self._said: list[str] = []
        show = observer or _ignore

        def told(event: Event) -> None:
            if isinstance(event, Warned):
                self._said.append(event.text)
            show(event)

        self.report_: RunReport = execute(table, settings, told, Budget(settings.seconds))
        self._predictor: Predictor | None = None
        return self

    @property
    def model_path_(self) -> Path:
        """The exported version folder."""
        return self._fitted_report().model.folder

    @property
    def classes_(self) -> np.ndarray:
        """The class labels in their original type, in the order of `predict_proba`."""
        return self._model().classes_

    @property
    def leaderboard_(self) -> pd.DataFrame:
        """All trials, the best first."""
        return pd.DataFrame(list(self._fitted_report().rows))

    @property
    def warnings_(self) -> tuple[str, ...]:
        """What deserves a look in the data and in the model, in plain words."""
        report = self._fitted_report()
        return tuple(dict.fromkeys([*report.warnings, *self._said]))

    def predict(self, data: str | Path | pd.DataFrame) -> np.ndarray:
        """Returns one label a row, in the original type, from the exported model."""
        return self._model().predict(data, encoding=self.encoding, image_folder=self.image_folder)

    def predict_proba(self, data: str | Path | pd.DataFrame) -> np.ndarray:
        """Returns `float32[n, num_classes]`, columns in the order of `classes_`."""
        return self._model().predict_proba(data, encoding=self.encoding, image_folder=self.image_folder)

    def score(
        self,
        data: str | Path | pd.DataFrame,
        y: Sequence[object] | np.ndarray | pd.Series | None = None,
    ) -> float:
        """Returns the accuracy on labelled rows, as scikit-learn's classifiers do.

        Args:
            data: as in `fit`.
            y: as in `fit`.
        """
        model = self._model()
        if y is not None:
            features = _features(data).drop(columns=model.label, errors="ignore")
            data, _ = _joined(features, pd.Series(_one_a_row(y), name=model.label))
        return model.evaluate(data, encoding=self.encoding, image_folder=self.image_folder).accuracy

    def export(self, path: str | Path) -> Path:
        """Copies the exported version folder and returns where it is.

        Args:
            path: a new folder. For TensorFlow Serving, end it in an integer, such as `models/shop/1`.

        Raises:
            UsageError: the folder exists.
        """
        target = Path(path)
        if target.exists():
            raise UsageError(f"{target} exists; name a new folder, such as {target / '1'}")
        shutil.copytree(self.model_path_, target)
        return target

    def _fitted_report(self) -> RunReport:
        if "report_" not in vars(self):
            raise NoModelError("this ModelBuilder is not fitted yet; call fit first")
        return self.report_

    def _model(self) -> Predictor:
        from autoflow.serving.predictor import load

        folder = self.model_path_
        if self._predictor is None:
            self._predictor = load(folder)
        return self._predictor

    def _temporary_folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="autoflow-run-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def __repr__(self) -> str:
        return f"ModelBuilder(label={self.label!r}, time_budget={self.time_budget!r}, metric={self.metric!r})"

    def _repr_html_(self) -> str:
        if "report_" not in vars(self):
            return f"<code>{escape(repr(self))}</code>, not fitted"
        report = self.report_
        told = told_figures(report.model.scores)
        # rows of one class have no ROC curve
        score, where = next((each[report.metric], rows) for each, rows in told if report.metric in each)
        title = (
            f"<b>{escape(str(report.model))}</b><br>{escape(report.metric)} "
            f"{score:.4f} {escape(where)}; "
            f"{len(report.rows)} trials in "
            f"{escape(format_duration(report.seconds))}<br>{escape(str(report.model.folder))}"
        )
        return title + self.leaderboard_.head(10).to_html(index=False, escape=True)


def _features(features: str | Path | pd.DataFrame) -> pd.DataFrame:
    if isinstance(features, str | Path):
        raise UsageError("with y, X is a data frame; a file must hold the label itself")
    return pd.DataFrame(features)


def _joined(
    features: str | Path | pd.DataFrame, y: Sequence[object] | np.ndarray | pd.Series
) -> tuple[pd.DataFrame, str]:
    """Returns features and labels as one frame, and the name of its label column."""
    frame = _features(features)
    labels = _one_a_row(y)
    if len(labels) != len(frame):
        raise UsageError(
            f"X has {len(frame)} rows and y {len(labels)}; they must be the same rows in the same order"
        )
    name = str(getattr(y, "name", None) or _LABEL_OF_Y)
    while name in frame.columns:
        name += "_"
    return frame.assign(**{name: labels}), name


def _one_a_row(y: Sequence[object] | np.ndarray | pd.Series) -> np.ndarray:
    values = y.to_numpy() if isinstance(y, pd.Series | pd.DataFrame) else y
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise UsageError(f"y has the shape {values.shape}; it must hold one label a row")
    return pd.Series(values).to_numpy()


def _ignore(event: Event) -> None:
    """Shows nothing."""
