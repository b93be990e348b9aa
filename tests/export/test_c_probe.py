from __future__ import annotations

import numpy as np
import pytest
from c_probe import compiled_probe, linked_libraries, rows_of_examples, run_probe
from fake_model import Exported

from autoflow.manifest import read_manifest


def test_needs_no_python() -> None:
    libraries = linked_libraries(compiled_probe())
    assert "libtensorflow_cc" in libraries
    assert "libpython" not in libraries
    assert "not found" not in libraries


def test_answers_the_manifests_examples_and_all_rows(exported: Exported) -> None:
    manifest = read_manifest(exported.folder)
    types = {column.name: column.raw_type.value for column in manifest.schema.columns}
    examples = rows_of_examples([example.row for example in manifest.examples], types)
    rows = {name: np.concatenate([examples[name], exported.rows[name]]) for name in types}
    assert any(np.isnan(values).any() for values in rows.values() if values.dtype != object)
    assert any("未知" in values for values in rows.values() if values.dtype == object)
    answer = run_probe(exported.folder, rows)
    found = answer.probabilities(manifest.schema.classes)
    expected = np.array([example.scores for example in manifest.examples])
    assert np.abs(found[:3] - expected).max() < 1e-5
    assert np.abs(found[3:] - exported.expected).max() < 1e-5
    assert answer.labels[:3] == tuple(example.label for example in manifest.examples)
    assert (np.diff(answer.scores, axis=1) <= 0).all()


def test_a_header_that_the_model_does_not_have_is_refused(exported: Exported) -> None:
    rows = {"値段 " if name == "値段" else name: values for name, values in exported.rows.items()}
    with pytest.raises(AssertionError, match="the signature lacks: 値段"):
        run_probe(exported.folder, rows)
