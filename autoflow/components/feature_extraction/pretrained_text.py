"""Texts as the mean of token vectors that were trained elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._tfidf import blocks
from autoflow.components.feature_extraction._word_pieces import WordPieces
from autoflow.components.registry import register
from autoflow.components.stored import stored
from autoflow.data.schema import ColumnKind, DataProfile
from autoflow.errors import UsageError
from autoflow.text_embeddings import load_text_model

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf

_BATCH_ROWS = 4096
_LEAST_SPREAD = 0.1
"""Numbers that vary less than this share of the one that varies most keep to a tenth of its scale."""


@register
@dataclass(frozen=True)
class PretrainedText(FeatureExtractor):
    """What a text means to a static embedding model: the mean of its token vectors, standardised, frozen.

    Model2Vec (Tulkens and van Dongen 2024) distils a sentence transformer to one vector a token. Its tokens
    are found in the exported graph itself, which holds the vectors; the folder is needed until then. Needs
    TensorFlow in every trial, once for each fold.

    Args:
        folder: with the model, as `model2vec` saves it, reachable by every worker.
        fingerprint: of its files, so that another model in the same place is refused.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.TEXT})

    folder: str = ""
    fingerprint: str = ""

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws one of the models that the user named."""
        folders = {each.fingerprint: each.folder for each in profile.text_embeddings}
        if not folders:
            return cls()
        fingerprint = hp.Choice("fingerprint", list(folders))
        return cls(folders[fingerprint], fingerprint)

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Where the user named a model: nothing is fetched by surprise."""
        return bool(profile.text_embeddings)

    def fit(self, values: np.ndarray, *, seed: int) -> FittedPretrainedText:
        """Learns mean and spread of each number of the vectors.

        Raises:
            UsageError: no folder, or it no longer holds that model.
        """
        if not self.folder:
            raise UsageError("pretrained_text needs a folder with a Model2Vec model: fit --text-embeddings")
        embedder = _loaded(self.folder, self.fingerprint)
        shifts, scales = [], []
        for column in range(values.shape[1]):
            vectors = embedder.vectors(values[:, column].tolist())
            spread = vectors.std(axis=0, dtype=np.float64)
            shifts.append(vectors.mean(axis=0, dtype=np.float64))
            scales.append(1.0 / np.maximum(spread, max(float(spread.max()) * _LEAST_SPREAD, 1e-3)))
        return FittedPretrainedText(self.folder, self.fingerprint, np.stack(shifts), np.stack(scales))


@dataclass(frozen=True, eq=False)
class FittedPretrainedText(FittedExtractor):
    """Where the model is, and the standardisation of its vectors.

    Args:
        folder: with the model.
        fingerprint: of its files.
        shifts: `float64[k, d]`, subtracted from the vectors of each column.
        scales: `float64[k, d]`, which they are multiplied by then.
    """

    folder: str
    fingerprint: str
    shifts: np.ndarray
    scales: np.ndarray

    @property
    def widths(self) -> tuple[int, ...]:
        """The dimensions of the model, for each column."""
        return (self.shifts.shape[1],) * len(self.shifts)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Runs the graph of the model, some rows at a time."""
        embedder = _loaded(self.folder, self.fingerprint)
        columns = [embedder.vectors(values[:, column].tolist()) for column in range(values.shape[1])]
        standard = (np.stack(columns, axis=1) - self.shifts) * self.scales
        return standard.reshape(len(values), -1).astype(np.float32)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        num_columns, dimensions = self.shifts.shape
        vectors = _loaded(self.folder, self.fingerprint).graph(tf.reshape(values, [-1]))
        standard = (tf.reshape(vectors, [-1, num_columns, dimensions]) - self.shifts) * self.scales
        return tf.cast(tf.reshape(standard, [-1, num_columns * dimensions]), tf.float32)


class _Embedder:
    """From texts to vectors in TensorFlow, in training as in serving."""

    def __init__(self, folder: str, fingerprint: str) -> None:
        import tensorflow as tf

        model = load_text_model(folder, fingerprint)
        self._pieces = WordPieces(model)
        self._normalize = model.normalize
        self._max_characters = model.max_characters
        self._dimensions = model.vectors.shape[1]
        self._vectors, self._places, self._weights = model.vectors, model.places, model.weights
        self._run = tf.function(
            self.graph, autograph=False, input_signature=[tf.TensorSpec([None], tf.string)]
        )

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Returns `float64[n, d]`."""
        import tensorflow as tf

        read = [text[: self._max_characters] for text in texts]
        out = np.empty((len(texts), self._dimensions))
        for first, end in blocks(read):
            for start in range(first, end, _BATCH_ROWS):
                # what is no Unicode is no text; the other text extractors read it as "?", too
                batch = [
                    text.encode("utf-8", "replace") for text in read[start : min(start + _BATCH_ROWS, end)]
                ]
                out[start : start + len(batch)] = self._run(tf.constant(batch, tf.string))
        return out

    def graph(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns `tf.float64[B, d]`, zeros for texts without known tokens.

        Args:
            texts: `string[B]`.
        """
        import tensorflow as tf

        num_rows = tf.shape(texts)[0]
        tokens, rows = self._pieces.graph(texts)
        used, tokens = tf.unique(tokens)  # only these vectors are widened
        places = used if self._places is None else tf.gather(stored(self._places), used)
        # in float64, where sums of float16 are exact: a tree splits at thresholds
        vectors = tf.cast(tf.gather(stored(self._vectors), places), tf.float64)
        if self._weights is not None:
            vectors *= tf.gather(stored(self._weights), used)[:, tf.newaxis]
        means = tf.sparse.segment_mean(vectors, tokens, rows, num_segments=num_rows)
        if not self._normalize:
            return means
        lengths = tf.sqrt(tf.reduce_sum(means * means, axis=1, keepdims=True))
        return means / (lengths + 1e-32)


@functools.lru_cache(maxsize=2)
def _loaded(folder: str, fingerprint: str) -> _Embedder:
    import tensorflow as tf

    with tf.init_scope():
        return _Embedder(folder, fingerprint)
