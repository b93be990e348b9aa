"""What the exported pipelines give as embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoflow.components.base import Classifier, Concatenation, FitContext, NeuralClassifier
from autoflow.components.classification.logistic_regression import LogisticRegression
from autoflow.components.classification.majority import Majority
from autoflow.components.classification.mlp import Mlp
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.concatenation.projected_sum import ProjectedSum
from autoflow.components.feature_extraction.standardized import Standardized
from autoflow.data.dataset import Dataset
from autoflow.data.schema import Column, ColumnKind, RawType, Schema
from autoflow.pipeline.assembly import FittedPipeline, WeightedPipelines, fit_pipeline
from autoflow.pipeline.cache import FoldData, PreparedCache
from autoflow.pipeline.graph import MAX_EMBEDDED_FEATURES
from autoflow.pipeline.spec import Node, PipelineSpec

HEADERS = ("a", "b", "c")


def _dataset(num_rows: int = 60) -> Dataset:
    columns = tuple(Column(name, ColumnKind.NUMERIC, RawType.FLOAT32, reason="test") for name in HEADERS)
    raw = {
        name: np.random.default_rng(i).normal(size=num_rows).astype(np.float32).astype(float)
        for i, name in enumerate(HEADERS)
    }
    labels = (raw["a"] > 0).astype(np.int32)
    return Dataset("test", Schema(columns, "y", ("no", "yes")), raw, labels)


def _fitted(classifier: Classifier, concatenation: Concatenation, folder: Path) -> FittedPipeline:
    spec = PipelineSpec((Node("numeric", HEADERS, Standardized()),), concatenation, classifier)
    context = FitContext(2, iterations=2 if isinstance(classifier, NeuralClassifier) else None)
    data = FoldData("test/all", _dataset(), None)
    return fit_pipeline(spec, data, PreparedCache(folder), context, preparation_seed=0).pipeline


def _answers(model: FittedPipeline | WeightedPipelines) -> tuple[np.ndarray, np.ndarray]:
    import tensorflow as tf

    module = model.module()
    raw = {name: tf.constant(values, tf.float32) for name, values in _dataset().raw.items()}
    probabilities, embedding = tf.function(module, autograph=False)(raw)
    return probabilities.numpy(), embedding.numpy()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> FittedPipeline:
    return _fitted(Mlp(), ProjectedSum(), tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> FittedPipeline:
    return _fitted(LogisticRegression(), PlainConcat(), tmp_path_factory.mktemp("linear"))


def test_a_network_gives_its_fused_features(network: FittedPipeline) -> None:
    from autoflow.pipeline.network import FittedNetwork

    probabilities, embedding = _answers(network)
    assert np.abs(probabilities - network.predict_probabilities(_dataset().raw)).max() < 1e-5
    assert isinstance(network.model, FittedNetwork)
    model = network.model.build()
    body = model.layers[-1]
    logits = np.asarray(body(embedding), np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(probabilities - expected).max() < 1e-5, "the body reads the embedding"


def test_a_baseline_reads_no_column_and_gives_log_probabilities(tmp_path: Path) -> None:
    dataset = _dataset()
    fold = FoldData("test/0", dataset.rows(np.arange(40)), dataset.rows(np.arange(40, 60)))
    cache = PreparedCache(tmp_path)
    spec = PipelineSpec((), PlainConcat(), Majority())
    outcome = fit_pipeline(spec, fold, cache, FitContext(2), preparation_seed=0)
    shares = (np.bincount(fold.train.labels, minlength=2) + 1) / 42
    assert outcome.validation_probabilities is not None
    np.testing.assert_allclose(outcome.validation_probabilities, np.tile(shares, (20, 1)), rtol=1e-6)
    probabilities, embedding = _answers(outcome.pipeline)
    np.testing.assert_allclose(probabilities, np.tile(shares, (60, 1)), rtol=1e-6)
    np.testing.assert_allclose(embedding, np.log(probabilities), rtol=1e-6)
    np.testing.assert_allclose(outcome.pipeline.predict_probabilities(dataset.raw), probabilities, rtol=1e-6)


def test_another_classifier_gives_its_features(linear: FittedPipeline) -> None:
    _, embedding = _answers(linear)
    raw = np.stack([_dataset().raw[name] for name in HEADERS], axis=1)
    assert np.abs(embedding - linear.extractors[0].transform(raw)).max() < 1e-6


def test_many_features_are_spared(linear: FittedPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(HEADERS) <= MAX_EMBEDDED_FEATURES
    monkeypatch.setattr("autoflow.pipeline.graph.MAX_EMBEDDED_FEATURES", len(HEADERS) - 1)
    probabilities, embedding = _answers(linear)
    assert np.abs(np.exp(embedding) - probabilities).max() < 1e-6


def test_of_several_members_the_heaviest_network_speaks(
    network: FittedPipeline, linear: FittedPipeline
) -> None:
    _, expected = _answers(network)
    _, features = _answers(linear)
    _, mixed = _answers(WeightedPipelines((linear, network), (0.9, 0.1)))
    assert np.array_equal(mixed, expected)
    _, plain = _answers(WeightedPipelines((linear, linear), (0.5, 0.5)))
    assert np.array_equal(plain, features)
