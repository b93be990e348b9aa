"""Sensible rows, their schema, and a model that answers them; strange rows are these, changed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from autoflow.data.schema import Column, ColumnKind, RawType, Schema
from autoflow.serving.predictor import Predictor

# The fake model of the export tests serves here too.
sys.path.append(str(Path(__file__).parents[1] / "export"))

from fake_model import FakeModel

ROWS = pd.DataFrame(
    {
        "size": [1.5, np.nan, 3.25, 0.125, 2.0, 7.5],
        "serial": [33554433.0, 5.0, 7.0, 33554435.0, 2.0, 3.0],
        "colour": ["red", "green", "", "blue", "赤い", "red"],
        "day": ["2020-01-05", "2021-12-31", "", "2020-02-29", "1999-01-01", "2020-01-05"],
        "flag": ["yes", "no", "yes", "", "no", "no"],
        "price": ["1,5", "2,25", "1.234,5", "", "7,0", "0,5"],
        "note": ["blue", "red", "red", "green", "", "赤い"],
    }
)
_STRING = RawType.STRING
SCHEMA = Schema(
    (
        Column("size", ColumnKind.NUMERIC, RawType.FLOAT32),
        Column("serial", ColumnKind.NUMERIC, RawType.FLOAT64),
        Column("colour", ColumnKind.CATEGORICAL, _STRING),
        Column("day", ColumnKind.DATETIME, _STRING, datetime_format="year-month-day"),
        Column("flag", ColumnKind.BOOLEAN, _STRING, true_values=("yes",), false_values=("no",)),
        Column("price", ColumnKind.NUMERIC, _STRING, number_format="decimal comma"),
        Column("note", ColumnKind.TEXT, _STRING),
    ),
    "kind",
    ("1", "2", "10"),
    label_type="integer",
)


@dataclass(frozen=True)
class Answering:
    """An exported model, its loaded form, and its folder."""

    model: FakeModel
    predictor: Predictor
    folder: Path
