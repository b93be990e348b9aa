"""Temperature scaling, as NumPy and as a graph."""

import numpy as np
import pytest

from autoflow import metrics
from autoflow.pipeline.temperature import fit_temperature, tempered, tempered_graph


def _answers(seed, boldness, num_rows=8000):
    """Labels drawn from true probabilities, and a model that raises those to a power."""
    generator = np.random.default_rng(seed)
    true = generator.dirichlet([0.7, 0.7, 0.7], num_rows)
    labels = (generator.random((num_rows, 1)) > true.cumsum(axis=1)[:, :2]).sum(axis=1)
    return tempered(true, 1 / boldness), labels


@pytest.mark.parametrize("boldness", [0.5, 2.0])
def test_the_temperature_undoes_what_made_a_model_too_bold_or_too_careful(boldness):
    probabilities, labels = _answers(0, boldness)
    temperature = fit_temperature(probabilities, labels, seed=0)
    assert temperature == pytest.approx(boldness, rel=0.1)
    fresh, truth = _answers(1, boldness)
    scaled = metrics.score("log_loss", truth, tempered(fresh, temperature))
    assert scaled < metrics.score("log_loss", truth, fresh) - 0.02


def test_few_rows_that_tell_nothing_leave_the_probabilities_alone():
    kept = []
    for seed in range(20):
        probabilities, labels = _answers(seed, 1.0, num_rows=60)
        kept.append(fit_temperature(probabilities, labels, seed=seed) == 1.0)
    assert np.mean(kept) >= 0.5


def test_copies_of_few_rows_are_no_evidence():
    scaled = {True: 0, False: 0}
    for seed in range(20):
        probabilities, labels = _answers(seed, 1.0, num_rows=30)
        rows = np.repeat(np.arange(30), 40)
        for tied in scaled:
            ties = rows if tied else None
            temperature = fit_temperature(probabilities[rows], labels[rows], ties=ties, seed=seed)
            scaled[tied] += temperature != 1.0
    assert scaled[True] < 0.8 * scaled[False]


def test_a_handful_of_right_answers_does_not_make_a_model_certain():
    probabilities = np.tile(np.array([[0.9, 0.1], [0.1, 0.9]], np.float32), (10, 1))
    assert fit_temperature(probabilities, np.arange(20) % 2, seed=0) > 0.7


def test_certain_answers_stay_finite():
    probabilities = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], np.float32)
    temperature = fit_temperature(probabilities, np.array([0, 1, 1]), seed=0)
    scaled = tempered(probabilities, temperature)
    assert np.isfinite(scaled).all()
    np.testing.assert_allclose(scaled.sum(axis=1), 1, atol=1e-6)


def test_the_graph_gives_the_same():
    import tensorflow as tf

    probabilities, _ = _answers(0, 1.0, num_rows=200)
    probabilities[0] = [1.0, 0.0, 0.0]
    for temperature in (0.4, 1.0, 2.5):
        served = tempered_graph(tf.constant(probabilities), temperature).numpy()
        np.testing.assert_allclose(served, tempered(probabilities, temperature), atol=1e-6)


def test_rows_that_are_all_right_do_not_keep_a_model_certain():
    labels = np.arange(300) % 3
    probabilities = tempered(np.float32(0.98 * np.eye(3)[labels] + 0.02 / 3), 0.1)
    assert probabilities.max() > 1 - 1e-6
    assert fit_temperature(probabilities, labels, seed=0) > 1.5
    usual = np.float32(0.98 * np.eye(3)[labels] + 0.02 / 3)
    assert fit_temperature(usual, labels, seed=0) == pytest.approx(1.0, abs=0.1)
