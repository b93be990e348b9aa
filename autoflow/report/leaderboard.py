"""The leaderboard: finished and unfinished trials as rows for a table, a file or a data frame."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from autoflow.components.registry import name_of
from autoflow.metrics import larger_is_better
from autoflow.search.trial import TrialResult


@dataclass(frozen=True)
class LeaderboardRow:
    """One trial.

    Args:
        rank: 1 for the best; 0 for trials without a score.
        trial: its number.
        score: in the metric of the search, on rows held out of the fit, where the best of many looks better
            than it is; NaN without a score.
        log_loss: on the same rows.
        seconds: that the trial took.
        share: of the training rows that it learned from.
        classifier: name of the component.
        features: names of the extractors.
        concatenation: name of the component.
        outcome: how the trial ended.
        recipe: fingerprint of the spec.
    """

    rank: int
    trial: int
    score: float
    log_loss: float
    seconds: float
    share: float
    classifier: str
    features: str
    concatenation: str
    outcome: str
    recipe: str


def leaderboard(results: Sequence[TrialResult], metric: str) -> tuple[LeaderboardRow, ...]:
    """Returns all trials, ranked ones first, by score and then by number."""
    sign = -1.0 if larger_is_better(metric) else 1.0
    ranked = sorted((r for r in results if r.finished), key=lambda r: (sign * r.score, r.number))
    others = sorted((r for r in results if not r.finished), key=lambda r: r.number)
    rows = [_row(position, result) for position, result in enumerate(ranked, start=1)]
    return tuple(rows + [_row(0, result) for result in others])


def part_of_rows(share: float) -> str:
    """Returns what to add to a trial that learned from a part of the training rows.

    >>> part_of_rows(0.25), part_of_rows(1.0)
    (', learned from 25% of the rows', '')
    """
    return f", learned from {100 * share:.3g}% of the rows" if share < 1 else ""


def to_csv(rows: Sequence[LeaderboardRow]) -> bytes:
    """Returns the leaderboard as CSV in UTF-8."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(LeaderboardRow)])
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue().encode()


def _row(rank: int, result: TrialResult) -> LeaderboardRow:
    extractors = dict.fromkeys(name_of(node.extractor) for node in result.spec.nodes)
    return LeaderboardRow(
        rank=rank,
        trial=result.number,
        score=round(result.score, 6),
        log_loss=round(result.log_loss, 6),
        seconds=round(result.seconds, 2),
        share=result.share,
        classifier=name_of(result.spec.classifier),
        features=" ".join(extractors),
        concatenation=name_of(result.spec.concatenation),
        outcome=result.outcome.name.lower() + (f": {result.message}" if result.message else ""),
        recipe=result.spec.fingerprint,
    )
