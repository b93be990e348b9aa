"""Exported models as parts of the next one: checks, parity, and an export that stands without its parts."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoflow.components.base import Classifier, Concatenation, FitContext, NeuralClassifier
from autoflow.components.classification.logistic_regression import LogisticRegression
from autoflow.components.classification.mlp import Mlp
from autoflow.components.concatenation.gated import Gated
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.feature_extraction.one_hot import OneHot
from autoflow.components.feature_extraction.saved_model_embedding import SavedModelEmbedding, rounded
from autoflow.components.feature_extraction.standardized import Standardized
from autoflow.data.dataset import Dataset
from autoflow.data.schema import Column, ColumnKind, ModelPart, RawType, Schema
from autoflow.errors import DataError, NoModelError
from autoflow.export.saved_model import export_model
from autoflow.export.verify import Outcome, Verifier
from autoflow.manifest import ManifestDetails, hash_files, read_manifest, write_manifest
from autoflow.parts import load_part, model_part
from autoflow.pipeline.assembly import FittedPipeline, fit_pipeline
from autoflow.pipeline.cache import FoldData, PreparedCache
from autoflow.pipeline.spec import Node, PipelineSpec
from autoflow.search.space import plan_nodes
from autoflow.serving.predictor import load

PRICE, COLOUR, BIG = "price (JPY)", "色", "big"
NUMBERS = Node("numeric", (PRICE, BIG), Standardized())
WORDS = Node("categorical", (COLOUR,), OneHot())


def _dataset(num_rows: int = 80, seed: int = 0) -> Dataset:
    columns = (
        Column(PRICE, ColumnKind.NUMERIC, RawType.FLOAT32),
        Column(COLOUR, ColumnKind.CATEGORICAL, RawType.STRING),
        Column(BIG, ColumnKind.NUMERIC, RawType.FLOAT64),
    )
    random = np.random.default_rng(seed)
    raw = {
        PRICE: np.where(random.random(num_rows) < 0.1, np.nan, random.normal(size=num_rows) / 3),
        COLOUR: random.choice(["red", "赤い", "", " odd \n"], num_rows).astype(object),
        BIG: 2.0**25 + random.integers(0, 9, num_rows) / 7,
    }
    labels = (np.nan_to_num(raw[PRICE]) + (raw[COLOUR] == "red") > 0.3).astype(np.int32)
    return Dataset("items.csv", Schema(columns, "y", ("no", "yes")), raw, labels)


def _fitted(
    nodes: tuple[Node, ...], concatenation: Concatenation, classifier: Classifier, folder: Path
) -> FittedPipeline:
    spec = PipelineSpec(nodes, concatenation, classifier)
    context = FitContext(2, iterations=3 if isinstance(classifier, NeuralClassifier) else None)
    data = FoldData("all", _dataset(), _dataset(seed=1))
    return fit_pipeline(spec, data, PreparedCache(folder), context, preparation_seed=0).pipeline


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version folder of a small network."""
    folder = tmp_path_factory.mktemp("other")
    network = _fitted((NUMBERS, WORDS), PlainConcat(), Mlp(num_units=16), folder / "cache")
    done = export_model(network, folder, details=ManifestDetails(), examples=_dataset().raw)
    assert done.folder is not None
    return done.folder


@pytest.fixture
def copied(other: Path, tmp_path: Path) -> Path:
    return shutil.copytree(other, tmp_path / "copied" / "1")


def _part_node(part: ModelPart) -> Node:
    return Node("part_1", part.columns, SavedModelEmbedding(part.folder, part.fingerprint))


def test_a_part_is_a_node_of_its_own(other: Path) -> None:
    dataset = _dataset()
    part = model_part(other, dataset.schema, dataset.name)
    assert part.columns == (PRICE, COLOUR, BIG)
    plans = plan_nodes(replace(dataset.profile(), parts=(part,)))
    assert [plan.kind for plan in plans if plan.profile.parts] == [ColumnKind.ROW]
    assert plans[-1].columns == part.columns
    assert [plan.name for plan in plans[:-1]] == [plan.name for plan in plan_nodes(dataset.profile())]


@pytest.mark.parametrize(
    ("concatenation", "classifier"),
    [(PlainConcat(), LogisticRegression()), (Gated(), Mlp(num_units=16))],
    ids=["linear", "network"],
)
def test_the_export_holds_the_part_itself(
    copied: Path, tmp_path: Path, verifier: Verifier, concatenation: Concatenation, classifier: Classifier
) -> None:
    dataset = _dataset()
    part = model_part(copied, dataset.schema, dataset.name)
    rows = _dataset(seed=2).raw
    expected_features = load(copied).embed(_table(rows))
    pipeline = _fitted((NUMBERS, _part_node(part)), concatenation, classifier, tmp_path / "cache")
    features = pipeline.extractors[1].transform(_texts(rows))
    assert np.abs(features - expected_features).max() <= 2**-13 + 1e-5  # rounded to 2^-12
    done = export_model(
        pipeline, tmp_path / "model", details=ManifestDetails(), examples=rows, verifier=verifier
    )
    assert done.verification is not None
    assert done.verification.outcome is Outcome.PASSED, done.verification.detail
    expected = pipeline.predict_probabilities(rows)
    shutil.rmtree(copied)
    assert np.abs(load(tmp_path / "model").predict_raw(rows) - expected).max() < 1e-5
    assert done.folder is not None
    again = model_part(done.folder, dataset.schema, dataset.name)  # a part may have parts
    assert again.columns == part.columns


def _table(rows: dict[str, np.ndarray]):
    import pandas as pd

    return pd.DataFrame(rows)


def _texts(rows: dict[str, np.ndarray]) -> np.ndarray:
    from autoflow.data.dataset import raw_texts

    return raw_texts(_dataset().schema.columns, rows)


def test_numbers_survive_as_text() -> None:
    import tensorflow as tf

    from autoflow.pipeline.raw_graph import raw_texts

    numbers = np.array([0.1, -0.0, 1e-37, 3e38, np.nan, np.inf, -np.inf, 2**24 + 1.0, 1 / 3])
    for raw_type, dtype in ((RawType.FLOAT32, np.float32), (RawType.FLOAT64, np.float64)):
        column = Column("a", ColumnKind.NUMERIC, raw_type)
        exact = numbers.astype(dtype)
        texts = raw_texts([column], {"a": tf.constant(exact)})[:, 0]
        assert np.array_equal(tf.strings.to_number(texts, tf.float64), exact.astype(float), equal_nan=True)


def test_a_table_must_fit(other: Path) -> None:
    schema = _dataset().schema
    without = replace(schema, columns=schema.columns[1:])
    with pytest.raises(DataError, match=r"items.csv: column 'price \(JPY\)', which .* reads, is missing"):
        model_part(other, without, "items.csv")
    text = Column(PRICE, ColumnKind.TEXT, RawType.STRING)
    with pytest.raises(DataError, match=r"is text \(text\), but .* reads it as numeric \(numbers\)"):
        model_part(other, replace(schema, columns=(text, *schema.columns[1:])), "items.csv")


def test_a_changed_model_is_refused(copied: Path) -> None:
    dataset = _dataset()
    part = model_part(copied, dataset.schema, dataset.name)
    (copied / "saved_model.pb").write_bytes((copied / "saved_model.pb").read_bytes() + b"\n\0")
    with pytest.raises(NoModelError, match=r"saved_model.pb is missing or not the file that was exported"):
        model_part(copied, dataset.schema, dataset.name)
    manifest = read_manifest(copied)
    write_manifest(replace(manifest, files=hash_files(copied)), copied)
    load_part.cache_clear()
    with pytest.raises(NoModelError, match="another model than the search began with"):
        load_part(part.folder, part.fingerprint)


@pytest.mark.parametrize("operation", ["ReadFile", "PyFunc", "SaveV2"])
def test_foreign_operations_are_refused(copied: Path, operation: str) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    path = copied / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    functions = {f.signature.name: f for f in model.meta_graphs[0].graph_def.library.function}
    called = next(name for name in functions if "ranked" in name)
    functions[called].node_def.add(name="steal", op=operation)
    path.write_bytes(model.SerializeToString())
    write_manifest(replace(read_manifest(copied), files=hash_files(copied)), copied)
    with pytest.raises(
        NoModelError, match=rf"operations that no export of this AutoFlow has \({operation}\)"
    ):
        model_part(copied, _dataset().schema, "items.csv")


def test_a_model_without_embeddings_is_refused(copied: Path) -> None:
    write_manifest(replace(read_manifest(copied), embedding_size=0), copied)
    with pytest.raises(NoModelError, match="gives no embeddings"):
        model_part(copied, _dataset().schema, "items.csv")


def test_a_model_of_the_same_rows_is_refused(copied: Path) -> None:
    dataset = _dataset()
    manifest = read_manifest(copied)
    write_manifest(replace(manifest, details=replace(manifest.details, data=dataset.fingerprint)), copied)
    with pytest.raises(NoModelError, match="fitted on this very table"):
        model_part(copied, dataset.schema, dataset.name, dataset)
    others = dataset.rows(np.arange(dataset.num_rows)[::-1])
    assert model_part(copied, dataset.schema, dataset.name, others).columns


def test_a_model_of_the_same_rows_without_a_column_is_refused(copied: Path) -> None:
    dataset, manifest = _dataset(), read_manifest(copied)
    write_manifest(replace(manifest, details=replace(manifest.details, data=dataset.fingerprint)), copied)
    further = Column("further", ColumnKind.NUMERIC, RawType.FLOAT32, "numbers")
    wider = replace(
        dataset,
        schema=replace(dataset.schema, columns=(*dataset.schema.columns, further)),
        raw={**dataset.raw, "further": np.arange(dataset.num_rows) / 7},
    )
    assert wider.fingerprint != dataset.fingerprint
    with pytest.raises(NoModelError, match="fitted on this very table"):
        model_part(copied, wider.schema, wider.name, wider)


def test_a_saved_model_of_another_form_is_refused(copied: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    path = copied / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    model.meta_graphs[0].ClearField("object_graph_def")
    path.write_bytes(model.SerializeToString())
    write_manifest(replace(read_manifest(copied), files=hash_files(copied)), copied)
    with pytest.raises(NoModelError, match="no SavedModel as AutoFlow exports it"):
        model_part(copied, _dataset().schema, "items.csv")


def test_a_file_that_the_manifest_does_not_name_is_refused(copied: Path) -> None:
    (copied / "assets").mkdir(exist_ok=True)
    (copied / "assets" / "more.txt").write_text("x")
    with pytest.raises(NoModelError, match=r"assets/more.txt"):
        model_part(copied, _dataset().schema, "items.csv")


def test_embeddings_that_differ_in_the_last_digits_are_one():
    import tensorflow as tf

    vectors = np.array([[-0.6931471, 3.25, np.nan, np.inf, 1e6, 0.0]], np.float32)
    noise = np.array([[2e-7, -3e-7, 0, 0, 0, 1e-9]], np.float32)
    exact, noisy = (np.asarray(rounded(tf.constant(each))) for each in (vectors, vectors + noise))
    np.testing.assert_array_equal(exact, noisy)
    np.testing.assert_allclose(exact, vectors, atol=2**-13)
