"""A trial whose features do not fit into memory is given up before its classifier starts."""

import numpy as np
import pandas as pd
import pytest

from autoflow.components.base import FitContext, HopelessTrial
from autoflow.components.discovery import discover
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
