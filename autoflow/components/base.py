"""The contracts of the three component roles: feature extraction, concatenation and classification.

A component is a frozen dataclass whose fields are its hyperparameters; fitting returns another value that
holds what was learned as plain NumPy arrays and can express itself as TensorFlow ops. Nothing here imports
TensorFlow, Keras, scikit-learn or LightGBM: components import them inside the methods that need them, so
that declaring and drawing stay cheap and trees never wait for TensorFlow.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np

from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

_PREPARED_ROWS = 1 << 16
"""Rows that are prepared at once; of a date and a row, an extractor holds up to hundreds of numbers."""


@dataclass(frozen=True)
class Component(ABC):
    """A named part of a pipeline; its fields are its hyperparameters and its defaults a good first trial.

    Fields are `int`, `float`, `bool`, `str` or tuples of them, so that a component goes to JSON and back.
    """

    @classmethod
    @abstractmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws one component from its search space.

        Costs microseconds, makes no tensor and depends on `hp` and `profile` only. Names are the field
        names; the caller opens a name scope. Defaults passed to `hp` are the field defaults (or a better
        first guess for this profile).

        Args:
            hp: asking for a value declares it.
            profile: for a feature extractor restricted to its own columns; otherwise of the whole table.
        """

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Tells whether the component is worth trying on data of this shape (rows, columns, classes)."""
        return True


class LookupTables(Protocol):
    """Makes hash tables that live as long as the exported model."""

    def table(
        self, keys: Sequence[str] | np.ndarray, values: Sequence[int] | np.ndarray, default: int
    ) -> tf.lookup.StaticHashTable:
        """Returns a static table from distinct strings to int64; unknown keys give `default`."""

    def keep(self, resource: Any) -> None:
        """Keeps what `tf.saved_model.load` gave, with the tables in it, in the exported model."""


# --- feature extraction ------------------------------------------------------------------------------


@dataclass(frozen=True)
class FeatureExtractor(Component):
    """Turns the columns of one pipeline node, all of kinds in `accepts`, into numbers.

    Column values reach an extractor as one array with a column each (see `autoflow.data.values`):

    - numeric, boolean and datetime columns: `float64[n, k]`, NaN where missing (booleans 0 or 1, datetimes
      seconds since 1970-01-01);
    - categorical and text columns: `object[n, k]` of `str`, `""` where missing;
    - image columns: `object[n, k]` of `autoflow.data.images.Picture`, whose `read()` gives the encoded bytes,
      `b""` where missing.

    In the graph the same arrive as `tf.float64[B, k]` and `tf.string[B, k]` (UTF-8, or encoded pictures). An
    extractor that accepts `ColumnKind.ROW` gets raw values of columns of any kind, all as strings, and has
    one width in all.
    """

    accepts: ClassVar[frozenset[ColumnKind]]
    trainable: ClassVar[bool] = False
    """Whether a part of it trains with the classifier; only neural classifiers can use such a one."""

    @abstractmethod
    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns vocabularies, means and the like from training rows.

        Args:
            values: as in the class docstring.
            seed: for whatever is random; the same seed and values give the same result.
        """

    def fit_transform(
        self,
        values: np.ndarray,
        labels: np.ndarray,
        num_classes: int,
        *,
        seed: int,
        ties: np.ndarray | None = None,
    ) -> tuple[FittedExtractor, np.ndarray]:
        """Fits on training rows and returns their prepared features, too.

        Those are what `transform` gives, unless the extractor learns from labels (`CrossFittedExtractor`).

        Args:
            values: as in the class docstring.
            labels: int32[n] of the same rows, `0 .. num_classes - 1`; some classes may be absent.
            num_classes: number of classes.
            seed: as for `fit`.
            ties: integer[n], equal for rows of one group, which no split parts and which may not tell each
                other's labels; None where any two may be parted.
        """
        fitted = self.fit(values, seed=seed)
        return fitted, transformed(fitted, values)


def transformed(
    fitted: FittedExtractor, values: np.ndarray, check: Callable[[int], None] = lambda num_bytes: None
) -> np.ndarray:
    """Returns `fitted.transform(values)`, made part by part: what it holds meanwhile may be large.

    Args:
        fitted: gives each row features that no other row has a part in, as its graph does.
        values: `float64[n, k]` or `object[n, k]`.
        check: is told how many bytes the features of many rows will have, before there is room for them; what
            it raises ends the work.
    """
    parts = range(0, len(values), _PREPARED_ROWS)
    if len(parts) <= 1:
        return fitted.transform(values)
    first = fitted.transform(values[:_PREPARED_ROWS])
    check(len(values) * first[:1].nbytes)
    features = np.empty((len(values), *first.shape[1:]), first.dtype)
    features[:_PREPARED_ROWS] = first
    for start in parts[1:]:
        features[start : start + _PREPARED_ROWS] = fitted.transform(values[start : start + _PREPARED_ROWS])
    return features


@dataclass(frozen=True)
class CrossFittedExtractor(FeatureExtractor):
    """An extractor that learns from the labels of training rows, so these need features of their own.

    What knows a row's label must not describe that row to a classifier in training: its `fit_transform`
    describes each training row by what the other rows tell (Micci-Barreca 2001 without the leak; "cross
    fitting"), while the fitted extractor, for all further rows, knows all of them.
    """

    @abstractmethod
    def fit_transform(
        self,
        values: np.ndarray,
        labels: np.ndarray,
        num_classes: int,
        *,
        seed: int,
        ties: np.ndarray | None = None,
    ) -> tuple[FittedExtractor, np.ndarray]:
        """As `FeatureExtractor.fit_transform`; no label of a training row may show in its own features,
        beyond the shares of the classes among all rows.

        Nor may that of a row that is tied to it: held-out rows are described without those, too. (Copies of
        a row are not tied: in a table of few categories equal rows are no copies, and tell most.)
        """

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Raises TypeError: there is nothing to learn without labels."""
        raise TypeError(f"{type(self).__name__} learns from labels; call fit_transform")


class FittedExtractor(ABC):
    """What an extractor learned: NumPy arrays and strings only, so that it pickles and needs no TensorFlow.

    `transform` and `graph` are the same function, once for training in NumPy and once for serving in
    TensorFlow; the contract checks compare them on every component.
    """

    @property
    @abstractmethod
    def widths(self) -> tuple[int, ...]:
        """Number of prepared features that each source column yields; their sum is the output width."""

    @property
    def categorical(self) -> bool:
        """Whether its features are codes of categories: whole numbers from 0 on, in an order without meaning.

        Missing values and unseen categories have codes, too. Classifiers may use sets of codes then.
        """
        return False

    @abstractmethod
    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns prepared features, finite `float32[n, sum(widths)]`.

        Those of a trainable extractor may be `int32` or `uint8`. Missing values and unseen categories are
        handled; rows do not influence each other.
        """

    @abstractmethod
    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """Returns the same as `transform` as a tensor, built from core TensorFlow ops.

        Called while a `tf.function` is traced, with an unknown batch dimension (1 must work). Arrays go in
        as constants; a lookup table is a resource that the export has to keep, so it is asked from `tables`.
        """

    def layer(self) -> keras.layers.Layer | None:
        """Returns a new trainable Keras layer from prepared features to `float32[B, sum(layer_widths)]`.

        None where nothing is trained: then the prepared features are used as they are. A layer that looks
        up rows of large matrices can name them in an attribute `vector_tables`, see `vector_table`.
        """
        return None

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """As `widths`, after the trainable layer."""
        return self.widths

    @property
    def layer_key(self) -> Hashable | None:
        """A value that is equal for two extractors of this type only if their layers are alike.

        Optional: with it, a network that was compiled for one fold of the rows serves the next, and other
        trials of the same shape. Whatever the layer holds of the rows must be in the key.
        """
        return None


# --- concatenation -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Concatenation(Component):
    """Merges the features of all nodes into one vector a row."""

    trainable: ClassVar[bool] = True
    """False for plain concatenation, the only kind that trees and linear models take."""

    @abstractmethod
    def layer(self, widths: Sequence[Sequence[int]]) -> keras.layers.Layer:
        """Returns a new Keras layer that merges a list of `float32[B, sum(widths[i])]` to `float32[B, d]`.

        Args:
            widths: for each node, the number of features of each of its source columns: the place of
                every raw column in the inputs. A projection per raw column is possible with it.
        """

    def numbers_a_row(self, widths: Sequence[Sequence[int]]) -> int:
        """Returns about how many numbers its layer holds at once for a row.

        Optional: where they are thousands, many rows are predicted in smaller parts, so that they fit into
        memory.

        Args:
            widths: as the layer is made with.
        """
        return sum(int(width) for node in widths for width in node)

    def contributions(
        self, layer: keras.layers.Layer, features: Sequence[np.ndarray], widths: Sequence[Sequence[int]]
    ) -> np.ndarray | None:
        """Returns how far a trained merge listens to each raw column, `float64[sum of len(widths[i])]`.

        Optional: None where the merge cannot tell. Shares are 0 to 1, sum to 1, and are in the order of
        `widths`.

        Args:
            layer: made by `layer(widths)`, with trained weights.
            features: what it merges, `float32[n, sum(widths[i])]` a node, of one row or more.
            widths: as the layer was made with.
        """
        return None


# --- classification ----------------------------------------------------------------------------------


class HopelessTrial(Exception):
    """Raised inside a fit whose validation loss can no longer become competitive."""


@dataclass(frozen=True)
class FitContext:
    """What a fit may know about its surroundings.

    Args:
        num_classes: number of classes; labels are `0 .. num_classes - 1`, and some may be absent.
        seed: for whatever is random.
        num_threads: threads that the fit may use.
        seconds: time the fit should take at most; it returns its best state so far when they are over.
        iterations: rounds or epochs to train exactly, without looking at validation rows (a refit);
            None to find the number by early stopping.
        hopeless_loss: validation log-loss above which a fit is given up that has used a third of its
            iterations, or that expects to end there.
        memory_bytes: memory that the fit may use, prepared features included.
    """

    num_classes: int
    seed: int = 0
    num_threads: int = 1
    seconds: float = float("inf")
    iterations: int | None = None
    hopeless_loss: float = float("inf")
    memory_bytes: float = float("inf")
    started: float = field(default_factory=time.monotonic)
    _looks: list[bool] = field(default_factory=list, init=False, repr=False, compare=False)

    def out_of_time(self) -> bool:
        """Tells whether the fit should return what it has, and remembers that it said so."""
        is_over = time.monotonic() - self.started > self.seconds
        self._looks[:] = [is_over]
        return is_over

    @property
    def stopped(self) -> bool:
        """Whether the fit was told to return what it had."""
        return True in self._looks

    def report(self, progress: float, validation_loss: float, *, expected_loss: float = -math.inf) -> None:
        """Gives up the fit with HopelessTrial where it cannot catch up.

        Args:
            progress: share of the planned iterations done, 0 to 1.
            validation_loss: present log-loss on validation rows.
            expected_loss: at least what it will be in the end, of a fit that can tell from its course.
        """
        if math.isnan(validation_loss):
            raise HopelessTrial(f"it predicts what is not a number after {progress:.0%} of the iterations")
        course = f"validation log-loss {validation_loss:.4g} after {progress:.0%} of the iterations"
        hopeless = f"hopeless beyond {self.hopeless_loss:.4g}"
        if progress >= 1 / 3 and validation_loss > self.hopeless_loss:
            raise HopelessTrial(f"{course}, {hopeless}")
        if expected_loss > self.hopeless_loss:
            raise HopelessTrial(f"{course}, {expected_loss:.4g} is expected in the end, {hopeless}")


@dataclass(frozen=True)
class LabelledFeatures:
    """Rows for a classifier.

    Args:
        features: `float32[n, d]`.
        labels: `int32[n]`.
        categorical: the columns of `features`, rising, that are codes of categories, whole numbers from 0 on.
        is_disposable: whether `features` may be written over: of a million rows a copy is gigabytes.
    """

    features: np.ndarray
    labels: np.ndarray
    categorical: tuple[int, ...] = ()
    is_disposable: bool = False


@dataclass(frozen=True)
class Classifier(Component):
    """Fits on merged features and yields class probabilities; see the two kinds below."""

    baseline: ClassVar[bool] = False
    """Whether it ignores the features on purpose, to show what any other classifier has to beat."""


@dataclass(frozen=True)
class MatrixClassifier(Classifier):
    """A classifier that fits on a finished feature matrix: trees, linear models, neighbours."""

    @abstractmethod
    def fit(
        self, train: LabelledFeatures, validation: LabelledFeatures | None, context: FitContext
    ) -> FittedClassifier:
        """Fits on training rows.

        Args:
            train: training rows; every class may have few or no rows.
            validation: rows for early stopping only; None in a refit.
            context: classes, seed, threads, time and number of iterations.

        Raises:
            HopelessTrial: where `context.report` gives the fit up.
        """


class FittedClassifier(ABC):
    """A fitted matrix classifier: NumPy arrays and strings only, so that it pickles without its library."""

    iterations: int | None = None
    """Rounds or epochs that the fit settled on, for a refit on more rows; None where there are none."""

    @abstractmethod
    def predict_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Returns `float32[n, num_classes]` that sum to 1, without TensorFlow."""

    @abstractmethod
    def graph(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the same from `tf.float32[B, d]` as core TensorFlow ops, equal to 1e-5."""

    def lightened(self, weight: float) -> FittedClassifier:
        """Returns what may stand in for this in a mean, in which it has this weight, and serves faster.

        Args:
            weight: above 0 to 1; 1 where it answers alone.
        """
        return self


@dataclass(frozen=True)
class NeuralClassifier(Classifier):
    """A classifier that is a Keras network and trains together with extractor and concatenation layers.

    The fields below are the training recipe that every network shares; `autoflow.pipeline.training` reads
    them.

    Args:
        learning_rate: of AdamW at its highest.
        weight_decay: of matrices, times the learning rate a step.
        batch_size: rows of a step at most.
        max_epochs: after which training ends.
        patience: epochs without a lower validation log-loss after which it ends, too.
        label_smoothing: share of the loss that is to even shares of the classes, 0 to 1.
        averaging: share that stays in a step of the moving average of the weights, which is what is kept of
            a training, 0 (the last weights are kept) to below 1.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    batch_size: int = 256
    max_epochs: int = 60
    patience: int = 8
    label_smoothing: float = 0.0
    averaging: float = 0.99

    @abstractmethod
    def body(self, width: int, num_classes: int, seed: int) -> keras.layers.Layer:
        """Returns a new Keras layer from fused features `float32[B, width]` to logits `[B, num_classes]`.

        In training it may answer `[B, k, num_classes]`, the logits of k models: each has a loss of its own.
        It must not depend on learning rate, weight decay, batch size, epochs and patience: a compiled layer
        is used again where only these and the seed differ. TensorFlow's own silu keeps every graph that it
        is traced in; `x * sigmoid(x)` does not.

        Args:
            width: number of fused features.
            num_classes: number of logits.
            seed: for initialisers and dropout.
        """

    def numbers_a_row(self, num_classes: int) -> int:
        """As `Concatenation.numbers_a_row`, of the body.

        Args:
            num_classes: number of logits.
        """
        return num_classes
