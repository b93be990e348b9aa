"""Large arrays of an exported model lie beside its graph, once, and not in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoflow.components.base import FeatureExtractor, FitContext
from autoflow.components.classification.mlp import Mlp
from autoflow.components.classification.nearest_neighbors import NearestNeighbors
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.feature_extraction.convolutional_text import ConvolutionalText
from autoflow.components.feature_extraction.hashed_ngrams import HashedNgrams
from autoflow.components.feature_extraction.standardized import Standardized
from autoflow.components.feature_extraction.token_embedding import TokenEmbedding
from autoflow.components.stored import LEAST_BYTES, keeping, stored
from autoflow.data.dataset import Dataset
from autoflow.data.schema import Column, ColumnKind, RawType, Schema
from autoflow.export.saved_model import export_model
from autoflow.export.verify import Verifier
from autoflow.manifest import ManifestDetails
from autoflow.parts import model_part
from autoflow.pipeline.assembly import FittedPipeline, WeightedPipelines, fit_pipeline
from autoflow.pipeline.cache import FoldData, PreparedCache
from autoflow.pipeline.spec import Node, PipelineSpec
from autoflow.serving.predictor import load

HEADERS = tuple("abcdef")
ROWS = 5_000
NEIGHBOR_BYTES = ROWS * len(HEADERS) * 8


def _dataset() -> Dataset:
    random = np.random.default_rng(0)
    columns = tuple(Column(name, ColumnKind.NUMERIC, RawType.FLOAT64) for name in HEADERS)
    raw = {name: random.normal(size=ROWS) for name in HEADERS}
    return Dataset("numbers.csv", Schema(columns, "y", ("no", "yes")), raw, (raw["a"] > 0).astype(np.int32))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> FittedPipeline:
    spec = PipelineSpec((Node("numeric", HEADERS, Standardized()),), PlainConcat(), NearestNeighbors())
    cache = PreparedCache(tmp_path_factory.mktemp("cache"))
    return fit_pipeline(
        spec, FoldData("all", _dataset(), None), cache, FitContext(2), preparation_seed=0
    ).pipeline


def test_they_are_stored_once_beside_the_graph_and_serve(
    pipeline: FittedPipeline, verifier: Verifier, tmp_path: Path
) -> None:
    model = WeightedPipelines((pipeline, pipeline), (0.5, 0.5))
    rows = {name: values[:8] for name, values in _dataset().raw.items()}
    done = export_model(
        model, tmp_path / "model", details=ManifestDetails(), examples=rows, verifier=verifier
    )
    assert done.verification.ok, done.verification.message
    variables = sum(path.stat().st_size for path in done.folder.glob("variables/variables.data*"))
    assert NEIGHBOR_BYTES < variables < 1.5 * NEIGHBOR_BYTES
    assert (done.folder / "saved_model.pb").stat().st_size < NEIGHBOR_BYTES
    probabilities = load(done.folder).predict_raw(rows)
    np.testing.assert_allclose(probabilities, model.predict_probabilities(rows), atol=1e-6)
    columns = Schema(model.schema.columns, "z", ("0", "1"))
    assert model_part(done.folder, columns, "other.csv").columns == HEADERS


def test_a_trace_after_an_eager_call_makes_no_variables(pipeline: FittedPipeline) -> None:
    import tensorflow as tf

    module = pipeline.module()
    rows = {name: tf.constant(values[:3]) for name, values in _dataset().raw.items()}
    eager, _ = module(rows)
    made = len(module.variables)
    traces = []

    @tf.function(autograph=False)
    def answer(raw):
        traces.append(None)
        return module(raw)

    traced, _ = answer(rows)
    assert (len(module.variables), len(traces)) == (made, 1)
    assert made
    np.testing.assert_allclose(traced, eager, atol=1e-6)


TEXT_ROWS, WORDS, WIDTH = 600, 3_000, 16


def _texts() -> Dataset:
    random = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(WORDS)])
    texts = np.array([" ".join(words[random.integers(0, WORDS, 20)]) for _ in range(TEXT_ROWS)], object)
    columns = (Column("text", ColumnKind.TEXT, RawType.STRING),)
    labels = random.integers(0, 2, TEXT_ROWS).astype(np.int32)
    return Dataset("texts.csv", Schema(columns, "y", ("no", "yes")), {"text": texts}, labels)


@pytest.mark.parametrize(
    "extractor",
    [
        TokenEmbedding(tokens="words", max_words=1, dimensions=WIDTH),
        TokenEmbedding(tokens="words", max_words=1, dimensions=WIDTH, pooling="attention"),
        HashedNgrams(tokens="words", max_words=1, dimensions=WIDTH, num_buckets=5_000),
        ConvolutionalText(tokens="words", dimensions=WIDTH, num_filters=16),
    ],
    ids=["mean", "attention", "hashed", "sequence"],
)
def test_vectors_that_a_network_learned_are_stored_in_half_precision_and_answer_the_same(
    extractor: FeatureExtractor, verifier: Verifier, tmp_path: Path
) -> None:
    import tensorflow as tf

    data = _texts()
    spec = PipelineSpec((Node("text", ("text",), extractor),), PlainConcat(), Mlp(num_layers=0))
    fold = FoldData("all", data, None)
    context = FitContext(2, iterations=2)
    pipeline = fit_pipeline(spec, fold, PreparedCache(tmp_path), context, preparation_seed=0).pipeline
    module = pipeline.module()
    raw = {"text": data.raw["text"][:50]}
    answers, _ = module({"text": tf.constant(raw["text"])})
    np.testing.assert_allclose(answers, pipeline.predict_probabilities(raw), atol=1e-6)
    tables = [each for each in module.variables if each.shape[1:] == [WIDTH] and each.shape[0] > WORDS // 2]
    assert [table.dtype for table in tables] == [tf.float16]
    done = export_model(
        WeightedPipelines((pipeline,), (1.0,)),
        tmp_path / "model",
        details=ManifestDetails(),
        examples=raw,
        verifier=verifier,
    )
    assert done.verification.ok, done.verification.message


def test_only_large_ones_are_kept_and_only_where_that_is_asked() -> None:
    small, large = np.zeros(LEAST_BYTES // 4 - 1, np.float32), np.zeros(LEAST_BYTES // 4, np.float32)
    kept: list[np.ndarray] = []
    with keeping(lambda values: kept.append(values)):
        stored(small)
        stored(large)
    stored(large)
    assert [each is large for each in kept] == [True]
