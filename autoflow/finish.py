"""The end of a run: fit the winner on all rows where time allows, export it, have it verified, publish it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoflow import metrics
from autoflow.components.base import NeuralClassifier
from autoflow.data.dataset import Dataset
from autoflow.errors import MachineError, NoModelError
from autoflow.export.graph import Servable
from autoflow.export.saved_model import MAX_EXAMPLES, Export, export_model
from autoflow.export.verify import Outcome, VerificationResult, Verifier
from autoflow.manifest import ManifestDetails, Recipe, next_version
from autoflow.pipeline.assembly import WeightedPipelines
from autoflow.search.evaluate import Experiment, load_pipelines
from autoflow.search.events import Observer, Stage, Warned
from autoflow.search.ledger import Ledger
from autoflow.search.ray_pool import RayPool
from autoflow.search.sampler import derived_seed
from autoflow.search.study import Study
from autoflow.search.trial import TrialJob, TrialResult

_CANDIDATES = 3
_LEAST_VERIFY_SECONDS = 15.0
_UNSEEN = "\u2047 never seen"


@dataclass(frozen=True)
class FinishedModel:
    """The exported model of a run.

    Args:
        folder: its version folder.
        trial: the trial that won.
        refitted: whether it was fitted on all rows; otherwise it is what the trial scored.
        scores: figures by set of rows, as in the manifest.
        verification: what a clean process found.
        num_bytes: size of the version folder.
    """

    folder: Path
    trial: TrialResult
    refitted: bool
    scores: Mapping[str, Mapping[str, Any]]
    verification: VerificationResult
    num_bytes: int


def remember(ledger: Ledger, model: FinishedModel, num_trials: int) -> None:
    """Notes in the run folder which model came out of how many trials."""
    verification = {key: value for key, value in asdict(model.verification).items() if value == value}
    ledger.remember(
        "model",
        {
            "version": model.folder.name,
            "trial": model.trial.number,
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
    trial = next((result for result in results if result.number == noted["trial"]), None)
    if trial is None or not (folder / "saved_model.pb").exists():
        return None
    verification = noted["verification"] | {"outcome": Outcome(noted["verification"]["outcome"])}
    return FinishedModel(
        folder, trial, noted["refitted"], noted["scores"], VerificationResult(**verification), noted["num_bytes"]
    )


def finish(
    study: Study,
    pool: RayPool,
    verifier: Verifier,
    experiment: Experiment,
    source: str,
    observer: Observer,
    *,
    refit: bool,
) -> FinishedModel:
    """Exports the best trial; where that fails, the next best ones.

    Args:
        study: the search, ended.
        pool: its workers.
        verifier: tries the exported model.
        experiment: the data.
        source: name of the table.
        observer: is told what happens.
        refit: whether to fit on all rows first, time permitting.

    Raises:
        NoModelError: there is no finished trial, or none can be exported.
    """
    verifier.start()
    ranking = study.ranking()
    if not ranking:
        failed = next((result for result in study.results if not result.finished), None)
        reason = f"; the first trial: {failed.message}" if failed else ""
        raise NoModelError(f"no trial finished in the time given{reason}. Give more with --time-budget.")
    trouble = ""
    for trial in ranking[:_CANDIDATES]:
        model, refitted = _fitted(study, pool, experiment, trial, observer, refit=refit)
        if model is None:
            continue
        observer(Stage("exporting and verifying the model"))
        scores = {"validation": _scores(study, experiment, trial)}
        export = _export(model, study, verifier, experiment, trial, source, scores, refitted=refitted)
        if export.folder is not None and export.verification is not None:
            if not export.verification.ok:
                observer(Warned(f"the exported model was not verified: {export.verification.message}"))
            return FinishedModel(export.folder, trial, refitted, scores, export.verification, export.num_bytes)
        trouble = export.verification.message if export.verification else "not verified"
        observer(Warned(f"trial {trial.number} ({trial.spec}) was not exported: {trouble}"))
    raise NoModelError(f"none of the best trials could be exported: {trouble}")


def _fitted(
    study: Study, pool: RayPool, experiment: Experiment, trial: TrialResult, observer: Observer, *, refit: bool
) -> tuple[Servable | None, bool]:
    """Returns the winner fitted on all rows, or as it was scored where the time is short."""
    seconds = study.budget.remaining() - study.costs.fixed_seconds
    if refit and seconds > study.costs.refit_factor * trial.seconds * 0.5:
        observer(Stage("fitting the best pipeline on all rows"))
        neural = isinstance(trial.spec.classifier, NeuralClassifier)
        job = TrialJob(trial.number, trial.spec, derived_seed(study.seed, trial.number), seconds)
        pipeline = pool.refit(job, trial.iterations, seconds, needs_tensorflow=neural)
        if pipeline is not None:
            return pipeline, True
        observer(Warned("the fit on all rows did not succeed in time; the model is the one that was scored"))
    try:
        pipelines = load_pipelines(study.ledger.artifact(trial.number))
    except MachineError as error:
        observer(Warned(str(error)))
        return None, False
    return WeightedPipelines(tuple(pipelines), (1 / len(pipelines),) * len(pipelines)), False


def _export(
    model: Servable,
    study: Study,
    verifier: Verifier,
    experiment: Experiment,
    trial: TrialResult,
    source: str,
    scores: Mapping[str, Mapping[str, Any]],
    *,
    refitted: bool,
) -> Export:
    folder = study.ledger.folder / "model"
    details = ManifestDetails(
        recipes=(Recipe(1.0, trial.spec.to_json()),),
        metrics=scores,
        num_training_rows=experiment.dataset.num_rows if refitted else len(experiment.folds[0].train),
        source=source,
    )
    return export_model(
        model,
        folder,
        version=next_version(folder),
        details=details,
        examples=_examples(experiment.dataset),
        verifier=verifier,
        verify_seconds=max(_LEAST_VERIFY_SECONDS, study.budget.remaining()),
    )


def _scores(study: Study, experiment: Experiment, trial: TrialResult) -> Mapping[str, Any]:
    labels = experiment.dataset.labels[experiment.validation_rows]
    probabilities = study.ledger.probabilities(trial.number)
    scores = metrics.evaluate_probabilities(labels, probabilities, experiment.dataset.schema.classes)
    return {key: value for key, value in scores.to_json().items() if isinstance(value, int | float)}


def _examples(dataset: Dataset) -> Mapping[str, np.ndarray]:
    """Returns rows to verify: some spread over the table, one with all values missing, one never seen."""
    spread = np.unique(np.linspace(0, dataset.num_rows - 1, MAX_EXAMPLES - 2).astype(np.int64))
    examples = {}
    for column in dataset.schema.columns:
        values = dataset.raw[column.name][spread]
        odd = ["", _UNSEEN] if values.dtype == object else [np.nan, 1e6]
        examples[column.name] = np.concatenate([values, np.array(odd, values.dtype)])
    return examples
