"""What a choice among trials is worth: it is made again without some held-out rows, and these judge it.

The best of many on the rows that chose it looks better than it is. Nested selection over the held-out
probabilities that are kept needs no further fit (compare Tsamardinos et al. 2018, "Bootstrapping the
out-of-sample predictions for efficient and accurate cross-validation", who draw rows where this parts them).
Works on arrays alone: where they are kept and what becomes of the figures is not known here.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from autoflow import metrics
from autoflow.data.split import Fold
from autoflow.pipeline.temperature import fit_temperature, tempered
from autoflow.search.ensemble import TURNS, Candidate, best_of_each, of_true_class, select

_JUDGED_CELLS = 12_000
"""Probabilities of one trial that any metric judges thousands of times in half a second."""
_TEMPERATURE_CELLS = 400_000
"""Probabilities that each temperature is fitted to: one number needs no more, and there are several."""


def cross_chosen(
    trials: Mapping[int, np.ndarray],
    kinds: Mapping[int, Hashable],
    labels: np.ndarray,
    folds: Sequence[Fold],
    *,
    metric: str,
    max_members: int,
    of_each: int,
    ties: np.ndarray | None = None,
    seed: int,
) -> np.ndarray:
    """Returns what choices predict for rows that did not choose: `float32[k, C]`.

    Rows are the folds' validation rows, one after the other.

    On the `train` rows of a fold all trials are ranked, members and shares are selected among the best and a
    temperature is fitted, as at the end of a search; the validation rows are predicted with that. Metrics
    other than log-loss choose with fewer turns, and not at all where they would take seconds.

    Args:
        trials: held-out probabilities `float32[m, C]` of all finished trials by number, one or more.
        kinds: of the trials, by number.
        labels: class codes `int[m]`.
        folds: rows that choose and rows that are predicted, one fold or more.
        metric: what is improved.
        max_members: distinct members at most, 1 or more.
        of_each: trials of a kind that a selection looks at, the best ones.
        ties: `int[m]`, equal for rows that choose together or not at all; None where any may part.
        seed: parts and draws rows.
    """
    numbers = sorted(trials)  # of equals the earlier one ranks higher
    probabilities = [trials[number] for number in numbers]
    if probabilities[0].size > _JUDGED_CELLS:
        metric = "log_loss"
    predicted = []
    for fold in folds:
        if metric == "log_loss":  # which reads the probability of the true class only
            true, turns, num_imagined = np.zeros(len(fold.train) + 1, np.int64), TURNS, 1
            judged = [of_true_class(each[fold.train], labels[fold.train]) for each in probabilities]
        else:
            true, turns, num_imagined = labels[fold.train], 1, 0
            judged = [each[fold.train] for each in probabilities]
        ranked = _ranked(judged, true, metric)
        places = best_of_each(ranked, lambda place: kinds[numbers[place]], of_each)
        candidates = [Candidate(place, judged[place]) for place in places]
        selection = select(
            candidates,
            true,
            metric=metric,
            max_members=max_members,
            num_imagined=num_imagined,
            ties=None if ties is None else ties[fold.train],
            seed=seed,
            turns=turns,
        )
        predicted.append(_predicted(probabilities, selection.weights, labels, fold, ties, seed))
    return np.concatenate(predicted)


def _ranked(judged: Sequence[np.ndarray], labels: np.ndarray, metric: str) -> list[int]:
    """Returns the places of the trials, the best first."""
    sign = -1 if metrics.larger_is_better(metric) else 1
    losses = np.nan_to_num([sign * metrics.score(metric, labels, each) for each in judged])
    return [int(place) for place in np.argsort(losses, kind="stable")]


def _predicted(
    probabilities: Sequence[np.ndarray],
    weights: Mapping[int, float],
    labels: np.ndarray,
    fold: Fold,
    ties: np.ndarray | None,
    seed: int,
) -> np.ndarray:
    """Returns the scaled mean on the validation rows of a fold, whose other rows ask for the temperature."""

    def mean(rows: np.ndarray) -> np.ndarray:
        parts = [weight * probabilities[place][rows] for place, weight in weights.items()]
        return np.sum(parts, axis=0).astype(np.float32)

    most = max(1, _TEMPERATURE_CELLS // probabilities[0].shape[1])
    rows = fold.train
    if len(rows) > most:
        rows = np.random.default_rng(seed).choice(rows, most, replace=False)
    ties = None if ties is None else ties[rows]
    return tempered(mean(fold.validation), fit_temperature(mean(rows), labels[rows], ties=ties, seed=seed))
