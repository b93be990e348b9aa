"""Small synthetic rows for the checks: usual ones for fitting, and the strangest that may be served."""

from __future__ import annotations

import numpy as np

from autoflow.components.base import LabelledFeatures
from autoflow.data.images import Picture
from autoflow.data.schema import ColumnKind
from autoflow.testing.pictures import strange_pictures, training_pictures

NUM_ROWS = 90

_WORDS = (
    "red",
    "green",
    "blue",
    "house",
    "car",
    "river",
    "cheap",
    "dear",
    "12",
    "3",
    "naïve",
    "größe",
    "値段",
    "猫",
)

_STRANGE_TEXTS = (
    "",
    " ",
    "never seen before",
    "İSTANBUL STRASSE ß ΣΑΣ Σ",
    "ＦＵＬＬ　ｗｉｄｔｈ ﬁ ①",
    "値段は高い。猫 犬",
    "e\u0301 é \u200b\u200d \ufeff x \u00a0y\u2003z",
    "😀😀 good🚗car 𝐁𝐨𝐥𝐝 \U0002000b \U000e0041",
    "tab\tnew\nline\r\x00nul\x1funit\x85",
    "red" * 400,
    "good " * 900,
    "a",
    "don't under_score x-y 3.5e-2 %s {} \\ \" '",
)


def training_values(kind: ColumnKind, num_rows: int = NUM_ROWS) -> np.ndarray:
    """Returns `[n, 3]` values as extractors get them: with missing, constant, skewed and wide columns."""
    random = np.random.default_rng(7)
    if kind is ColumnKind.NUMERIC:
        values = np.stack(
            [
                random.normal(5, 2, num_rows),
                np.full(num_rows, 0.1),
                np.round(np.exp(random.normal(12, 6, num_rows))) + 2**25,
            ],
            axis=1,
        )
    elif kind is ColumnKind.BOOLEAN:
        values = random.integers(0, 2, (num_rows, 3)).astype(np.float64)
    elif kind is ColumnKind.DATETIME:
        values = np.round(random.uniform(-1e9, 1.9e9, (num_rows, 3)))
        values[:, 1] = np.floor(values[:, 1] / 86_400) * 86_400
        values[:, 2] = 1.7e9
    elif kind is ColumnKind.CATEGORICAL:
        words = np.array([*_WORDS, "2 rooms", "10 rooms", " "], dtype=object)
        skewed = np.minimum(random.geometric(0.2, (num_rows, 3)) - 1, len(words) - 1)
        values = words[skewed]
        values[:, 2] = "same"
    elif kind is ColumnKind.TEXT:
        texts = [
            [" ".join(random.choice(_WORDS, random.integers(1, 15))), f"code-{random.integers(9)}", "one"]
            for _ in range(num_rows)
        ]
        values = np.array(texts, dtype=object)
    else:
        pictures = training_pictures(num_rows)
        values = np.stack([pictures, pictures[::-1], np.roll(pictures, 1)], axis=1)
    missing = missing_value(kind)
    values[::7, 0] = missing
    values[3::11, 1] = missing
    return values


def missing_value(kind: ColumnKind) -> object:
    """Returns what stands for a missing value in columns of a kind."""
    if kind is ColumnKind.IMAGE:
        return Picture()
    return "" if kind in (ColumnKind.CATEGORICAL, ColumnKind.TEXT) else np.nan


def strange_values(kind: ColumnKind) -> np.ndarray:
    """Returns `[n, 3]` values that were never seen in training, among them the worst that can be served."""
    if kind in (ColumnKind.CATEGORICAL, ColumnKind.TEXT):
        column = np.array([*_STRANGE_TEXTS, *_WORDS], dtype=object)
    elif kind is ColumnKind.BOOLEAN:
        column = np.array([0.0, 1.0, np.nan])
    elif kind is ColumnKind.IMAGE:
        column = strange_pictures()
    else:
        sizes = np.array(
            [0.0, 1e-320, 0.1, 0.3, 59.5, 86_399.999, 2**24 + 1, 1.7e9, 1e12, 1e39, 1e300, np.inf]
        )
        column = np.concatenate([sizes, -sizes, [np.nan]])
    return np.stack([column, np.roll(column, 1), column[::-1]], axis=1)


def labelled_rows(num_classes: int, num_rows: int = 240, *, seed: int = 3) -> LabelledFeatures:
    """Returns classes around distinct centres, with eight features of which three tell them apart.

    Args:
        num_classes: 2 or more; all are present.
        num_rows: number of rows.
        seed: other rows of the same distribution.
    """
    random = np.random.default_rng(seed)
    labels = np.arange(num_rows, dtype=np.int32) % num_classes
    features = random.normal(0, 1, (num_rows, 8)).astype(np.float32)
    features[:, 0] += 5.0 * labels
    features[:, 1] -= 3.0 * (labels == 0)
    features[:, 2] += 4.0 * (labels == num_classes - 1)
    order = random.permutation(num_rows)
    return LabelledFeatures(features[order], labels[order])
