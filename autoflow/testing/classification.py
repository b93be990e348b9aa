"""Checks of classifiers: probabilities that serve as they were scored, and that learn something."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, cast

import numpy as np

from autoflow.components.base import (
    Classifier,
    FitContext,
    FittedClassifier,
    LabelledFeatures,
    MatrixClassifier,
    NeuralClassifier,
)
from autoflow.pipeline.steps import cross_entropy
from autoflow.testing.check import Check, checks, expect, expect_close, expect_finite, pickled
from autoflow.testing.declaration import draws
from autoflow.testing.rows import labelled_rows

_SEED = 4


def _without(rows: LabelledFeatures, label: int) -> LabelledFeatures:
    kept = rows.labels != label
    return LabelledFeatures(rows.features[kept], rows.labels[kept], rows.categorical)


@cache
def _fitted(classifier: MatrixClassifier, num_classes: int, absent: int = -1) -> FittedClassifier:
    train = _without(labelled_rows(num_classes), absent)
    validation = labelled_rows(num_classes, 60, seed=8)
    return classifier.fit(train, validation, FitContext(num_classes, _SEED))


def _cases(component: type[MatrixClassifier]) -> list[tuple[FittedClassifier, int]]:
    """Returns fits on two and three classes, on a missing class, and of one random draw."""
    default, drawn = component(), cast(MatrixClassifier, draws(component)[1])
    return [
        (_fitted(default, 2), 2),
        (_fitted(default, 3), 3),
        (_fitted(default, 3, absent=1), 3),
        (_fitted(default, 2, absent=1), 2),
        (_fitted(drawn, 3), 3),
    ]


def _served_rows(num_classes: int) -> np.ndarray:
    """Returns rows like the training rows, and some far outside."""
    usual = labelled_rows(num_classes, 40, seed=9).features
    return np.concatenate([usual, usual[:5] * 1e4, np.zeros((1, usual.shape[1]), np.float32)])


def _expect_probabilities(probabilities: np.ndarray, shape: tuple[int, int]) -> None:
    expect(probabilities.shape == shape, f"probabilities of shape {shape}", probabilities.shape)
    expect(probabilities.dtype == np.float32, "float32", probabilities.dtype)
    expect_finite(probabilities, "probabilities")
    expect(bool((probabilities >= 0).all()), "no probability below 0", probabilities.min())
    worst = float(np.abs(probabilities.sum(axis=1, dtype=np.float64) - 1).max())
    expect(worst < 1e-4, "rows that sum to 1", f"a row that is off by {worst:.3g}")


def predicts_probabilities(component: type[MatrixClassifier]) -> None:
    """Every class has its column, also one without training rows."""
    for fitted, num_classes in _cases(component):
        rows = _served_rows(num_classes)
        _expect_probabilities(fitted.predict_probabilities(rows), (len(rows), num_classes))


def serves_what_it_predicts(component: type[MatrixClassifier]) -> None:
    """`graph` and `predict_probabilities` are the same function."""
    import tensorflow as tf

    for fitted, num_classes in _cases(component):
        rows = _served_rows(num_classes)
        run = tf.function(
            fitted.graph, autograph=False, input_signature=[tf.TensorSpec([None, rows.shape[1]], tf.float32)]
        )
        served = run(tf.constant(rows)).numpy()
        expect_close(served, fitted.predict_probabilities(rows), 1e-5, "graph and predict_probabilities")
        expect_close(run(tf.constant(rows[3:4])).numpy(), served[3:4], 1e-6, "a row alone and in a batch")


def is_deterministic(component: type[MatrixClassifier]) -> None:
    """The same seed and rows give the same model."""
    rows, context = labelled_rows(3), FitContext(3, _SEED)
    validation = labelled_rows(3, 60, seed=8)
    again = component().fit(rows, validation, context).predict_probabilities(rows.features)
    expect_close(again, _fitted(component(), 3).predict_probabilities(rows.features), 1e-6, "two fits")


def leaves_its_input_alone(component: type[MatrixClassifier]) -> None:
    """Features are shared by all trials: read-only arrays are enough."""
    rows = labelled_rows(2)
    rows.features.flags.writeable = False
    rows.labels.flags.writeable = False
    before = rows.features.copy(), rows.labels.copy()
    component().fit(rows, None, FitContext(2, _SEED, iterations=2)).predict_probabilities(rows.features)
    same = np.array_equal(before[0], rows.features) and np.array_equal(before[1], rows.labels)
    expect(same, "rows as they were", "rows that the fit changed")


def refits_without_validation(component: type[MatrixClassifier]) -> None:
    """The winner is fitted once more on all rows, for as many iterations as it settled on."""
    found = _fitted(component(), 3).iterations
    expect(found is None or (isinstance(found, int) and found >= 0), "iterations: int or None", repr(found))
    rows = labelled_rows(3)
    for iterations in {3, found or 3}:
        fitted = component().fit(rows, None, FitContext(3, _SEED, iterations=iterations))
        _expect_probabilities(fitted.predict_probabilities(rows.features), (len(rows.labels), 3))
    unbounded = component().fit(_without(rows, 0), None, FitContext(3, _SEED))
    _expect_probabilities(unbounded.predict_probabilities(rows.features), (len(rows.labels), 3))


def returns_when_time_is_over(component: type[MatrixClassifier]) -> None:
    """A fit without time returns what it has."""
    rows = labelled_rows(2)
    fitted = component().fit(rows, labelled_rows(2, 60, seed=8), FitContext(2, _SEED, seconds=0.0))
    _expect_probabilities(fitted.predict_probabilities(rows.features), (len(rows.labels), 2))


def pickles_plainly(component: type[MatrixClassifier]) -> None:
    """Fitted classifiers travel between processes."""
    fitted, rows = _fitted(component(), 3), _served_rows(3)
    copy = pickled(fitted)
    expect_close(copy.predict_probabilities(rows), fitted.predict_probabilities(rows), 0.0, "after pickling")


def learns_what_is_easy(component: type[MatrixClassifier]) -> None:
    """On classes that lie apart it is right far more often than the majority, unless it is a baseline."""
    rows = labelled_rows(3, 150, seed=21)
    probabilities = _fitted(component(), 3).predict_probabilities(rows.features)
    accuracy = float((probabilities.argmax(axis=1) == rows.labels).mean())
    if component.baseline:
        expect(accuracy < 0.6, "a baseline that does not learn from features", f"accuracy {accuracy:.2f}")
    else:
        expect(accuracy > 0.75, "accuracy above 0.75 on separable classes", f"{accuracy:.2f}")


def body_gives_finite_logits(component: type[NeuralClassifier]) -> None:
    """The network takes any width and answers one logit a class, the same for the same seed."""
    random = np.random.default_rng(6)
    for value in (component(), *draws(component)[:3]):
        for width, num_classes in ((1, 2), (23, 5)):
            features = random.normal(0, 1, (7, width)).astype(np.float32)
            network = cast(NeuralClassifier, value)
            first, second = (
                network.body(width, num_classes, _SEED)(features, training=False).numpy() for _ in range(2)
            )
            expect(first.shape == (7, num_classes), f"logits of shape {(7, num_classes)}", first.shape)
            expect_finite(first, "logits")
            expect_close(second, first, 1e-6, "logits of two bodies with one seed")


def body_is_the_same_for_every_recipe(component: type[NeuralClassifier]) -> None:
    """Rates, sizes of batches and numbers of epochs are not built into the layers, which are used again."""
    features = np.random.default_rng(7).normal(0, 1, (7, 5)).astype(np.float32)
    value = component()
    other = replace(
        value,
        learning_rate=value.learning_rate / 2,
        weight_decay=value.weight_decay + 0.1,
        batch_size=2 * value.batch_size,
        max_epochs=value.max_epochs + 1,
        patience=value.patience + 1,
    )
    for training in (False, True):
        bodies = [each.body(5, 3, _SEED) for each in (value, other)]
        first, second = (body(features, training=training).numpy() for body in bodies)
        expect_close(second, first, 1e-6, "logits of two bodies whose recipes differ")
        first, second = (np.array([float(loss) for loss in body.losses]) for body in bodies)
        expect_close(second, first, 1e-6, "losses of two bodies whose recipes differ")


def body_treats_rows_alone(component: type[NeuralClassifier]) -> None:
    """A row has the same logits alone and in a batch, in a graph with an unknown number of rows."""
    import tensorflow as tf

    rows = labelled_rows(3, 30).features
    body = component().body(rows.shape[1], 3, _SEED)
    spec = tf.TensorSpec([None, rows.shape[1]], tf.float32)
    run = tf.function(
        lambda features: body(features, training=False), autograph=False, input_signature=[spec]
    )
    together = run(tf.constant(rows)).numpy()
    expect_close(run(tf.constant(rows[4:5])).numpy(), together[4:5], 1e-5, "logits alone and in a batch")


def body_learns_what_is_easy(component: type[NeuralClassifier]) -> None:
    """Some steps of gradient descent bring the loss far below that of guessing; every weight moves."""
    import keras
    import tensorflow as tf

    rows = labelled_rows(3)
    standardised = (rows.features - rows.features.mean(axis=0)) / rows.features.std(axis=0)
    body = component().body(rows.features.shape[1], 3, _SEED)
    features, labels = tf.constant(standardised), tf.constant(rows.labels)
    body(features, training=True)
    optimizer = keras.optimizers.Adam(1e-2)
    optimizer.build(body.trainable_variables)

    @tf.function(autograph=False)
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = cross_entropy(labels, body(features, training=True))
        gradients = tape.gradient(loss, body.trainable_variables)
        missing = sum(gradient is None for gradient in gradients)
        expect(missing == 0, "a gradient for every weight", f"none for {missing} of {len(gradients)}")
        optimizer.apply(gradients, body.trainable_variables)
        return loss

    for _ in range(80):
        step()
    logits = body(features, training=False)
    loss = float(cross_entropy(labels, logits))
    expect(loss < 0.6, "a training log-loss below 0.6 after 80 steps (guessing: 1.1)", f"{loss:.3f}")


def is_matrix_or_neural(component: type[Classifier]) -> None:
    """Training knows these two sorts."""
    sorts = [base.__name__ for base in (MatrixClassifier, NeuralClassifier) if issubclass(component, base)]
    expect(len(sorts) == 1, "MatrixClassifier or NeuralClassifier as base class", sorts or component.__mro__)


CLASSIFICATION_CHECKS: tuple[Check, ...] = (
    *checks(is_matrix_or_neural),
    *checks(
        predicts_probabilities,
        serves_what_it_predicts,
        is_deterministic,
        leaves_its_input_alone,
        refits_without_validation,
        returns_when_time_is_over,
        pickles_plainly,
        learns_what_is_easy,
        applies_to=MatrixClassifier,
    ),
    *checks(
        body_gives_finite_logits,
        body_is_the_same_for_every_recipe,
        body_treats_rows_alone,
        body_learns_what_is_easy,
        applies_to=NeuralClassifier,
    ),
)
