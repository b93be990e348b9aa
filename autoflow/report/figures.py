"""Which rows a model's figures come from, in plain words, the most honest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ROWS = {
    "set_aside": "on rows set aside before the search",
    "cross_chosen": "on held-out rows, each predicted by a choice among the trials that other rows made",
    "validation": "on held-out rows, which chose and calibrated the model and so flatter it",
}


def told_figures(scores: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[Mapping[str, Any], str], ...]:
    """Returns the figures that a report tells, with words for their rows, those to rely on first.

    >>> told_figures({"validation": {"log_loss": 0.2}, "set_aside": {"log_loss": 0.3}})[0]
    ({'log_loss': 0.3}, 'on rows set aside before the search')

    Args:
        scores: figures by set of rows, as in the manifest, `validation` among them.
    """
    return tuple((scores[name], words) for name, words in _ROWS.items() if name in scores)
