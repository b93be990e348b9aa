"""The end of a run: choose, fit on all rows where time allows, export, have it verified, publish."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autoflow import metrics
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
from autoflow.search.ensemble import best_of_each
from autoflow.search.evaluate import Experiment, load_pipelines
from autoflow.search.events import Observer, Stage, Warned
from autoflow.search.ledger import DamagedTrialError
from autoflow.search.members import Member
from autoflow.search.refits import LATE_SECONDS
from autoflow.search.study import Study
from autoflow.search.trial import Outcome, TrialResult

_ATTEMPTS = 3
_ATTEMPTS_WITHIN_LIMITS = 12
_SMALL_ENSEMBLE = 2
_LEAST_VERIFY_SECONDS = 15.0
_BASELINE_ONLY = "the model answers with the shares of the classes, whatever the columns say, as "


class NotFittedError(Exception):
    """A plan cannot be carried out in the time that is left."""


@dataclass(frozen=True)
class Finisher:
    """Turns an ended search into an exported model.

    Args:
        study: the search.
        verifier: tries the exported model.
        experiment: the data.
        source: name of the table.
        observer: is told what happens.
        should_stop: tells whether the user wants the end now; then nothing is fitted again.
        earlier: the model that an earlier session published; None where there is none.
        limits: what the exported model may cost to serve.
    """

    study: Study
    verifier: Verifier
    experiment: Experiment
    source: str
    observer: Observer
    should_stop: Callable[[], bool]
    earlier: FinishedModel | None = None
    limits: Limits = NO_LIMITS

    def finish(self) -> FinishedModel:
        """Exports the best ensemble or trial; where that fails, the next best trials.

        Where that is what an earlier session published, it publishes nothing and returns that model.

        Raises:
            NoModelError: there is no finished trial, or none can be exported.
        """
        self.verifier.start()
        trouble = "no trial can be fitted again"
        late = 0
        for members in self._plans():
            late += self.study.budget.remaining() < 0
            if late > _ATTEMPTS:  # a model a little late is worth more than none, but one may not be found
                break
            try:
                finished = self._published(members)
                if isinstance(finished, FinishedModel):
                    return finished
                trouble = finished or trouble
            except (DamagedTrialError, NotFittedError) as error:
                trouble = str(error)
            except AutoFlowError:
                raise
            except Exception as error:  # a component's graph may raise: the next best trial has another
                trouble = f"{type(error).__name__}: {error}"
            numbers = ", ".join(str(member.trial.number) for member in members)
            trials = "trial" if len(members) == 1 else "trials"
            self.observer(Warned(f"the model of {trials} {numbers} is not published: {trouble}"))
        hint = "; larger --max-latency-ms or --max-size-mb may help" if self.limits.are_set else ""
        raise NoModelError(f"none of the best trials could be exported: {trouble}{hint}")

    def _published(self, members: tuple[Member, ...]) -> FinishedModel | str:
        """Returns the model of some members once it is published, or why it is not.

        Where an earlier session published just that, it returns that model.
        """
        if self.earlier is not None and self.earlier.averages(members, refitted=True):
            return self.earlier
        model, members, refitted = self._fitted(members)
        if self.earlier is not None and self.earlier.averages(members, refitted=refitted):
            return self.earlier
        self.observer(Stage("exporting and verifying the model"))
        held_out = self._probabilities(members)
        temperature = self._temperature(held_out)
        model = replace(model, temperature=temperature)
        scores, doubts = self._judged(members, held_out, temperature)
        if self.earlier is not None and self._is_no_gain(scores, refitted=refitted):
            return self.earlier
        shares = told_contributions(model, self.experiment.dataset, self.observer)
        started = time.monotonic()
        export = self._export(model, members, scores, shares, refitted=refitted)
        if export.folder is None or export.verification is None:
            return export.refusal
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
            refit_seconds=self.study.refits.seconds,
            export_seconds=time.monotonic() - started,
        )

    def _plans(self) -> Iterator[tuple[Member, ...]]:
        """Yields what to export: the ensemble first, then the best trials alone."""
        ranking = self.study.ranking()
        if not ranking:
            failed = next((result for result in self.study.results if result.message), None)
            reason = f"; the first trial: {failed.message}" if failed else ""
            raise NoModelError(f"no trial finished in the time given{reason}. Give more with --time-budget.")
        complete = self.study.refits.complete
        # the folds of several trials together would be slow to serve
        if self.should_stop() and len(self.experiment.folds) > 1:
            if self._is_as_good(complete, ranking[0]):
                yield complete
        else:
            self.observer(Stage("choosing what to combine"))
            members = self._chosen()
            for damage in self.study.chooser.damaged.values():
                self.observer(Warned(damage))
            if len(members) > 1:
                yield members
            if len(complete) > 1 and complete != members:
                yield complete
            if len(members) > _SMALL_ENSEMBLE and self.limits.are_set:
                yield self.study.chooser.choose(ranking, _SMALL_ENSEMBLE)
        yield from self._alone(ranking)

    def _chosen(self) -> tuple[Member, ...]:
        # fits on all rows may end so late, and a smaller mean would not have them
        affordable = self.study.costs.affordable_members(self.study.budget.remaining() + LATE_SECONDS)
        return self.study.chooser.choose(self.study.ranking(), affordable)

    def _alone(self, ranking: Sequence[TrialResult]) -> Iterator[tuple[Member, ...]]:
        """Yields the best trials alone; where limits refuse one, the next with another classifier first."""
        if not self.limits.are_set:
            yield from ((Member(trial, 1.0),) for trial in ranking[:_ATTEMPTS])
            return
        learners = [trial for trial in ranking if not trial.spec.classifier.baseline]
        first = best_of_each(learners, lambda trial: type(trial.spec.classifier), 1)
        others = [trial for trial in learners if trial not in first]
        # what ignores the features is small and fast, and worth less than any other
        baselines = [trial for trial in ranking if trial.spec.classifier.baseline][:1]
        left = [*first, *others][: _ATTEMPTS_WITHIN_LIMITS - 1]
        while left and self.study.budget.remaining() > 0:
            yield (Member(left.pop(0), 1.0),)
        # late, only what is most likely to be within the limits
        smallest = sorted(left, key=lambda trial: trial.num_bytes)[:1]
        for trial in [*smallest, *baselines]:
            yield (Member(trial, 1.0),)

    def _fitted(self, members: tuple[Member, ...]) -> tuple[WeightedPipelines, tuple[Member, ...], bool]:
        """Returns the members fitted on all rows, or as they were scored where the time is short.

        Also returns which members those are, and whether all are fitted on all rows. Of several
        cross-validated ones some may be left out: all their folds would be slow to serve and to export.
        """
        refits = self.study.refits
        self.study.fit_on_all_rows(members)
        wanted = refits.wanted(members)
        late = [member for member in wanted if member.trial.number not in refits.fitted]
        if late and len(members) > 1 and len(self.experiment.folds) > 1:
            members = self._without(late, members)
            late = []
        numbers = {member.trial.number for member in wanted if member not in late}
        fitted = {n: refits.fitted[n] for n in numbers if n in refits.fitted}
        model, is_whole = self._mean(members, fitted)
        return model, members, is_whole and not late

    def _mean(
        self, members: Sequence[Member], refits: Mapping[int, FittedPipeline]
    ) -> tuple[WeightedPipelines, bool]:
        """Returns the members' mean: those fitted again as they are now, the others as they were scored.

        Forests of a small share are in it with a part of their trees, so that the mean serves faster. Also
        returns whether all folds of those that were not fitted again are in it.
        """
        pipelines: list[FittedPipeline] = []
        weights: list[float] = []
        # all folds are better than one, but a model in time is better than both
        most = self.study.costs.affordable_members(self.study.budget.remaining() + LATE_SECONDS)
        is_whole = True
        for member in members:
            number = member.trial.number
            parts: Sequence[FittedPipeline] = [refits[number]] if number in refits else ()
            folds = parts or load_pipelines(self.study.ledger.artifact(number))
            parts = folds[:most]
            is_whole = is_whole and len(parts) == len(folds)
            weight = member.weight / len(parts)
            pipelines += [part.lightened(weight) for part in parts]
            weights += [weight] * len(parts)
        return WeightedPipelines(tuple(pipelines), tuple(weights)), is_whole

    def _is_as_good(self, members: Sequence[Member], best: TrialResult) -> bool:
        """Tells whether a mean of some members is as good on the held-out rows as the best trial alone."""
        try:
            return bool(members) and self._loss(members) <= self._loss([Member(best, 1.0)])
        except DamagedTrialError:
            return False

    def _without(self, gone: Sequence[Member], members: tuple[Member, ...]) -> tuple[Member, ...]:
        """Returns the members less some.

        Raises:
            NotFittedError: the best trial alone, or the last mean that was fitted, is better.
        """
        left = [member for member in members if member not in gone]
        total = sum(member.weight for member in left)
        left = [Member(member.trial, member.weight / total) for member in left]
        refits, best = self.study.refits, self.study.ranking()[0]
        others: list[Sequence[Member]] = [(Member(best, 1.0),)]
        wanted = refits.wanted(refits.complete)
        if refits.complete and all(member.trial.number in refits.fitted for member in wanted):
            others.append(refits.complete)
        if not left or self._loss(left) > min(map(self._loss, others)):
            raise NotFittedError("its members could not be fitted on all rows in time")
        return tuple(left)

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
            verify_seconds=max(
                _LEAST_VERIFY_SECONDS, self.study.costs.fixed_seconds, self.study.budget.remaining()
            ),
            limits=self.limits,
        )

    def _probabilities(self, members: Sequence[Member]) -> np.ndarray:
        parts = [member.weight * self.study.ledger.probabilities(member.trial.number) for member in members]
        return np.sum(parts, axis=0).astype(np.float32)

    def _temperature(self, held_out: np.ndarray) -> float:
        """Returns the temperature that calibrates, or 1 where another metric of the search would fall."""
        temperature = fit_temperature(
            held_out, self._labels(), ties=self.study.chooser.ties, seed=self.study.seed
        )
        if self.study.metric == "log_loss":
            return temperature
        worse = self._loss_of(tempered(held_out, temperature)) > self._loss_of(held_out)
        return 1.0 if worse else temperature

    def _loss(self, members: Sequence[Member]) -> float:
        return self._loss_of(self._probabilities(members))

    def _loss_of(self, probabilities: np.ndarray) -> float:
        if self.study.metric == "log_loss":  # as trials are ranked: of few rows the boldest is not the best
            return metrics.careful_log_loss(self._labels(), probabilities)
        return -metrics.score(self.study.metric, self._labels(), probabilities)

    def _judged(
        self, members: Sequence[Member], held_out: np.ndarray, temperature: float
    ) -> tuple[dict[str, Mapping[str, Any]], tuple[str, ...]]:
        """Returns the model's figures by set of rows, and doubts; an interrupted search hardly looked."""
        scores, doubts = held_out_figures(tempered(held_out, temperature), self.experiment)
        is_baseline = all(member.trial.spec.classifier.baseline for member in members)
        ranked = [trial.spec.classifier.baseline for trial in self.study.ranking()]
        # where learners are worse than the shares of the classes, `doubts` say that the columns tell nothing
        has_won = ranked[0] and not all(ranked)
        if is_baseline and not has_won:
            doubts = (self._why_baseline(),)
        if self.should_stop():
            return scores, doubts if is_baseline else ()
        if len(self.experiment.set_aside):
            as_scored = replace(self._mean(members, {})[0], temperature=temperature)
            scores["set_aside"] = set_aside_figures(as_scored, self.experiment)
        else:
            chooser, ranking = self.study.chooser, self.study.ranking()
            scores |= cross_chosen_figures(chooser, members, ranking, self.experiment, self.observer)
        return scores, doubts

    def _why_baseline(self) -> str:
        """Returns why a model that ignores the columns is published."""
        if any(not trial.spec.classifier.baseline for trial in self.study.ranking()):
            within = " within the limits" if self.limits.are_set else ""
            return f"{_BASELINE_ONLY}none of the others could be exported{within}"
        others = [each for each in self.study.results if not each.spec.classifier.baseline]
        if others and all(each.outcome is Outcome.FAILED for each in others):
            return f"{_BASELINE_ONLY}the others failed; the first: {others[0].message}"
        more = "repeat the command" if self.should_stop() else "give more with --time-budget or --max-trials"
        return f"{_BASELINE_ONLY}no other was ready in time; {more}"

    def _is_no_gain(self, scores: Mapping[str, Mapping[str, Any]], *, refitted: bool) -> bool:
        """Tells whether an earlier session's model, fitted on all rows, should stay: in place of one that is
        not and that is no better on the held-out rows of both."""
        metric, earlier = self.study.metric, self.earlier
        if earlier is None or refitted or not (earlier.refitted and earlier.verification.ok):
            return False
        new, old = (each["validation"].get(metric) for each in (scores, earlier.scores))
        if new is None or old is None:
            return False
        return bool(new <= old if metrics.larger_is_better(metric) else new >= old)

    def _labels(self) -> np.ndarray:
        return self.study.chooser.labels
