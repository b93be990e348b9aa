"""The model that came out of a run, and what the run folder remembers of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autoflow.components.registry import name_of
from autoflow.errors import NoModelError
from autoflow.export.verify import Outcome, VerificationResult
from autoflow.manifest import damage, read_manifest
from autoflow.search.ledger import Ledger
from autoflow.search.members import Member
from autoflow.search.trial import TrialResult


@dataclass(frozen=True)
class FrontPoint:
    """What a model scores and what it costs to serve.

    Args:
        made_of: its pipelines, in words.
        score: on held-out rows, in the metric of the search.
        row_ms: median milliseconds of one row through the loaded graph.
        megabytes: size of the version folder, in millions of bytes.
    """

    made_of: str
    score: float
    row_ms: float
    megabytes: float


@dataclass(frozen=True)
class FinishedModel:
    """The exported model of a run.

    Args:
        folder: its version folder.
        members: the trials that it averages, the heaviest first; often one.
        refitted: whether they were fitted on all rows (networks of few rows are the mean of all folds);
            otherwise some are what the trials scored.
        scores: figures by set of rows, as in the manifest; `report.figures` says what rows these are.
        verification: what a clean process found.
        num_bytes: size of the version folder.
        contributions: share of each raw column, as in the manifest, the largest first; often empty.
        doubts: what deserves a look in the model, in plain words.
        refit_seconds: that workers were fitting on all rows, summed; 0 for a model of an earlier session.
        export_seconds: that writing and verifying it took; 0 for a model of an earlier session.
        front: score against latency, this model first; empty where there was no time to measure others.
    """

    folder: Path
    members: tuple[Member, ...]
    refitted: bool
    scores: Mapping[str, Mapping[str, Any]]
    verification: VerificationResult
    num_bytes: int
    contributions: Mapping[str, float] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    refit_seconds: float = 0.0
    export_seconds: float = 0.0
    front: tuple[FrontPoint, ...] = ()

    def averages(self, members: Sequence[Member], *, refitted: bool) -> bool:
        """Tells whether it is the verified mean of these trials with these shares, and fitted as well."""
        shares = {member.trial.number: member.weight for member in members}
        own = {member.trial.number: member.weight for member in self.members}
        return (
            self.verification.ok
            and (self.refitted or not refitted)
            and shares.keys() == own.keys()
            and all(math.isclose(share, own[number], rel_tol=1e-6) for number, share in shares.items())
        )

    def __str__(self) -> str:
        if len(self.members) == 1:
            return str(self.members[0].trial.spec)
        return " + ".join(
            f"{member.weight:.2f} {name_of(member.trial.spec.classifier)}" for member in self.members
        )


def remember(ledger: Ledger, model: FinishedModel, asked: Mapping[str, float | None] | None) -> None:
    """Notes in the run folder which model came out of it.

    Args:
        ledger: of the run.
        model: the exported model.
        asked: the limits that the search was given; None where it was interrupted.
    """
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
            "contributions": model.contributions,
            "doubts": model.doubts,
            "front": [asdict(point) for point in model.front],
            "num_trials": len(ledger.entries()),
            "refit_seconds": model.refit_seconds,
            "asked": asked,
        },
    )


def remembered(ledger: Ledger, results: list[TrialResult]) -> FinishedModel | None:
    """Returns the model of an earlier session, or None where it is gone or not what was exported."""
    noted = ledger.setting("model")
    if noted is None:
        return None
    folder = ledger.folder / "model" / noted["version"]
    by_number = {result.number: result for result in results}
    try:
        if damage(folder, read_manifest(folder)):
            return None
    except NoModelError:
        return None
    verification = noted["verification"] | {"outcome": Outcome(noted["verification"]["outcome"])}
    return FinishedModel(
        folder,
        tuple(Member(by_number[number], weight) for number, weight in noted["members"]),
        noted["refitted"],
        noted["scores"],
        VerificationResult(**verification),
        noted["num_bytes"],
        noted.get("contributions", {}),
        tuple(noted.get("doubts", ())),
        front=tuple(FrontPoint(**point) for point in noted.get("front", ())),
    )
