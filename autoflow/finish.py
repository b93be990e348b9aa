"""The end of a run: choose, fit on all rows where time allows, export, have it verified, publish."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autoflow import metrics
from autoflow.components.base import NeuralClassifier
from autoflow.errors import AutoFlowError, NoModelError
from autoflow.export.examples import examples_of
from autoflow.export.saved_model import NO_LIMITS, Export, Limits, export_model
from autoflow.export.verify import Verifier
from autoflow.figures import (
    cross_chosen_figures,
    held_out_figures,
    set_aside_figures,
    told_contributions,
)
from autoflow.finished import FinishedModel
from autoflow.manifest import ManifestDetails, Recipe, next_version
from autoflow.pipeline.assembly import FittedPipeline, WeightedPipelines
from autoflow.pipeline.temperature import fit_temperature, tempered
from autoflow.search.costs import MAX_NETWORKS_AS_FOLDS
from autoflow.search.evaluate import Experiment, load_pipelines
from autoflow.search.events import Observer, Stage, Warned
from autoflow.search.ledger import DamagedTrialError
from autoflow.search.members import Member
from autoflow.search.ray_pool import RayPool, Refit
from autoflow.search.sampler import derived_seed
from autoflow.search.study import Study
from autoflow.search.trial import TrialJob, TrialResult

_ATTEMPTS = 3
_ATTEMPTS_WITHIN_LIMITS = 12
_SMALL_ENSEMBLE = 2
_LEAST_WEIGHT_AS_FOLDS = 0.2
_LEAST_VERIFY_SECONDS = 15.0
_LATE_SECONDS = 1.5
"""By which fits on all rows may be late: exporting takes so much less than is expected."""


class NotFittedError(Exception):
    """A plan cannot be carried out in the time that is left."""


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
        should_stop: tells whether the user wants the end now; then nothing is fitted again.
        earlier: the model that an earlier session published; None where there is none.
        limits: what the exported model may cost to serve.
    """

    study: Study
    pool: RayPool
    verifier: Verifier
    experiment: Experiment
    source: str
    observer: Observer
    should_stop: Callable[[], bool]
    earlier: FinishedModel | None = None
    limits: Limits = NO_LIMITS
    _refits: dict[int, FittedPipeline] = field(default_factory=dict, init=False)
    _refit_seconds: list[float] = field(default_factory=list, init=False)
    _ready: list[tuple[Member, ...]] = field(default_factory=list, init=False)

    def prepare(self) -> None:
        """Fits the best so far on all rows, so that the search may use what time that leaves."""
        members = self._chosen()
        again = [member for member in members if not self._better_as_folds(member, members)]
        if again and not self.should_stop():
            self._refits.update(self._refit(again, members))
            self.study.note_fitted_again(self._refits)
            if all(member.trial.number in self._refits for member in again):
                self._ready.append(members)

    def finish(self) -> FinishedModel:
        """Exports the best ensemble or trial; where that fails, the next best trials.

        Where that is what an earlier session published, it publishes nothing and returns that model.

        Raises:
            NoModelError: there is no finished trial, or none can be exported.
        """
        self.verifier.start()
        trouble = "no trial can be fitted again"
        for members in self._plans():
            try:
                if self.earlier is not None and self.earlier.averages(members, refitted=True):
                    return self.earlier
                model, members, refitted = self._fitted(members)
                if self.earlier is not None and self.earlier.averages(members, refitted=refitted):
                    return self.earlier
                self.observer(Stage("exporting and verifying the model"))
                held_out = self._probabilities(members)
                temperature = fit_temperature(held_out, self._labels(), seed=self.study.seed)
                model = replace(model, temperature=temperature)
                scores, doubts = self._judged(members, held_out, temperature)
                shares = told_contributions(model, self.experiment.dataset, self.observer)
                started = time.monotonic()
                export = self._export(model, members, scores, shares, refitted=refitted)
            except (DamagedTrialError, NotFittedError) as error:
                trouble = str(error)
            except AutoFlowError:
                raise
            except Exception as error:  # a component's graph may raise: the next best trial has another
                trouble = f"{type(error).__name__}: {error}"
            else:
                if export.folder is not None and export.verification is not None:
                    if not export.verification.ok:
                        self.observer(Warned(f"the model was not verified: {export.verification.message}"))
                    for doubt in doubts:
                        self.observer(Warned(doubt))
                    return FinishedModel(
                        export.folder,
                        members,
                        refitted,
                        scores,
                        export.verification,
                        export.num_bytes,
                        shares,
                        doubts,
                        refit_seconds=sum(self._refit_seconds),
                        export_seconds=time.monotonic() - started,
                    )
                trouble = export.refusal or trouble
            numbers = ", ".join(str(member.trial.number) for member in members)
            trials = "trial" if len(members) == 1 else "trials"
            self.observer(Warned(f"the model of {trials} {numbers} is not published: {trouble}"))
        hint = "; larger --max-latency-ms or --max-size-mb may help" if self.limits.are_set else ""
        raise NoModelError(f"none of the best trials could be exported: {trouble}{hint}")

    def _plans(self) -> Iterator[tuple[Member, ...]]:
        """Yields what to export: the ensemble first, then the best trials alone."""
        ranking = self.study.ranking()
        if not ranking:
            failed = next((result for result in self.study.results if result.message), None)
            reason = f"; the first trial: {failed.message}" if failed else ""
            raise NoModelError(f"no trial finished in the time given{reason}. Give more with --time-budget.")
        # the folds of several trials together would be slow to serve
        if not self.should_stop() or len(self.experiment.folds) == 1:
            self.observer(Stage("choosing what to combine"))
            members = self._chosen()
            for damage in self.study.chooser.damaged.values():
                self.observer(Warned(damage))
            if len(members) > 1:
                yield members
            yield from (ready for ready in self._ready if len(ready) > 1 and ready != members)
            if len(members) > _SMALL_ENSEMBLE and self.limits.are_set:
                yield self.study.chooser.choose(ranking, _SMALL_ENSEMBLE)
        yield from self._alone(ranking)

    def _chosen(self) -> tuple[Member, ...]:
        affordable = self.study.costs.affordable_members(self.study.budget.remaining())
        return self.study.chooser.choose(self.study.ranking(), affordable)

    def _alone(self, ranking: Sequence[TrialResult]) -> Iterator[tuple[Member, ...]]:
        """Yields the best trials alone; where limits refuse one, the next with another classifier first."""
        if not self.limits.are_set:
            yield from ((Member(trial, 1.0),) for trial in ranking[:_ATTEMPTS])
            return
        best_of_each: dict[type, TrialResult] = {}
        for trial in ranking:
            best_of_each.setdefault(type(trial.spec.classifier), trial)
        first = list(best_of_each.values())
        others = [trial for trial in ranking if trial not in first]
        for trial in [*first, *others][:_ATTEMPTS_WITHIN_LIMITS]:
            yield (Member(trial, 1.0),)

    def _fitted(self, members: tuple[Member, ...]) -> tuple[WeightedPipelines, tuple[Member, ...], bool]:
        """Returns the members fitted on all rows, or as they were scored where the time is short.

        Also returns which members those are, and whether all are fitted on all rows. Of several
        cross-validated ones some may be left out: all their folds would be slow to serve and to export.
        """
        again = [member for member in members if not self._better_as_folds(member, members)]
        missing = [member for member in again if member.trial.number not in self._refits]
        if missing and not self.should_stop():
            self._refits.update(self._refit(missing, members))
        refits = {
            m.trial.number: self._refits[m.trial.number] for m in again if m.trial.number in self._refits
        }
        if len(members) > 1 and len(self.experiment.folds) > 1 and len(refits) < len(again):
            members = self._without([m for m in again if m.trial.number not in refits], members)
            again = [member for member in again if member.trial.number in refits]
        return self._mean(members, refits), members, len(refits) == len(again)

    def _mean(self, members: Sequence[Member], refits: Mapping[int, FittedPipeline]) -> WeightedPipelines:
        """Returns the members' mean: those fitted again as they are now, the others as they were scored."""
        pipelines: list[FittedPipeline] = []
        weights: list[float] = []
        # all folds are better than one, but a model in time is better than both
        most = self.study.costs.affordable_members(self.study.budget.remaining())
        for member in members:
            number = member.trial.number
            parts: Sequence[FittedPipeline] = [refits[number]] if number in refits else ()
            parts = parts or load_pipelines(self.study.ledger.artifact(number))[:most]
            pipelines += parts
            weights += [member.weight / len(parts)] * len(parts)
        return WeightedPipelines(tuple(pipelines), tuple(weights))

    def _without(self, gone: Sequence[Member], members: tuple[Member, ...]) -> tuple[Member, ...]:
        """Returns the members less some, or raises NotFittedError where the best trial alone is better."""
        left = [member for member in members if member not in gone]
        total = sum(member.weight for member in left)
        left = [Member(member.trial, member.weight / total) for member in left]
        best = self.study.ranking()[0]
        if not left or self._loss(left) > self._loss([Member(best, 1.0)]):
            raise NotFittedError("its members could not be fitted on all rows in time")
        return tuple(left)

    def _better_as_folds(self, member: Member, members: tuple[Member, ...]) -> bool:
        """Tells whether the mean of a trial's folds should be exported in place of one fit on all rows.

        Networks of few rows vary from fit to fit, and a fit on all rows has no rows left to stop it: the
        mean of the five that were scored was the better model (log-loss 0.450 and not 0.464 on 800 rows,
        0.0334 and not 0.0405 on 4,136 texts). Only the heaviest are worth the time that folds take to serve.
        """
        if len(self.experiment.folds) == 1 or not _is_network(member):
            return False
        dataset = self.experiment.dataset
        # models of early rows never saw the latest; a tower of convolutions for each fold is slow to serve
        if dataset.moments is not None or dataset.has_pictures:
            return False
        heaviest = [each for each in members if _is_network(each)][:MAX_NETWORKS_AS_FOLDS]
        seconds = self.study.costs.export_seconds([each.trial for each in members])
        return (
            member in heaviest
            and (member is heaviest[0] or member.weight >= _LEAST_WEIGHT_AS_FOLDS)
            and self.study.budget.remaining() > seconds
        )

    def _refit(self, members: Sequence[Member], model: Sequence[Member]) -> Mapping[int, FittedPipeline]:
        """Returns the pipelines that could be fitted on all rows in time, by the number of their trial.

        Args:
            members: to be fitted.
            model: all members of the model that will be exported.
        """
        export_seconds = self.study.costs.export_seconds([member.trial for member in model])
        seconds = self.study.budget.remaining() - export_seconds + _LATE_SECONDS
        jobs, planned = [], 0.0
        for member in members:
            trial = member.trial
            alone = self.study.costs.refit_seconds(trial)
            share = alone / min(self.pool.num_workers, len(members))
            if max(planned + share, alone) <= seconds:
                planned += share
                job = TrialJob(trial.number, trial.spec, derived_seed(self.study.seed, trial.number))
                jobs.append(Refit(job, trial.iterations))
        if not jobs:
            return {}
        self.observer(
            Stage(
                f"fitting {'the best pipeline' if len(jobs) == 1 else f'{len(jobs)} pipelines'} on all rows"
            )
        )
        refits = self.pool.refit(jobs, seconds, self.should_stop)
        self._refit_seconds.append(refits.seconds)
        late = len(jobs) - len(refits.fitted) - len(refits.failed)
        if late:
            why = "were stopped" if self.should_stop() else "did not end in time"
            self.observer(Warned(f"{late} of {len(jobs)} fits on all rows {why}"))
        for number, reason in refits.failed.items():
            self.observer(Warned(f"fitting trial {number} on all rows failed: {reason}"))
        return refits.fitted

    def _export(
        self,
        model: WeightedPipelines,
        members: tuple[Member, ...],
        scores: Mapping[str, Mapping[str, Any]],
        contributions: Mapping[str, float],
        *,
        refitted: bool,
    ) -> Export:
        folder = self.study.ledger.folder / "model"
        details = ManifestDetails(
            recipes=tuple(Recipe(member.weight, member.trial.spec.to_json()) for member in members),
            metrics=scores,
            num_training_rows=self.experiment.dataset.num_rows
            if refitted
            else round(
                max(len(fold.train) for fold in self.experiment.folds)
                * max(member.trial.share for member in members)
            ),
            source=self.source,
            data=self.experiment.dataset.fingerprint,
            contributions=contributions,
            temperature=model.temperature,
        )
        return export_model(
            model,
            folder,
            version=next_version(folder),
            details=details,
            examples=examples_of(self.experiment.dataset),
            verifier=self.verifier,
            verify_seconds=max(_LEAST_VERIFY_SECONDS, self.study.budget.remaining()),
            limits=self.limits,
        )

    def _probabilities(self, members: Sequence[Member]) -> np.ndarray:
        parts = [member.weight * self.study.ledger.probabilities(member.trial.number) for member in members]
        return np.sum(parts, axis=0).astype(np.float32)

    def _loss(self, members: Sequence[Member]) -> float:
        score = metrics.score(self.study.metric, self._labels(), self._probabilities(members))
        return -score if metrics.larger_is_better(self.study.metric) else score

    def _judged(
        self, members: Sequence[Member], held_out: np.ndarray, temperature: float
    ) -> tuple[dict[str, Mapping[str, Any]], tuple[str, ...]]:
        """Returns the model's figures by set of rows, and doubts; an interrupted search hardly looked."""
        scores, doubts = held_out_figures(tempered(held_out, temperature), self.experiment)
        if self.should_stop():
            return scores, ()
        if len(self.experiment.set_aside):
            as_scored = replace(self._mean(members, {}), temperature=temperature)
            scores["set_aside"] = set_aside_figures(as_scored, self.experiment)
        else:
            chooser, ranking = self.study.chooser, self.study.ranking()
            scores |= cross_chosen_figures(chooser, members, ranking, self.experiment, self.observer)
        return scores, doubts

    def _labels(self) -> np.ndarray:
        return self.study.chooser.labels


def _is_network(member: Member) -> bool:
    return isinstance(member.trial.spec.classifier, NeuralClassifier)
