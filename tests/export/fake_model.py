"""A small servable model for the export tests: a hash table, a variable and constants, no component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from autoflow.data.schema import Column, ColumnKind, DroppedColumn, RawType, Schema
from autoflow.export.verify import VerificationResult

STRANGE_HEADERS = (
    "price (JPY)",
    "値段",
    "class",
    "2nd",
    "_x",
    "a.b",
    "a_b",
    "a b",
    ' "quoted", with comma ',
    "it's",
    "🦊 fox",
    "long " * 40,
    "inputs",
    "f0",
    "self",
    "a/b:0",
    "back\\slash\nline",
)

KNOWN_WORDS = ("red", "green", "blue", "赤い")


def schema_of(
    headers: tuple[str, ...] = STRANGE_HEADERS, *, classes: tuple[str, ...] = ("no", "perhaps", "yes, はい")
) -> Schema:
    """Returns a schema whose columns are in turn float32, string and float64."""
    kinds = (
        (ColumnKind.NUMERIC, RawType.FLOAT32),
        (ColumnKind.CATEGORICAL, RawType.STRING),
        (ColumnKind.NUMERIC, RawType.FLOAT64),
    )
    columns = tuple(
        Column(header, *kinds[position % 3], reason="for the test") for position, header in enumerate(headers)
    )
    return Schema(columns, "outcome", classes, dropped=(DroppedColumn("id", "different in every row"),))


def rows_of(schema: Schema, *, num_rows: int = 20, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns raw rows with missing values and words that the model does not know."""
    random = np.random.default_rng(seed)
    rows = {}
    for column in schema.columns:
        if column.raw_type is RawType.STRING:
            values = random.choice([*KNOWN_WORDS, "", "unseen", "未知"], num_rows).astype(object)
        else:
            large = 2.0**25 + 1 if column.raw_type is RawType.FLOAT64 else 1.0
            values = np.round(random.normal(size=num_rows) * 8) / 8 * large
            values[random.random(num_rows) < 0.2] = np.nan
        rows[column.name] = values
    return rows


@dataclass(frozen=True)
class FakeModel:
    """A linear model over numbers (missing is 0) and words (unknown is 0)."""

    schema: Schema
    seed: int = 0

    def _weights(self) -> np.ndarray:
        shape = (len(self.schema.columns), len(self.schema.classes))
        return np.random.default_rng(self.seed).normal(size=shape).astype(np.float32)

    def predict_probabilities(self, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns `float32[n, C]` in NumPy."""
        codes = {word: position + 1.0 for position, word in enumerate(KNOWN_WORDS)}
        features = []
        for column in self.schema.columns:
            values = raw[column.name]
            if column.raw_type is RawType.STRING:
                features.append(np.array([codes.get(value, 0.0) for value in values]))
            else:
                features.append(np.nan_to_num(values) % 7.0)
        logits = np.stack(features, axis=1).astype(np.float32) @ self._weights()
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def module(self):
        """Returns the same as a `tf.Module`."""
        return _module(self.schema, self._weights())


@dataclass(frozen=True)
class Exported:
    """A model, where it was exported, and rows with what they give."""

    model: FakeModel
    folder: Path
    rows: dict[str, np.ndarray]
    expected: np.ndarray
    verification: VerificationResult


@dataclass(frozen=True)
class Served:
    """A model, the run folder in which it was exported, a table, and what its rows give."""

    model: FakeModel
    run: Path
    table: pd.DataFrame
    expected: np.ndarray


def _module(schema: Schema, weights: np.ndarray):
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(weights)
            self.words = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    tf.constant(KNOWN_WORDS), tf.range(1, len(KNOWN_WORDS) + 1, dtype=tf.int64)
                ),
                default_value=0,
            )

        def __call__(self, raw: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            features = []
            for column in schema.columns:
                values = raw[column.name]
                if column.raw_type is RawType.STRING:
                    features.append(tf.cast(self.words.lookup(values), tf.float32))
                else:
                    wide = tf.cast(values, tf.float64)
                    known = tf.where(tf.math.is_nan(wide), tf.zeros_like(wide), wide)
                    features.append(tf.cast(tf.math.floormod(known, 7.0), tf.float32))
            embedding = tf.stack(features, axis=1)
            return tf.nn.softmax(embedding @ self.weights), embedding

    return Module()
