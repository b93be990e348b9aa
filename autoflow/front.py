"""Which single pipelines would answer faster than the exported model, and at what held-out score."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from autoflow import metrics
from autoflow.export.examples import examples_of
from autoflow.export.saved_model import measure_model
from autoflow.export.verify import Verifier
from autoflow.finished import FinishedModel, FrontPoint
from autoflow.metrics import larger_is_better
from autoflow.pipeline.assembly import WeightedPipelines
from autoflow.pipeline.temperature import fit_temperature, tempered
from autoflow.search.evaluate import Experiment, load_pipelines
from autoflow.search.events import Observer, Stage, Warned
from autoflow.search.study import Study
from autoflow.search.trial import TrialResult

_MOST_MEASURED = 4
_LEAST_SECONDS = 3.0
"""An export takes this at least, for the decision whether there is time for another one."""


def measured_front(
    model: FinishedModel,
    study: Study,
    experiment: Experiment,
    verifier: Verifier,
    should_stop: Callable[[], bool],
    observer: Observer,
) -> tuple[FrontPoint, ...]:
    """Returns the front of score against latency, the model itself first; it stops when the time is used up.

    The best trial of each classifier is exported, timed in the clean process and thrown away.

    Args:
        model: that was published.
        study: the ended search.
        experiment: its data.
        verifier: tries the exports.
        should_stop: tells whether the user wants the end now.
        observer: is told what happens.

    Returns:
        The model, then single pipelines of which none has both a worse score and a slower row than another.
    """
    own = model.scores["validation"][study.metric]
    points = [FrontPoint(str(model), own, model.verification.row_ms, model.num_bytes / 1e6)]
    if not model.verification.ok:
        return ()
    took = max(_LEAST_SECONDS, model.export_seconds)
    for trial in _others(study, experiment, model):
        if should_stop() or study.budget.remaining() < study.costs.ending_seconds + 1.5 * took:
            break
        if len(points) == 1:
            observer(Stage("measuring how fast other models would answer"))
        started = time.monotonic()
        try:
            point = _measured(trial, study, experiment, verifier)
            points += [] if point is None else [point]
        except Exception as error:  # a figure for the report must not cost the model that is published
            text = f"{type(error).__name__}: {error}"
            observer(Warned(f"how fast trial {trial.number} would answer is not known: {text}"))
        took = max(took, time.monotonic() - started)
    return _front(points, larger=larger_is_better(study.metric))


def _others(study: Study, experiment: Experiment, model: FinishedModel) -> Iterator[TrialResult]:
    """Yields the best trial of each classifier where it beats the shares of the classes."""
    shares = model.scores["class_shares"]["log_loss"]
    alone = model.members[0].trial.number if len(model.members) == 1 else None
    kinds: set[type] = set()
    for trial in study.ranking():
        kind = type(trial.spec.classifier)
        if kind in kinds or trial.log_loss >= shares:
            continue
        kinds.add(kind)
        if trial.number != alone:
            yield trial
        if len(kinds) == _MOST_MEASURED:
            return


def _measured(
    trial: TrialResult, study: Study, experiment: Experiment, verifier: Verifier
) -> FrontPoint | None:
    """Returns what a trial's pipeline costs to serve, or None where that cannot be told."""
    pipeline = load_pipelines(study.ledger.artifact(trial.number))[0]
    export = measure_model(
        WeightedPipelines((pipeline,), (1.0,)),
        study.ledger.folder / "model",
        examples=examples_of(experiment.dataset),
        verifier=verifier,
        verify_seconds=max(_LEAST_SECONDS, study.budget.remaining()),
    )
    if export.verification is None or not export.verification.ok:
        return None
    score = _tempered_score(trial, study, experiment)
    return FrontPoint(str(trial.spec), score, export.verification.row_ms, export.num_bytes / 1e6)


def _tempered_score(trial: TrialResult, study: Study, experiment: Experiment) -> float:
    """Returns the score that the trial would have as the model: a trial's own imagines an error, too."""
    probabilities = study.ledger.probabilities(trial.number)
    labels = experiment.dataset.labels[experiment.validation_rows]
    temperature = fit_temperature(probabilities, labels, ties=experiment.ties, seed=experiment.seed)
    return metrics.score(study.metric, labels, tempered(probabilities, temperature))


def _front(points: list[FrontPoint], *, larger: bool) -> tuple[FrontPoint, ...]:
    """Returns the first point and those that are faster than every one with a better score, best first."""
    sign = -1.0 if larger else 1.0
    first, front, fastest = points[0], [points[0]], points[0].row_ms
    for point in sorted(points[1:], key=lambda point: sign * point.score):
        if point.row_ms < fastest:
            front.append(point)
            fastest = point.row_ms
    return (first, *front[1:])
