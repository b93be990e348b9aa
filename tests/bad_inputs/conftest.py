"""One small exported model that strange rows are given to."""

from __future__ import annotations

import pytest
from answering import ROWS, SCHEMA, Answering, FakeModel

from autoflow.export.saved_model import export_model
from autoflow.manifest import ManifestDetails
from autoflow.serving.predictor import load
from autoflow.serving.rows import open_table, raw_rows


@pytest.fixture(scope="session")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Answering:
    model = FakeModel(SCHEMA)
    run = tmp_path_factory.mktemp("answering")
    examples = raw_rows(SCHEMA, open_table(ROWS, None, None)).values
    export_model(model, run / "model", version=1, details=ManifestDetails(), examples=examples)
    return Answering(model, load(run), run)
