"""Runs one trial on a worker; the one place where exceptions become data."""

from __future__ import annotations

import io
import math
import pickle
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from autoflow import metrics
from autoflow.components.base import FitContext, HopelessTrial, NeuralClassifier
from autoflow.data.dataset import Dataset
from autoflow.data.split import Fold, tied_keys, tied_numbers
from autoflow.machine import available_bytes, available_cores
from autoflow.pipeline.assembly import FittedPipeline, fit_pipeline
from autoflow.pipeline.cache import FoldData, PreparedCache
from autoflow.search.fidelity import sampled
from autoflow.search.trial import Outcome, PartResult, TrialJob, TrialResult

_LEAST_SECONDS = 1.0
STOPPED = "stopped by the time that it was given, with the best that it had"


@dataclass(frozen=True)
class Experiment:
    """What stays the same over a search; it is sent to every worker once.

    Args:
        dataset: all training rows.
        folds: how they are split; one fold is a holdout.
        metric: name of the metric that ranks trials.
        seed: of the run; prepared features depend on it.
        set_aside: int64 numbers of rows in no fold, which score the model that was chosen.
    """

    dataset: Dataset
    folds: tuple[Fold, ...]
    metric: str
    seed: int
    set_aside: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def validation_rows(self) -> np.ndarray:
        """Row numbers in the order of a trial's held-out probabilities."""
        return np.concatenate([fold.validation for fold in self.folds])

    @cached_property
    def ties(self) -> np.ndarray | None:
        """`int64[m]`, equal for held-out rows that are copies or of one group; None where all differ."""
        rows, groups = self.validation_rows, self.dataset.groups
        keys = self.dataset.feature_keys()[rows]
        return tied_numbers(keys if groups is None else tied_keys(groups[rows], keys))

    @property
    def class_shares(self) -> np.ndarray:
        """What a model could answer that looks at no column: `float32[m, C]`, in the order of held-out rows.

        Each row has the shares of the classes in the training rows of its fold, each counted once more.
        """
        num_classes = len(self.dataset.schema.classes)
        parts = []
        for fold in self.folds:
            counts = np.bincount(self.dataset.labels[fold.train], minlength=num_classes) + 1.0
            parts.append(np.tile(np.float32(counts / counts.sum()), (len(fold.validation), 1)))
        return np.concatenate(parts)

    @property
    def refit_factor(self) -> float:
        """Seconds that a fit on all rows is expected to take for each second of a trial.

        It has more rows and knows when to stop: 0.3 to 0.7 a row of what trials took, measured.
        """
        train_share = float(np.mean([len(fold.train) for fold in self.folds])) / self.dataset.num_rows
        return 0.8 / (len(self.folds) * train_share)


class Evaluator:
    """Evaluates trials of one experiment on this machine, one at a time.

    Args:
        experiment: data and folds.
        cache: prepared features, shared with the other workers of the machine.
        num_threads: threads that a fit may use.
    """

    def __init__(self, experiment: Experiment, cache: PreparedCache, num_threads: int) -> None:
        self._experiment = experiment
        self._cache = cache
        self._num_threads = num_threads
        self._folds: dict[float, list[FoldData]] = {}

    def evaluate(self, job: TrialJob) -> TrialResult:
        """Returns how the trial ended; nothing that the trial does raises."""
        experiment = self._experiment
        part = self.evaluate_part(job)
        return joined(job, [part], experiment.dataset.labels[experiment.validation_rows], experiment.metric)

    def evaluate_part(self, job: TrialJob) -> PartResult:
        """As `evaluate`, of the folds of the job alone."""
        given = time.monotonic()
        if isinstance(job.spec.classifier, NeuralClassifier):
            import keras  # noqa: F401  # paid once a worker, so what the trial took does not count it
        folds = tuple(range(len(self._experiment.folds))) if job.folds is None else job.folds
        started = time.monotonic()
        job = replace(job, seconds=max(_LEAST_SECONDS, job.seconds - (started - given)))
        try:
            part = self._fitted(job, folds)
        except Exception as error:
            outcome, message = _ending(error)
            part = PartResult(job.number, folds, outcome, message=message)
        return replace(part, seconds=time.monotonic() - started)

    def refit(self, job: TrialJob, iterations: int | None) -> FittedPipeline:
        """Returns the pipeline fitted on all rows, with as many iterations as its trial settled on.

        However long that takes: one that stopped itself early would be a worse model than what was scored.
        """
        dataset = self._experiment.dataset
        context = self._context(job.seed, math.inf, math.inf, iterations)
        data = FoldData(f"{dataset.fingerprint}/all", dataset, None)
        return fit_pipeline(
            job.spec, data, self._cache, context, preparation_seed=self._experiment.seed
        ).pipeline

    def _fitted(self, job: TrialJob, numbers: Sequence[int]) -> PartResult:
        started = time.monotonic()
        pipelines, probabilities, iterations, message = [], [], [], ""
        folds = self._folds_with(job.share)
        for position, number in enumerate(numbers):
            fold = folds[number]
            assert fold.validation is not None
            seconds = (job.seconds - (time.monotonic() - started)) / (len(numbers) - position)
            # the loss of few rows is noisy: one unlucky fold must not cost a good trial
            hopeless_loss = job.hopeless_loss + 1 / math.sqrt(fold.validation.num_rows)
            context = self._context(job.seed, seconds, hopeless_loss, None)
            outcome = fit_pipeline(
                job.spec, fold, self._cache, context, preparation_seed=self._experiment.seed
            )
            assert outcome.validation_probabilities is not None
            pipelines.append(pickle.dumps(outcome.pipeline))
            message = STOPPED if context.stopped else message
            probabilities.append(outcome.validation_probabilities)
            if outcome.pipeline.model.iterations is not None:
                iterations.append(outcome.pipeline.model.iterations)
            # a whole fold is evidence enough to give the others up, whoever fits them
            if number + 1 < len(folds):
                context.report(1.0, metrics.score("log_loss", fold.validation.labels, probabilities[-1]))
        return PartResult(
            job.number,
            tuple(numbers),
            Outcome.FINISHED,
            message=message,
            iterations=tuple(iterations),
            probabilities=np.concatenate(probabilities).astype(np.float32),
            artifact=b"".join(pipelines),
        )

    def _folds_with(self, share: float) -> list[FoldData]:
        """Returns the folds with a share of their training rows; drawn once a share."""
        if share not in self._folds:
            dataset, seed = self._experiment.dataset, self._experiment.seed
            self._folds[share] = [
                FoldData(
                    f"{dataset.fingerprint}/{number}/{share:g}",
                    dataset.view(sampled(fold.train, dataset.labels[fold.train], share, seed=seed)),
                    dataset.view(fold.validation),
                )
                for number, fold in enumerate(self._experiment.folds)
            ]
        return self._folds[share]

    def _context(self, seed: int, seconds: float, hopeless_loss: float, iterations: int | None) -> FitContext:
        return FitContext(
            num_classes=len(self._experiment.dataset.schema.classes),
            seed=seed,
            num_threads=self._num_threads,
            seconds=seconds,
            iterations=iterations,
            hopeless_loss=hopeless_loss,
            memory_bytes=available_bytes() * self._num_threads / available_cores(),
        )


def joined(job: TrialJob, parts: Sequence[PartResult], labels: np.ndarray, metric: str) -> TrialResult:
    """Returns the trial that the folds of all parts make; a part that did not finish ends it.

    Args:
        job: the trial.
        parts: with disjoint folds, in any order.
        labels: int32[m], of the held-out rows of all folds.
        metric: that ranks trials.
    """
    started = time.monotonic()
    try:
        result = _scored(job, sorted(parts, key=lambda part: part.folds), labels, metric)
    except Exception as error:
        outcome, message = _ending(error)
        result = TrialResult(job.number, job.spec, outcome, message=message)
    seconds = sum(part.seconds for part in parts) + time.monotonic() - started
    return replace(result, seconds=seconds, share=job.share)


def _scored(job: TrialJob, parts: Sequence[PartResult], labels: np.ndarray, metric: str) -> TrialResult:
    for part in parts:
        if part.outcome is not Outcome.FINISHED:
            return TrialResult(job.number, job.spec, part.outcome, message=part.message)
    held_out = np.concatenate([part.probabilities for part in parts])
    log_loss = metrics.score("log_loss", labels, held_out)
    if metric == "log_loss":  # the boldest of few rows that are all right is not the best
        score = metrics.careful_log_loss(labels, held_out)
    else:
        score = metrics.score(metric, labels, held_out)
    if not (math.isfinite(score) and math.isfinite(log_loss)):
        message = f"its {metric} is not a finite number"
        return TrialResult(job.number, job.spec, Outcome.FAILED, message=message)
    iterations = [each for part in parts for each in part.iterations]
    return TrialResult(
        job.number,
        job.spec,
        Outcome.FINISHED,
        score,
        log_loss,
        iterations=round(float(np.median(iterations))) if iterations else None,
        message=next((part.message for part in parts if part.message), ""),
        probabilities=held_out,
        artifact=b"".join(part.artifact for part in parts),
    )


def _ending(error: Exception) -> tuple[Outcome, str]:
    """Returns how a trial ended that raised, and the sentence that says why."""
    if isinstance(error, HopelessTrial):
        return Outcome.HOPELESS, str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split()) or "no message"
    place = f"{where.filename.rsplit('/', 1)[-1]}:{where.lineno}"
    return Outcome.FAILED, f"{type(error).__name__}: {text[:300]} ({place})"


def load_pipelines(artifact: bytes) -> Sequence[FittedPipeline]:
    """Returns the fitted pipelines of a trial of this run, one a fold."""
    stream, pipelines = io.BytesIO(artifact), []
    while stream.tell() < len(artifact):
        pipelines.append(pickle.load(stream))
    return pipelines
