"""How good class probabilities are: the metrics a search can optimise and the figures that `evaluate` shows.

Everything is plain NumPy, so that scoring a trial costs milliseconds and imports nothing; no learning
library may enter this file. What rows are scored, and whether they had a part in choosing, is known to
`figures`. Rows are compared by class codes: class `i` is column `i` of the probabilities, and the code -1
stands for a label that the model does not know, which no prediction can get right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from autoflow.errors import UsageError, near_names

SMALLEST_PROBABILITY = 1e-15
"""Probabilities are clipped to this before their logarithm is taken."""

_TOP_K = 5
_SURE = 3.0
_TOP_K_FROM_CLASSES = 10
_CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Scores:
    """The figures of one set of rows.

    Args:
        num_rows: rows that were scored.
        unknown_labels: rows whose label is no class of the model; they count as wrong.
        log_loss: mean negative logarithm of the probability of the true class, 0 or more.
        accuracy: share of rows whose most probable class is the true one.
        balanced_accuracy: mean over the classes that occur of the share of their rows that are right.
        roc_auc: area under the ROC curve; for three classes or more the mean of one class against the
            rest over the classes for which it exists; None where it exists for none.
        f1: mean over classes of the harmonic mean of precision and recall.
        f1_positive: the same of the second class alone, for two classes; otherwise None.
        top_5_accuracy: share of rows whose true class is among the five most probable; None below ten
            classes.
        calibration_error: how far confidence is from the truth, 0 to 1, see `calibration_error`; of few rows
            it is above 0 by chance alone.
        classes: class names, in the order of the confusion matrix.
        confusion: `confusion[i][j]` rows of class `i` were predicted as class `j`.
    """

    num_rows: int
    unknown_labels: int
    log_loss: float
    accuracy: float
    balanced_accuracy: float
    roc_auc: float | None
    f1: float
    f1_positive: float | None
    top_5_accuracy: float | None
    calibration_error: float
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the figures as JSON values; what is undefined is None."""
        # `asdict` would copy a million counts of 1,000 classes one by one
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"classes": list(self.classes), "confusion": [list(row) for row in self.confusion]}


def metric_names() -> tuple[str, ...]:
    """Returns the names of the metrics that a search can optimise.

    >>> metric_names()
    ('log_loss', 'accuracy', 'balanced_accuracy', 'roc_auc', 'f1')
    """
    return tuple(_METRICS)


def check_metric(metric: str) -> str:
    """Returns the name of a metric as it is; raises UsageError with the near names for an unknown one.

    >>> check_metric("logloss")
    Traceback (most recent call last):
        ...
    autoflow.errors.UsageError: no metric is called 'logloss'; did you mean 'log_loss'?
    """
    if metric not in _METRICS:
        raise UsageError(f"no metric is called '{metric}'; {near_names(metric, metric_names())}")
    return metric


def larger_is_better(metric: str) -> bool:
    """Tells whether a larger value of the metric is better: false for `log_loss` only.

    Raises:
        UsageError: unknown metric.
    """
    return check_metric(metric) != "log_loss"


def score(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns one metric of some rows.

    Args:
        metric: one of `metric_names()`.
        labels: class codes `int[n]`, n at least 1; -1 for a label that is no class.
        probabilities: `float[n, C]`, rows sum to 1.

    Returns:
        The value; NaN where the metric is undefined for these rows or a probability is NaN.

    Raises:
        UsageError: unknown metric.

    >>> score("accuracy", np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]))
    0.5
    """
    measure = _METRICS[check_metric(metric)]
    if not len(labels) or np.isnan(probabilities).any():
        return math.nan
    return measure(np.asarray(labels), np.asarray(probabilities))


def evaluate_probabilities(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> Scores:
    """Returns all figures of some rows.

    Args:
        labels: class codes `int[n]`, n at least 1; -1 for a label that is no class.
        probabilities: `float[n, C]`, rows sum to 1.
        classes: the C class names.
    """
    labels = np.asarray(labels)
    f1_by_class = _f1_by_class(labels, probabilities)
    roc_auc = score("roc_auc", labels, probabilities)
    num_classes = len(classes)
    return Scores(
        num_rows=len(labels),
        unknown_labels=int((labels < 0).sum()),
        log_loss=score("log_loss", labels, probabilities),
        accuracy=score("accuracy", labels, probabilities),
        balanced_accuracy=score("balanced_accuracy", labels, probabilities),
        roc_auc=None if math.isnan(roc_auc) else roc_auc,
        f1=score("f1", labels, probabilities),
        f1_positive=float(np.nan_to_num(f1_by_class[1])) if num_classes == 2 else None,
        top_5_accuracy=_top_k_accuracy(labels, probabilities) if num_classes >= _TOP_K_FROM_CLASSES else None,
        calibration_error=calibration_error(labels, probabilities),
        classes=tuple(classes),
        confusion=tuple(tuple(int(count) for count in row) for row in _confusion(labels, probabilities)),
    )


def imagined_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns what probability the true class of one more row might have got, a row that is predicted wrong.

    Of few rows that are all right, the boldest model has the lowest log-loss, and one wrong row undoes it:
    with 0 of m rows wrong, about one in m + 1 is to be expected (Laplace's rule of succession). The other
    classes of a usual row share what its prediction leaves them. The rows that are wrong tell more than an
    imagined one, which counts the less the more there are.

    Args:
        labels: class codes `int[n]`, n at least 1; -1 for a label that is no class.
        probabilities: `float[n, C]`, rows sum to 1, C at least 2.

    >>> round(imagined_error(np.array([0, 1]), np.array([[0.9, 0.1], [0.1, 0.9]])), 6)
    0.1
    >>> round(imagined_error(np.array([0, 0]), np.array([[0.9, 0.1], [0.1, 0.9]])), 6)  # 0.1 ** (1 / 2)
    0.316228
    """
    others = probabilities.astype(np.float64)
    others[np.arange(len(labels)), probabilities.argmax(axis=1)] = 0.0
    left = np.maximum(others.sum(axis=1) / (probabilities.shape[1] - 1), SMALLEST_PROBABILITY)
    num_wrong = len(labels) - int(_hits(labels, probabilities).sum())
    return float(np.exp(np.log(left).mean() / (1 + num_wrong)))


def careful_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the log-loss with one more row, which has the `imagined_error`; arguments as there.

    Of many rows, some of them wrong, it is the log-loss. NaN where a probability is.
    """
    if np.isnan(probabilities).any():
        return math.nan
    losses = _losses(labels, probabilities).sum() - math.log(imagined_error(labels, probabilities))
    return float(losses / (len(labels) + 1))


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the expected calibration error of the most probable classes.

    Rows are put into 15 bins by the probability of their most probable class; it is the mean over the rows of
    the distance between the mean of these probabilities in a bin and the share of its rows that are right
    (Naeini, Cooper and Hauskrecht, AAAI 2015; Guo et al., ICML 2017).

    Args:
        labels: class codes `int[n]`, n at least 1; -1 for a label that is no class.
        probabilities: `float[n, C]`, rows sum to 1.

    >>> round(calibration_error(np.array([0, 0, 1, 1]), np.full((4, 2), [0.75, 0.25])), 6)
    0.25
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    bins = np.clip((confidence * _CALIBRATION_BINS).astype(np.int64), 0, _CALIBRATION_BINS - 1)
    excess = np.bincount(bins, confidence - _hits(labels, probabilities), minlength=_CALIBRATION_BINS)
    return float(np.abs(excess).sum() / len(labels))


def standard_error(values: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Returns the standard error of the mean of some values, NaN where it cannot be told.

    Rows of a group are alike, so that of groups it is of their sums (Liang and Zeger, Biometrika 1986).

    Args:
        values: `float[n]`.
        groups: `int[n]`, equal for rows of one group; None where each row is one.

    >>> round(standard_error(np.array([0.0, 1.0])), 3), standard_error(np.arange(2.0), np.array([5, 5]))
    (0.5, nan)
    """
    deviations = values - values.mean()
    if groups is not None:
        deviations = np.bincount(np.unique(groups, return_inverse=True)[1], deviations)
    count = len(deviations)
    if count < 2:
        return math.nan
    return float(math.sqrt((deviations**2).sum() * count / (count - 1)) / len(values))


def clearly_better(
    labels: np.ndarray,
    probabilities: np.ndarray,
    others: np.ndarray,
    groups: np.ndarray | None = None,
) -> bool:
    """Tells whether probabilities beat others on the same rows by more than luck, in log-loss or accuracy.

    Rows are compared in pairs; more than luck are three standard errors of their mean difference, as the
    probabilities were the best of many.

    Args:
        labels: class codes `int[n]`, n at least 1.
        probabilities: `float[n, C]`.
        others: `float[n, C]`.
        groups: as in `standard_error`.
    """
    gains = (
        _losses(labels, others) - _losses(labels, probabilities),
        _hits(labels, probabilities).astype(np.float64) - _hits(labels, others),
    )
    if groups is not None and len(np.unique(groups)) == 1:  # whose sum alone has no error
        groups = None
    return any(gain.mean() > _SURE * standard_error(gain, groups) for gain in gains)


def _log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float(_losses(labels, probabilities).mean())


def _losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    own = probabilities[np.arange(len(labels)), np.maximum(labels, 0)].astype(np.float64)
    own = np.where(labels < 0, 0.0, own)
    return -np.log(np.clip(own, SMALLEST_PROBABILITY, 1.0))


def _accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float(_hits(labels, probabilities).mean())


def _hits(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return probabilities.argmax(axis=1) == labels


def _balanced_accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    confusion = _confusion(labels, probabilities)
    rows = confusion.sum(axis=1)
    present = rows > 0
    if not present.any():
        return math.nan
    recall = np.diag(confusion)[present] / rows[present]
    # Rows with unknown labels are one more class, of which nothing is ever right.
    return float(recall.sum() / (len(recall) + bool((labels < 0).any())))


def _f1(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float(np.nanmean(_f1_by_class(labels, probabilities)))


def _f1_by_class(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns `float64[C]`, NaN for a class that is neither true nor predicted anywhere."""
    confusion = _confusion(labels, probabilities)
    predicted = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    both = confusion.sum(axis=1) + predicted
    return np.where(both > 0, 2 * np.diag(confusion) / np.maximum(both, 1), np.nan)


def _roc_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    columns = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    areas = [_roc_auc_of_one(labels == column, probabilities[:, column]) for column in columns]
    known = [area for area in areas if not math.isnan(area)]
    return sum(known) / len(known) if known else math.nan


def _roc_auc_of_one(positive: np.ndarray, scores: np.ndarray) -> float:
    """Returns the share of pairs of a positive and a negative row in the right order, ties half."""
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        return math.nan
    # sorting values is several times as fast as sorting positions, and so is looking up what is sorted
    own, others = np.sort(scores[positive]), np.sort(scores[~positive])
    below = np.searchsorted(others, own, "left") + np.searchsorted(others, own, "right")
    return float(below.sum() / (2 * num_positive * num_negative))


def _top_k_accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :_TOP_K]
    return float((order == labels[:, None]).any(axis=1).mean())


def _confusion(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    num_classes = probabilities.shape[1]
    known = labels >= 0
    cells = labels[known].astype(np.int64) * num_classes + probabilities[known].argmax(axis=1)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "log_loss": _log_loss,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "roc_auc": _roc_auc,
    "f1": _f1,
}
