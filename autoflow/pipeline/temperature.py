"""Temperature scaling: one number makes probabilities bolder or more careful and keeps their order.

Guo et al. 2017, "On Calibration of Modern Neural Networks"; here it reads probabilities instead of logits,
which for a softmax is the same, so that it serves any mean of models.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from autoflow import metrics
from autoflow.data.split import half_of

if TYPE_CHECKING:
    import tensorflow as tf

_LEAST, _GREATEST = 1 / 3, 3.0
_CAREFUL_SPREAD, _BOLD_SPREAD = 0.25, 0.1
"""Deviations of a normal prior on the logarithm, above and below 0: few rows that are all right ask for
endless boldness, and the rows that chose among many models flatter the choice."""
_MOST_LOSS = -math.log(metrics.SMALLEST_PROBABILITY)
_TURNS = 5
_MOST_CELLS = 2_000_000
"""Probabilities that are looked at: one number needs no more, and the end of a run waits for it."""


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns `float32[n, C]`, the probabilities to the power of `1 / temperature`, rows summing to 1.

    >>> tempered(np.array([[0.8, 0.2]]), 2.0).round(3).tolist()
    [[0.6669999957084656, 0.3330000042915344]]
    """
    if temperature == 1.0:
        return np.asarray(probabilities, np.float32)
    logits = np.log(np.maximum(probabilities, metrics.SMALLEST_PROBABILITY)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def tempered_graph(probabilities: tf.Tensor, temperature: float) -> tf.Tensor:
    """As `tempered`."""
    import tensorflow as tf

    if temperature == 1.0:
        return probabilities
    floor = tf.constant(metrics.SMALLEST_PROBABILITY, probabilities.dtype)
    return tf.nn.softmax(tf.math.log(tf.maximum(probabilities, floor)) / temperature)


def fit_temperature(
    probabilities: np.ndarray, labels: np.ndarray, *, ties: np.ndarray | None = None, seed: int
) -> float:
    """Returns the temperature that held-out rows ask for; 1.0 where scaling does not pay.

    It pays if temperatures that halves of the rows ask for lower the log-loss on the other halves. In both
    one more row is imagined, a wrong one, as in `metrics.imagined_error`: rows that are all right set no
    limit to boldness.

    Args:
        probabilities: held-out `float[m, C]`.
        labels: class codes `int[m]`.
        ties: `int[m]`, equal for rows that are on one side together; None where any may part.
        seed: parts the rows.

    Returns:
        From 1/3 (bolder) to 3 (more careful).
    """
    generator = np.random.default_rng(seed)
    most = max(1, _MOST_CELLS // probabilities.shape[1])
    if len(labels) > most:
        rows = generator.choice(len(labels), most, replace=False)
        probabilities, labels = probabilities[rows], labels[rows]
        ties = None if ties is None else ties[rows]
    logits = np.log(np.maximum(probabilities, metrics.SMALLEST_PROBABILITY))
    num_wrong = int((logits.argmax(axis=1) != labels).sum())
    gain = 0.0
    for _ in range(_TURNS):
        half = half_of(len(labels), ties, generator)
        for known in (half, ~half):
            temperature = _best(logits[known], labels[known], num_wrong)
            gain += _loss(logits[~known], labels[~known], 1.0, num_wrong)
            gain -= _loss(logits[~known], labels[~known], temperature, num_wrong)
    return _best(logits, labels, num_wrong) if gain > 0 else 1.0


def _best(logits: np.ndarray, labels: np.ndarray, num_wrong: int) -> float:
    from scipy.optimize import minimize_scalar

    def objective(logarithm: float) -> float:
        spread = _CAREFUL_SPREAD if logarithm > 0 else _BOLD_SPREAD
        surprise = (logarithm / spread) ** 2 / 2
        return _loss(logits, labels, float(np.exp(logarithm)), num_wrong) + surprise / len(labels)

    bounds = (np.log(_LEAST), np.log(_GREATEST))
    found = minimize_scalar(objective, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))


def _loss(logits: np.ndarray, labels: np.ndarray, temperature: float, num_wrong: int) -> float:
    """Returns the log-loss of tempered probabilities; the logarithms are taken once for all temperatures."""
    scaled = logits / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    sums = np.log(powers.sum(axis=1))
    rows = np.arange(len(labels))
    losses = np.minimum(sums - scaled[rows, labels], _MOST_LOSS)
    powers[rows, scaled.argmax(axis=1)] = 0.0
    left = np.maximum(powers.sum(axis=1) / (powers.shape[1] - 1), metrics.SMALLEST_PROBABILITY)
    imagined = np.minimum(sums - np.log(left), _MOST_LOSS).mean(dtype=np.float64) / (1 + num_wrong)
    return float((losses.sum(dtype=np.float64) + imagined) / (len(labels) + 1))
