"""Checks of feature extractors: prepared features, their TensorFlow twin and the trainable layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from autoflow.components.base import CrossFittedExtractor, FeatureExtractor, FittedExtractor
from autoflow.data.images import Picture
from autoflow.data.schema import ColumnKind
from autoflow.testing.check import checks, expect, expect_close, expect_finite, pickled
from autoflow.testing.declaration import draws, profiles
from autoflow.testing.rows import missing_value, strange_values, training_values

if TYPE_CHECKING:
    import tensorflow as tf

_SEED = 11
_NOISE_ROWS = 600
_BEST_GUESS = 0.58
"""Four standard deviations of 600 fair coins above one half."""


@cache
def _fitted(extractor: FeatureExtractor, kind: ColumnKind) -> FittedExtractor:
    return _fit(extractor, training_values(kind))[0]


def _fit(extractor: FeatureExtractor, values: np.ndarray) -> tuple[FittedExtractor, np.ndarray]:
    """Fits on rows of three classes, or on one row, and returns their features, too."""
    labels = np.random.default_rng(_SEED).integers(0, 3, len(values)).astype(np.int32)
    return extractor.fit_transform(values, labels, 3, seed=_SEED)


def accepted_kinds(component: type[FeatureExtractor]) -> list[ColumnKind]:
    """Returns what it accepts; nothing where it needs something of the user's, such as a file of weights."""
    supported = any(component.supports(profile) for profile in profiles(component))
    return sorted(component.accepts) if supported else []


def _cases(component: type[FeatureExtractor]) -> Iterator[tuple[FittedExtractor, np.ndarray]]:
    """Yields the default and two random extractors, fitted, each with seen and strange rows."""
    for kind in accepted_kinds(component):
        rows = np.concatenate([training_values(kind)[:20], strange_values(kind)])
        for extractor in (component(), *draws(component)[1:3]):
            yield _fitted(cast(FeatureExtractor, extractor), kind), rows


class GraphTables:
    """Lookup tables that live as long as this object; implements `components.base.LookupTables`."""

    def __init__(self) -> None:
        self._tables: list[tf.lookup.StaticHashTable] = []
        self._kept: list[Any] = []

    def keep(self, resource: Any) -> None:
        """Keeps a loaded model."""
        self._kept.append(resource)

    def table(
        self, keys: Sequence[str] | np.ndarray, values: Sequence[int] | np.ndarray, default: int
    ) -> tf.lookup.StaticHashTable:
        """Returns a static table from strings to int64."""
        import tensorflow as tf

        expect(
            len(set(keys)) == len(keys), "distinct keys of a lookup table", f"{len(keys)} keys with repeats"
        )
        with tf.init_scope():  # a table made inside a trace would belong to that trace only
            initializer = tf.lookup.KeyValueTensorInitializer(
                tf.constant(list(keys), tf.string, shape=[len(keys)]),
                tf.constant(list(values), tf.int64, shape=[len(keys)]),
            )
            self._tables.append(tf.lookup.StaticHashTable(initializer, default))
        return self._tables[-1]


def _graph(fitted: FittedExtractor, values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    dtype = tf.string if values.dtype == object else tf.float64
    tables = GraphTables()

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, values.shape[1]], dtype)])
    def run(batch: tf.Tensor) -> tf.Tensor:
        return fitted.graph(batch, tables)

    return lambda rows: run(tf.constant(_served(rows), dtype, shape=rows.shape)).numpy()


def _served(rows: np.ndarray) -> list[object]:
    """Returns what a server gets: numbers, texts, or the bytes of pictures."""
    return [value.read() if isinstance(value, Picture) else value for value in rows.ravel().tolist()]


def accepts_column_kinds(component: type[FeatureExtractor]) -> None:
    """`accepts` is what the search reads."""
    kinds = component.accepts
    good = isinstance(kinds, frozenset) and kinds and all(isinstance(kind, ColumnKind) for kind in kinds)
    expect(bool(good), "accepts to be a frozenset of ColumnKind with one or more", kinds)


def prepares_finite_features_of_declared_widths(component: type[FeatureExtractor]) -> None:
    """`transform` gives a row for each row, whatever comes."""
    types = [np.int32, np.uint8, np.float32] if component.trainable else [np.float32]
    for fitted, rows in _cases(component):
        features = fitted.transform(rows)
        shape = (len(rows), sum(fitted.widths))
        expect(len(fitted.widths) == rows.shape[1], f"{rows.shape[1]} widths", fitted.widths)
        expect(features.shape == shape, f"features of shape {shape}", features.shape)
        expect(
            features.dtype in types,
            f"features of type {' or '.join(np.dtype(each).name for each in types)}",
            features.dtype,
        )
        expect_finite(features, "features")
        if fitted.categorical:
            codes = bool(((features >= 0) & (features == np.round(features))).all())
            expect(codes, "codes of categories that are whole numbers from 0 on", features.min())


def fits_hard_columns(component: type[FeatureExtractor]) -> None:
    """Folds may hold all-missing columns, one row, or one column."""
    for kind in accepted_kinds(component):
        values = training_values(kind)
        empty = np.full_like(values, missing_value(kind))
        for training in (empty, values[:1], values[1:2], values[:, :1], strange_values(kind)):
            fitted, own = _fit(component(), training)
            expected = (len(training), sum(fitted.widths))
            expect(own.shape == expected, f"training features of shape {expected}", own.shape)
            expect_finite(own, "training features")
            rows = strange_values(kind)[:, : training.shape[1]]
            features = fitted.transform(rows)
            shape = (len(rows), sum(fitted.widths))
            expect(features.shape == shape, f"features of shape {shape}", features.shape)
            expect(all(width > 0 for width in fitted.widths), "a feature or more a column", fitted.widths)
            expect_finite(features, "features")


def is_deterministic(component: type[FeatureExtractor]) -> None:
    """The same seed and rows give the same features."""
    for kind in accepted_kinds(component):
        values = training_values(kind)
        (first, own), (second, own_again) = (_fit(component(), values) for _ in range(2))
        expect_close(second.transform(values), first.transform(values), 0.0, "features of two fits")
        expect_close(own_again, own, 0.0, "training features of two fits")


def leaves_its_input_alone(component: type[FeatureExtractor]) -> None:
    """Values are shared by all trials."""
    for kind in accepted_kinds(component):
        values = training_values(kind)
        before = values.copy()
        _fit(component(), values)[0].transform(values)
        same = np.array_equal(before, values, equal_nan=values.dtype != object)
        expect(same, "values as they were", "values that fit or transform changed")


def treats_rows_alone(component: type[FeatureExtractor]) -> None:
    """A row has the same features alone and among others."""
    for fitted, rows in _cases(component):
        together = fitted.transform(rows)
        alone = np.concatenate([fitted.transform(rows[place : place + 1]) for place in range(len(rows))])
        expect_close(alone, together, 1e-6, "features of a row alone and in a batch")


def pickles_plainly(component: type[FeatureExtractor]) -> None:
    """Fitted extractors travel between processes."""
    for kind in accepted_kinds(component):
        fitted, values = _fitted(component(), kind), training_values(kind)
        expect_close(
            pickled(fitted).transform(values), fitted.transform(values), 0.0, "features after pickling"
        )


def serves_what_it_trained_on(component: type[FeatureExtractor]) -> None:
    """`graph` and `transform` are the same function."""
    for fitted, rows in _cases(component):
        run, features = _graph(fitted, rows), fitted.transform(rows)
        served = run(rows)
        expect(served.dtype == features.dtype, f"a graph of type {features.dtype}", served.dtype)
        expect_close(served, features, 1e-5, "graph and transform")
        for place in (0, len(rows) - 1):
            row = slice(place, place + 1)
            expect_close(run(rows[row]), served[row], 1e-6, "graph of a row alone and in a batch")


def layer_has_its_widths(component: type[FeatureExtractor]) -> None:
    """The trainable part ends in the declared widths, and gradients reach it."""
    import tensorflow as tf

    for fitted, rows in _cases(component):
        layer = fitted.layer()
        expect((layer is not None) == component.trainable, f"a layer: {component.trainable}", layer)
        expect(len(fitted.layer_widths) == rows.shape[1], f"{rows.shape[1]} widths", fitted.layer_widths)
        if layer is None:
            expect(fitted.layer_widths == fitted.widths, f"layer widths {fitted.widths}", fitted.layer_widths)
            continue
        with tf.GradientTape() as tape:
            output = layer(tf.constant(fitted.transform(rows)))
            loss = tf.reduce_sum(output**2)
        shape = (len(rows), sum(fitted.layer_widths))
        expect(tuple(output.shape) == shape, f"layer output of shape {shape}", tuple(output.shape))
        expect_finite(output.numpy(), "layer output")
        gradients = tape.gradient(loss, layer.trainable_variables)
        reached = bool(gradients) and all(gradient is not None for gradient in gradients)
        expect(reached, "a gradient for every weight", gradients)


def hides_the_labels_of_training_rows(component: type[CrossFittedExtractor]) -> None:
    """Labels that are pure noise cannot be read off the features of their rows, or of the groups of these."""
    from sklearn.model_selection import GroupKFold, cross_val_score
    from sklearn.tree import DecisionTreeClassifier

    coins = np.random.default_rng(_SEED).integers(0, 2, _NOISE_ROWS).astype(np.int32)
    for kind in accepted_kinds(component):
        for rows_each, in_group in ((1, 1), (3, 1), (3, 3), (6, 2)):
            labels = np.repeat(coins, in_group)
            numbers = (np.arange(len(labels)) // rows_each)[:, None]
            groups = np.arange(len(labels)) // in_group
            strings = missing_value(kind) == ""
            values = (
                np.array([[f"value {n}"] for (n,) in numbers.tolist()], object) if strings else 1.0 * numbers
            )
            ties = None if in_group == 1 else groups
            _, features = component().fit_transform(values, labels, 2, seed=_SEED, ties=ties)
            tree = DecisionTreeClassifier(max_leaf_nodes=8, min_samples_leaf=20, random_state=0)
            by_group = GroupKFold(n_splits=5)
            accuracy = float(cross_val_score(tree, features, labels, groups=groups, cv=by_group).mean())
            expect(
                accuracy < _BEST_GUESS,
                f"noise that a tree guesses in less than {_BEST_GUESS:.0%} of the rows",
                f"{accuracy:.0%} with {rows_each} rows of each value and {in_group} of each group",
            )


FEATURE_EXTRACTION_CHECKS = checks(
    accepts_column_kinds,
    prepares_finite_features_of_declared_widths,
    fits_hard_columns,
    is_deterministic,
    leaves_its_input_alone,
    treats_rows_alone,
    pickles_plainly,
    serves_what_it_trained_on,
    layer_has_its_widths,
) + checks(hides_the_labels_of_training_rows, applies_to=CrossFittedExtractor)
