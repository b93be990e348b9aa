"""What is told about a model that was chosen: its figures on rows, doubts, what each column contributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autoflow import metrics
from autoflow.data.dataset import Dataset
from autoflow.data.split import make_choice_folds
from autoflow.export.examples import spread
from autoflow.pipeline.assembly import WeightedPipelines
from autoflow.pipeline.contributions import mean_contributions
from autoflow.search.evaluate import Experiment
from autoflow.search.events import Observer, Warned
from autoflow.search.members import Member, MemberChooser
from autoflow.search.trial import TrialResult

_CONTRIBUTION_ROWS = 500


def held_out_figures(
    probabilities: np.ndarray, experiment: Experiment
) -> tuple[dict[str, Mapping[str, Any]], tuple[str, ...]]:
    """Returns figures on the held-out rows, of the class shares alone too, and doubts in plain words.

    Args:
        probabilities: of the model, `float32[m, C]`, in the order of the held-out rows.
        experiment: the data.
    """
    shares = experiment.class_shares
    rows = experiment.validation_rows
    scores = {
        "validation": _figures(probabilities, rows, experiment.dataset),
        "class_shares": _figures(shares, rows, experiment.dataset),
    }
    groups = _groups_of(experiment.dataset, rows)
    if metrics.clearly_better(experiment.dataset.labels[rows], probabilities, shares, groups):
        return scores, ()
    loss, loss_of_shares = (scores[name]["log_loss"] for name in ("validation", "class_shares"))
    doubt = (
        f"the columns given do not seem to tell anything about {experiment.dataset.schema.label!r}: on "
        "held-out rows the model is not clearly better than one that always answers with the shares of the "
        f"classes (log-loss {loss:.4f}, of the shares {loss_of_shares:.4f})"
    )
    return scores, (doubt,)


def set_aside_figures(model: WeightedPipelines, experiment: Experiment) -> Mapping[str, Any]:
    """Returns the scores of a model on the rows that no trial saw, with the standard error of the log-loss.

    Args:
        model: fitted without these rows.
        experiment: the data.
    """
    dataset, rows = experiment.dataset, experiment.set_aside
    probabilities = model.predict_probabilities(
        {column.name: dataset.raw[column.name][rows] for column in dataset.schema.columns}
    )
    return _figures_with_error(probabilities, rows, dataset)


def cross_chosen_figures(
    chooser: MemberChooser,
    members: Sequence[Member],
    ranking: Sequence[TrialResult],
    experiment: Experiment,
    observer: Observer,
) -> Mapping[str, Mapping[str, Any]]:
    """Returns figures on held-out rows of choices that these rows took no part in, with the standard error.

    Args:
        chooser: of the members.
        members: of the model.
        ranking: finished trials, the best first.
        experiment: the data.
        observer: is told where it fails.

    Returns:
        One set of figures, `cross_chosen`; nothing where the rows cannot be parted.
    """
    dataset, rows = experiment.dataset, experiment.validation_rows
    folds = make_choice_folds(
        dataset.labels[rows],
        feature_keys=dataset.feature_keys()[rows],
        groups=_groups_of(dataset, rows),
        moments=None if dataset.moments is None else dataset.moments[rows],
        seed=experiment.seed
        + 1,  # other parts than those of a cross-validation: each has fits of all its folds
    )
    try:
        probabilities = chooser.cross_chosen(members, ranking, folds)
    except Exception as error:  # figures for the report are not worth a model
        observer(Warned(f"what the choice is worth is not known: {type(error).__name__}: {error}"))
        return {}
    if probabilities is None:
        return {}
    predicted = rows[np.concatenate([fold.validation for fold in folds])]
    return {"cross_chosen": _figures_with_error(probabilities, predicted, dataset)}


def told_contributions(model: WeightedPipelines, dataset: Dataset, observer: Observer) -> Mapping[str, float]:
    """Returns the shares of the raw columns on some rows; nothing where no member can tell or one fails."""
    try:
        return mean_contributions(model, spread(dataset, _CONTRIBUTION_ROWS))
    except Exception as error:  # figures for the report are not worth a model
        observer(Warned(f"what each column contributed is not known: {type(error).__name__}: {error}"))
        return {}


def _figures_with_error(probabilities: np.ndarray, rows: np.ndarray, dataset: Dataset) -> Mapping[str, Any]:
    right = probabilities[np.arange(len(rows)), dataset.labels[rows]]
    losses = -np.log(np.maximum(right, metrics.SMALLEST_PROBABILITY))
    error = metrics.standard_error(losses, _groups_of(dataset, rows))
    told = {} if np.isnan(error) else {"log_loss_standard_error": error}
    return {**_figures(probabilities, rows, dataset), **told}


def _groups_of(dataset: Dataset, rows: np.ndarray) -> np.ndarray | None:
    return None if dataset.groups is None else dataset.groups[rows]


def _figures(probabilities: np.ndarray, rows: np.ndarray, dataset: Dataset) -> Mapping[str, Any]:
    scores = metrics.evaluate_probabilities(dataset.labels[rows], probabilities, dataset.schema.classes)
    return {key: value for key, value in vars(scores).items() if isinstance(value, int | float)}
