"""What each column contributed to a pipeline whose merge can tell."""

import numpy as np
import pandas as pd
import pytest

from autoflow.components.base import FitContext
from autoflow.components.classification.logistic_regression import LogisticRegression
from autoflow.components.classification.mlp import Mlp
from autoflow.components.concatenation.attention import Attention
from autoflow.components.concatenation.gated import Gated
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.feature_extraction.category_embedding import CategoryEmbedding
from autoflow.components.feature_extraction.one_hot import OneHot
from autoflow.components.feature_extraction.standardized import Standardized
from autoflow.data.dataset import load_dataset
from autoflow.pipeline.assembly import FittedPipeline, WeightedPipelines, fit_pipeline
from autoflow.pipeline.cache import FoldData, PreparedCache
from autoflow.pipeline.contributions import contributions, mean_contributions
from autoflow.pipeline.spec import Node, PipelineSpec

RANDOM = np.random.default_rng(3)
COLUMNS = ("noise", "signal", "other", "town")
CLASSIFIER = Mlp(
    num_layers=1, num_units=16, learning_rate=0.01, weight_decay=0.01, batch_size=64, max_epochs=25
)


@pytest.fixture(scope="module")
def data():
    frame = pd.DataFrame({name: RANDOM.normal(0, 1, 800) for name in COLUMNS[:3]})
    frame["town"] = RANDOM.choice(["Aa", "Bb", "Cc", "Dd"], 800)
    frame["label"] = np.where(frame["signal"] > 0, "yes", "no")
    return load_dataset(frame)[0]


@pytest.fixture(scope="module")
def fitted(data, tmp_path_factory):
    cache = PreparedCache(tmp_path_factory.mktemp("cache"))

    def fit(concatenation, classifier=CLASSIFIER) -> FittedPipeline:
        category = OneHot() if isinstance(classifier, LogisticRegression) else CategoryEmbedding()
        nodes = (Node("numeric", COLUMNS[:3], Standardized()), Node("categorical", COLUMNS[3:], category))
        fold = FoldData("fold", data.rows(np.arange(600)), data.rows(np.arange(600, 800)))
        spec = PipelineSpec(nodes, concatenation, classifier)
        return fit_pipeline(spec, fold, cache, FitContext(2, seed=1), preparation_seed=0).pipeline

    return fit


@pytest.mark.parametrize("unit", ["node", "column"])
def test_the_column_that_decides_contributes_most(fitted, data, unit):
    shares = contributions(fitted(Gated(dimensions=16, unit=unit)), data.raw)
    assert tuple(shares) == COLUMNS
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["signal"] == max(shares.values())
    assert shares["signal"] > 1.3 * shares["noise"]


def test_nothing_is_told_where_no_merge_can_tell(fitted, data):
    assert contributions(fitted(PlainConcat()), data.raw) == {}
    assert contributions(fitted(Attention(heads=1, head_width=8)), data.raw) == {}
    assert contributions(fitted(PlainConcat(), LogisticRegression()), data.raw) == {}


def test_the_mean_is_over_the_members_that_can_tell(fitted, data):
    gated, plain = fitted(Gated(dimensions=16)), fitted(PlainConcat())
    told = mean_contributions(WeightedPipelines((gated, plain), (0.25, 0.75)), data.raw)
    assert told == pytest.approx(contributions(gated, data.raw))
    assert list(told.values()) == sorted(told.values(), reverse=True)
    assert mean_contributions(WeightedPipelines((plain,), (1.0,)), data.raw) == {}
