"""Exports a small real model for the tests of serving."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autoflow.data.schema import Column, ColumnKind, RawType, Schema
from autoflow.export.saved_model import export_model
from autoflow.manifest import ManifestDetails

# The fake model of the export tests serves here too.
sys.path.append(str(Path(__file__).parents[1] / "export"))

from fake_model import FakeModel, Served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    columns = (
        Column("price (JPY)", ColumnKind.NUMERIC, RawType.FLOAT32),
        Column("<b>色</b>", ColumnKind.CATEGORICAL, RawType.STRING),
        Column("serial, no.", ColumnKind.NUMERIC, RawType.FLOAT64),
    )
    model = FakeModel(Schema(columns, "2nd", ("3", "10", "200"), label_type="integer"))
    table = pd.DataFrame(
        {
            "not used": ["x", "y", "z", "x"],
            "serial, no.": [33554433.0, 5.0, np.nan, 2.0],
            "price (JPY)": [1.5, np.nan, 3.25, 0.1],
            "<b>色</b>": ["red", None, "赤い", "unseen"],
        },
        index=[7, 5, 3, 1],
    )
    raw = {
        "price (JPY)": table["price (JPY)"].to_numpy().astype(np.float32).astype(np.float64),
        "<b>色</b>": table["<b>色</b>"].fillna("").to_numpy(dtype=object),
        "serial, no.": table["serial, no."].to_numpy(),
    }
    run = tmp_path_factory.mktemp("run")
    details = ManifestDetails(metrics={"test": {"accuracy": 0.875, "confusion": [[1]]}}, num_training_rows=4)
    for version in (2, 10):
        export_model(model, run / "model", version=version, details=details, examples=raw)
    return Served(model, run, table, model.predict_probabilities(raw))
