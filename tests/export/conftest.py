"""An exported fake model, made once."""

from __future__ import annotations

import pytest
from fake_model import Exported, FakeModel, rows_of, schema_of

from autoflow.export.saved_model import export_model
from autoflow.export.verify import Verifier
from autoflow.manifest import ManifestDetails, Recipe


@pytest.fixture(scope="session")
def exported(verifier: Verifier, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    model = FakeModel(schema_of())
    rows = rows_of(model.schema)
    details = ManifestDetails(
        (Recipe(1.0, {"classification": {}}),), {"test": {"log_loss": 0.5}}, 100, "t.csv"
    )
    done = export_model(
        model, tmp_path_factory.mktemp("model"), details=details, examples=rows, verifier=verifier
    )
    assert done.folder is not None, done.verification
    assert done.verification is not None
    return Exported(model, done.folder, rows, model.predict_probabilities(rows), done.verification)
