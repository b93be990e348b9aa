"""Cheap fidelities first: trials of a large table begin on a part of the rows, and the good ones move up.

Asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning") with
the share of training rows as the resource. Held-out rows are the same at every share, so that all scores
compare.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise

import numpy as np

_FEWEST_ROWS = 20_000
"""Rows of the lowest rung at least: below, ranks say too little and most of a trial is overhead."""
_GROWTH = 4
_PROMOTED = 3
"""One trial in so many moves up."""


def rungs_of(num_rows: int) -> tuple[float, ...]:
    """Returns ascending shares of the training rows, the last one 1.0.

    >>> rungs_of(30_000), rungs_of(100_000), rungs_of(900_000)
    ((1.0,), (0.25, 1.0), (0.0625, 0.25, 1.0))
    """
    shares = [1.0]
    while num_rows * shares[0] / _GROWTH >= _FEWEST_ROWS:
        shares.insert(0, shares[0] / _GROWTH)
    return tuple(shares)


def promotions(
    losses: Mapping[float, Mapping[str, float]],
    begun: Collection[tuple[str, float]],
    averaged: Collection[str] = (),
) -> list[tuple[str, float]]:
    """Returns which recipes deserve the next share, the largest share and the best recipe first.

    Args:
        losses: of finished trials, by share (ascending) and fingerprint of the recipe.
        begun: fingerprints with the shares at which they were begun.
        averaged: fingerprints of those that the model would average: they deserve it whatever their rank, as
            one that differs may gain it more than one that is good.
    """
    shares = list(losses)
    deserving = []
    for share, above in reversed(list(pairwise(shares))):
        best = sorted(losses[share], key=losses[share].__getitem__)
        num_best = len(best) // _PROMOTED
        allowed = [recipe for place, recipe in enumerate(best) if place < num_best or recipe in averaged]
        deserving += [(recipe, above) for recipe in allowed if (recipe, above) not in begun]
    return deserving


def sampled(rows: np.ndarray, labels: np.ndarray, share: float, *, seed: int) -> np.ndarray:
    """Returns a share of some rows in ascending order, of each class alike and at least one row of each.

    A smaller share of the same rows with the same seed is a part of a larger one.

    Args:
        rows: int64[n], distinct.
        labels: int[n], class of each.
        share: above 0 to 1.
        seed: chooses.
    """
    if share == 1.0:
        return rows
    shuffle = np.random.default_rng(seed).permutation(len(rows))
    by_class = shuffle[np.argsort(labels[shuffle], kind="stable")]
    _, starts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    place = np.arange(len(rows)) - np.repeat(starts, counts)
    return np.sort(rows[by_class[place < np.repeat(np.ceil(share * counts), counts)]])
