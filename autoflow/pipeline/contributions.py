"""What each raw column contributed to a fitted model, where its networks can tell.

Only the merge of a network is asked; explaining models that say nothing about themselves is no task of this
file.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autoflow.components.base import Concatenation
from autoflow.pipeline.assembly import FittedPipeline, WeightedPipelines
from autoflow.pipeline.network import FittedNetwork


def contributions(pipeline: FittedPipeline, raw: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns the share of each raw column, or part, in what a pipeline merges, by header; they sum to 1.

    Args:
        pipeline: fitted.
        raw: one raw row or more by header; a few hundred give steady figures.

    Returns:
        Nothing where the pipeline has no network or its merge cannot tell; see `Concatenation.contributions`.
    """
    merge = type(pipeline.spec.concatenation)
    if not isinstance(pipeline.model, FittedNetwork) or merge.contributions is Concatenation.contributions:
        return {}  # preparing the rows would be for nothing
    shares = pipeline.model.contributions(pipeline.prepare(raw))
    if shares is None:
        return {}
    columns = [
        name for node in pipeline.spec.nodes for name in ((node.name,) if node.reads_rows else node.columns)
    ]
    return dict(zip(columns, shares.tolist(), strict=True))


def mean_contributions(model: WeightedPipelines, raw: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns the weighted mean of `contributions` over the members that can tell, the largest first."""
    told = [
        (weight, contributions(member, raw))
        for weight, member in zip(model.weights, model.members, strict=True)
    ]
    total = sum(weight for weight, shares in told if shares)
    means: dict[str, float] = {}
    for weight, shares in told:
        for name, share in shares.items():
            means[name] = means.get(name, 0.0) + weight / total * share
    return dict(sorted(means.items(), key=lambda item: -item[1]))
