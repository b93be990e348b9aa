"""A trial whose features do not fit into memory is given up before its classifier starts."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from autoflow.components.base import FitContext, HopelessTrial
from autoflow.components.classification.majority import Majority
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.discovery import discover
from autoflow.components.feature_extraction.raw_numbers import RawNumbers
from autoflow.components.registry import Role, lookup
from autoflow.data.dataset import load_dataset
from autoflow.pipeline.assembly import fit_pipeline
from autoflow.pipeline.cache import FoldData, PreparedCache
from autoflow.pipeline.spec import Node, PipelineSpec


def test_features_that_do_not_fit_end_the_trial_with_a_sentence(tmp_path):
    discover()
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal(size=200), "label": ["a", "b"] * 100})
    dataset = load_dataset(frame)[0]
    extractor = lookup(Role.FEATURE_EXTRACTION, "raw_numbers")()
    concatenation = lookup(Role.CONCATENATION, "plain_concat")()
    classifier = lookup(Role.CLASSIFICATION, "majority")()
    spec = PipelineSpec((Node("numeric", ("x",), extractor),), concatenation, classifier)
    data, cache = FoldData("all", dataset, dataset.rows(np.arange(50))), PreparedCache(tmp_path)
    enough = fit_pipeline(spec, data, cache, FitContext(2, memory_bytes=100_000), preparation_seed=0)
    assert enough.validation_probabilities is not None
    with pytest.raises(HopelessTrial, match=r"GiB of memory"):
        fit_pipeline(spec, data, cache, FitContext(2, memory_bytes=100), preparation_seed=0)


def test_features_of_many_rows_that_do_not_fit_are_not_made(tmp_path, monkeypatch):
    discover()
    monkeypatch.setattr("autoflow.components.base._PREPARED_ROWS", 50)
    made = []

    class Watching(RawNumbers):
        def fit(self, values, *, seed):
            fitted = super().fit(values, seed=seed)
            return SimpleNamespace(transform=lambda rows: made.append(len(rows)) or fitted.transform(rows))

    frame = pd.DataFrame({"x": np.arange(200) / 7, "label": ["a", "b"] * 100})
    data = FoldData("all", load_dataset(frame)[0], None)
    nodes = (Node("numeric", ("x",), Watching()),)
    spec = PipelineSpec(nodes, PlainConcat(), Majority())
    with pytest.raises(HopelessTrial, match=r"GiB of memory"):
        fit_pipeline(
            spec, data, PreparedCache(tmp_path), FitContext(2, memory_bytes=2000), preparation_seed=0
        )
    assert made == [50]
    assert list(tmp_path.glob("*.npy")) == []
