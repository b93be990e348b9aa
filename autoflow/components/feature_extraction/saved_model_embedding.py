"""The embedding of an exported model, so that what one team's model learned is a part of the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.registry import register
from autoflow.data.images import Picture
from autoflow.data.schema import ColumnKind, DataProfile
from autoflow.errors import UsageError
from autoflow.parts import load_part

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf

_BATCH_ROWS = 4096
_PICTURE_ROWS = 128

_STEPS, _ROUNDED_BELOW = 4096.0, 2048.0


@register
@dataclass(frozen=True)
class SavedModelEmbedding(FeatureExtractor):
    """What the signature `embed` of an exported model gives for a row, frozen: nothing of that model trains.

    It reads the raw columns that the other model reads. The folder is needed until this model is exported;
    the export then holds the other graph itself. Needs TensorFlow in every trial, once for each fold.

    Args:
        folder: version folder of the exported model, reachable by every worker.
        fingerprint: of its files, so that another model in the same place is refused.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.ROW})

    folder: str = ""
    fingerprint: str = ""

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Returns the part of the profile; there is nothing to draw."""
        return cls(profile.parts[0].folder, profile.parts[0].fingerprint) if profile.parts else cls()

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Tells whether the user named an exported model."""
        return bool(profile.parts)

    def fit(self, values: np.ndarray, *, seed: int) -> FittedSavedModelEmbedding:
        """Loads the model; there is nothing to learn.

        Raises:
            UsageError: no folder.
            NoModelError: the folder holds another model than the one meant, or none.
        """
        if not self.folder:
            raise UsageError("saved_model_embedding needs the folder of an exported model: fit --embedding")
        part = load_part(self.folder, self.fingerprint)
        return FittedSavedModelEmbedding(self.folder, self.fingerprint, part.manifest.embedding_size)


@dataclass(frozen=True, eq=False)
class FittedSavedModelEmbedding(FittedExtractor):
    """Where the model is.

    Args:
        folder: version folder.
        fingerprint: of its files.
        size: numbers of an embedding.
    """

    folder: str
    fingerprint: str
    size: int

    @property
    def widths(self) -> tuple[int, ...]:
        """One entry: the vector belongs to the row and to no column of its own."""
        return (self.size,)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Runs the loaded model, some rows at a time."""
        import tensorflow as tf

        part = load_part(self.folder, self.fingerprint)
        out = np.empty((len(values), self.size), np.float32)
        pictures = len(values) and any(isinstance(value, Picture) for value in values[0])
        size = _PICTURE_ROWS if pictures else _BATCH_ROWS
        for start in range(0, len(values), size):
            batch = values[start : start + size]
            served = [value.read() if isinstance(value, Picture) else value for value in batch.ravel()]
            out[start : start + len(batch)] = rounded(part(tf.constant(served, tf.string, batch.shape)))
        return out

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """Calls the loaded graph, which becomes part of the one that is traced."""
        part = load_part(self.folder, self.fingerprint)
        tables.keep(part.resource)
        return rounded(part(values))


def rounded(vectors: tf.Tensor) -> tf.Tensor:
    """Returns vectors to 2^-12 where they are below 2048, `float32[B, d]`.

    A graph that is traced into another one adds up in another order: without this, trees split between equal
    answers that differ by 1e-7, and serve a row on the other side.
    """
    import tensorflow as tf

    return tf.where(tf.abs(vectors) < _ROUNDED_BELOW, tf.round(vectors * _STEPS) / _STEPS, vectors)
