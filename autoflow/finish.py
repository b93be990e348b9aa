"""The end of a run: choose, fit on all rows where time allows, export, have it verified, publish."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoflow import metrics
from autoflow.components.registry import name_of
from autoflow.data.dataset import Dataset
from autoflow.errors import MachineError, NoModelError
from autoflow.export.saved_model import MAX_EXAMPLES, Export, export_model
from autoflow.export.verify import Outcome, VerificationResult, Verifier
from autoflow.manifest import ManifestDetails, Recipe, next_version
from autoflow.pipeline.assembly import FittedPipeline, WeightedPipelines
from autoflow.search.ensemble import Candidate, select
from autoflow.search.evaluate import Experiment, load_pipelines
from autoflow.search.events import Observer, Stage, Warned
from autoflow.search.ledger import Ledger
from autoflow.search.ray_pool import RayPool, Refit
from autoflow.search.sampler import derived_seed
from autoflow.search.study import MAX_MEMBERS, Study
from autoflow.search.trial import TrialJob, TrialResult

_CANDIDATES = 25
_ATTEMPTS = 3
_LEAST_VERIFY_SECONDS = 15.0
_UNSEEN = "\u2047 never seen"


@dataclass(frozen=True)
class Member:
    """A trial in the exported model and its share in the mean of probabilities."""

    trial: TrialResult
    weight: float


@dataclass(frozen=True)
class FinishedModel:
    """The exported model of a run.

    Args:
        folder: its version folder.
        members: the trials that it averages, the heaviest first; often one.
        refitted: whether they were fitted on all rows; otherwise some are what the trials scored.
        scores: figures by set of rows, as in the manifest.
        verification: what a clean process found.
        num_bytes: size of the version folder.
    """

    folder: Path
    members: tuple[Member, ...]
    refitted: bool
    scores: Mapping[str, Mapping[str, Any]]
    verification: VerificationResult
    num_bytes: int

    def __str__(self) -> str:
        if len(self.members) == 1:
            return str(self.members[0].trial.spec)
        return " + ".join(
            f"{member.weight:.2f} {name_of(member.trial.spec.classifier)}" for member in self.members
        )


def remember(ledger: Ledger, model: FinishedModel, num_trials: int) -> None:
    """Notes in the run folder which model came out of how many trials."""
    verification = {key: value for key, value in asdict(model.verification).items() if value == value}
    ledger.remember(
        "model",
        {
            "version": model.folder.name,
            "members": [[member.trial.number, member.weight] for member in model.members],
            "refitted": model.refitted,
            "scores": model.scores,
            "verification": verification,
            "num_bytes": model.num_bytes,
            "num_trials": num_trials,
        },
    )


def remembered(ledger: Ledger, results: list[TrialResult]) -> FinishedModel | None:
    """Returns the model of an earlier session, or None where there is none or trials came after it."""
    noted = ledger.setting("model")
    if noted is None or noted["num_trials"] != len(results):
        return None
    folder = ledger.folder / "model" / noted["version"]
    by_number = {result.number: result for result in results}
    if not (folder / "saved_model.pb").exists():
        return None
    verification = noted["verification"] | {"outcome": Outcome(noted["verification"]["outcome"])}
    return FinishedModel(
        folder,
        tuple(Member(by_number[number], weight) for number, weight in noted["members"]),
        noted["refitted"],
        noted["scores"],
        VerificationResult(**verification),
        noted["num_bytes"],
    )


@dataclass(frozen=True)
class Finisher:
    """Turns an ended search into an exported model.

    Args:
        study: the search.
        pool: its workers, idle.
        verifier: tries the exported model.
        experiment: the data.
        source: name of the table.
        observer: is told what happens.
        refit: whether to fit on all rows first, time permitting.
    """

    study: Study
    pool: RayPool
    verifier: Verifier
    experiment: Experiment
    source: str
    observer: Observer
    refit: bool

    def finish(self) -> FinishedModel:
        """Exports the best ensemble or trial; where that fails, the next best trials.

        Raises:
            NoModelError: there is no finished trial, or none can be exported.
        """
        self.verifier.start()
        trouble = "no trial can be fitted again"
        for members in self._plans():
            fitted = self._fitted(members)
            if fitted is None:
                continue
            model, refitted = fitted
            self.observer(Stage("exporting and verifying the model"))
            scores = {"validation": self._scores(members)}
            export = self._export(model, members, scores)
            if export.folder is not None and export.verification is not None:
                if not export.verification.ok:
                    self.observer(Warned(f"the model was not verified: {export.verification.message}"))
                return FinishedModel(
                    export.folder, members, refitted, scores, export.verification, export.num_bytes
                )
            trouble = export.verification.message if export.verification else trouble
            numbers = ", ".join(str(member.trial.number) for member in members)
            self.observer(Warned(f"the model of trial {numbers} is not published: {trouble}"))
        raise NoModelError(f"none of the best trials could be exported: {trouble}")

    def _plans(self) -> Iterator[tuple[Member, ...]]:
        """Yields what to export: the ensemble first, then the best trials alone."""
        ranking = self.study.ranking()
        if not ranking:
            failed = next((result for result in self.study.results if result.message), None)
            reason = f"; the first trial: {failed.message}" if failed else ""
            raise NoModelError(f"no trial finished in the time given{reason}. Give more with --time-budget.")
        if self.refit or len(self.experiment.folds) == 1:
            self.observer(Stage("choosing what to combine"))
            by_number = {trial.number: trial for trial in ranking}
            candidates = [
                Candidate(trial.number, self.study.ledger.probabilities(trial.number))
                for trial in ranking[:_CANDIDATES]
            ]
            selection = select(candidates, self._labels(), metric=self.study.metric, max_members=MAX_MEMBERS)
            if len(selection.weights) > 1:
                yield tuple(Member(by_number[number], weight) for number, weight in selection.weights.items())
        for trial in ranking[:_ATTEMPTS]:
            yield (Member(trial, 1.0),)

    def _fitted(self, members: tuple[Member, ...]) -> tuple[WeightedPipelines, bool] | None:
        """Returns the members fitted on all rows, or as they were scored where the time is short."""
        refits = self._refit(members) if self.refit else {}
        pipelines: list[FittedPipeline] = []
        weights: list[float] = []
        for member in members:
            number = member.trial.number
            if number in refits:
                parts: Sequence[FittedPipeline] = [refits[number]]
            else:
                try:
                    parts = load_pipelines(self.study.ledger.artifact(number))
                except MachineError as error:
                    self.observer(Warned(str(error)))
                    return None
            pipelines += parts
            weights += [member.weight / len(parts)] * len(parts)
        return WeightedPipelines(tuple(pipelines), tuple(weights)), len(refits) == len(members)

    def _refit(self, members: tuple[Member, ...]) -> Mapping[int, FittedPipeline]:
        """Returns the pipelines that could be fitted on all rows in time, by the number of their trial."""
        seconds = self.study.budget.remaining() - self.study.costs.fixed_seconds
        factor, jobs, planned = self.study.costs.refit_factor, [], 0.0
        for member in members:
            trial = member.trial
            planned += factor * trial.seconds / min(self.pool.num_workers, len(members))
            # the time of a trial includes imports and preparation that a refit does not pay again
            if max(planned, factor * trial.seconds) * 0.7 <= seconds:
                job = TrialJob(trial.number, trial.spec, derived_seed(self.study.seed, trial.number), seconds)
                jobs.append(Refit(job, trial.iterations))
        if not jobs:
            return {}
        self.observer(
            Stage(
                f"fitting {'the best pipeline' if len(jobs) == 1 else f'{len(jobs)} pipelines'} on all rows"
            )
        )
        return self.pool.refit(jobs, seconds)

    def _export(
        self, model: WeightedPipelines, members: tuple[Member, ...], scores: Mapping[str, Mapping[str, Any]]
    ) -> Export:
        folder = self.study.ledger.folder / "model"
        details = ManifestDetails(
            recipes=tuple(Recipe(member.weight, member.trial.spec.to_json()) for member in members),
            metrics=scores,
            num_training_rows=self.experiment.dataset.num_rows,
            source=self.source,
        )
        return export_model(
            model,
            folder,
            version=next_version(folder),
            details=details,
            examples=_examples(self.experiment.dataset),
            verifier=self.verifier,
            verify_seconds=max(_LEAST_VERIFY_SECONDS, self.study.budget.remaining()),
        )

    def _scores(self, members: tuple[Member, ...]) -> Mapping[str, Any]:
        parts = [member.weight * self.study.ledger.probabilities(member.trial.number) for member in members]
        probabilities = np.sum(parts, axis=0).astype(np.float32)
        classes = self.experiment.dataset.schema.classes
        scores = metrics.evaluate_probabilities(self._labels(), probabilities, classes)
        return {key: value for key, value in scores.to_json().items() if isinstance(value, int | float)}

    def _labels(self) -> np.ndarray:
        return self.experiment.dataset.labels[self.experiment.validation_rows]


def _examples(dataset: Dataset) -> Mapping[str, np.ndarray]:
    """Returns rows to verify: some spread over the table, one with all values missing, one never seen."""
    spread = np.unique(np.linspace(0, dataset.num_rows - 1, MAX_EXAMPLES - 2).astype(np.int64))
    examples = {}
    for column in dataset.schema.columns:
        values = dataset.raw[column.name][spread]
        odd = ["", _UNSEEN] if values.dtype == object else [np.nan, 1e6]
        examples[column.name] = np.concatenate([values, np.array(odd, values.dtype)])
    return examples
