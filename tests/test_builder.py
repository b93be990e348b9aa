"""What `ModelBuilder` hands on to the model that it built, with fakes in the place of a search."""

import gc
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from autoflow.builder import ModelBuilder
from autoflow.errors import DataError, UsageError
from autoflow.search.events import Stage, Warned


class FakePredictor:
    """Remembers what it was asked."""

    label = "kind"

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []

    def predict(self, data: object, *, encoding: str | None = None, image_folder: object = None) -> object:
        self.asked.append({"data": data, "encoding": encoding, "image_folder": image_folder})
        return np.zeros(1)

    predict_proba = predict

    def evaluate(self, data: object, **options: object) -> SimpleNamespace:
        self.predict(data, **options)
        return SimpleNamespace(accuracy=0.5)


@pytest.fixture
def built() -> tuple[ModelBuilder, FakePredictor]:
    """A builder as after `fit`, and its model."""
    builder, predictor = ModelBuilder(encoding="cp1252", image_folder="pictures"), FakePredictor()
    builder.report_ = SimpleNamespace(model=SimpleNamespace(folder=None))
    builder._predictor = predictor
    return builder, predictor


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score"])
def test_files_are_read_as_the_training_file_was(built, method):
    builder, predictor = built
    getattr(builder, method)("new.csv")
    assert predictor.asked == [{"data": "new.csv", "encoding": "cp1252", "image_folder": "pictures"}]


def test_score_takes_labels_beside_the_features(built):
    builder, predictor = built
    assert builder.score(pd.DataFrame({"x": [1.0, 2.0], "kind": ["old", "old"]}), ["a", "b"]) == 0.5
    (asked,) = predictor.asked
    assert asked["data"].to_dict("list") == {"x": [1.0, 2.0], "kind": ["a", "b"]}


@pytest.mark.parametrize("method", ["fit", "score"])
def test_labels_beside_a_file_are_refused_in_words(built, method):
    with pytest.raises(UsageError, match="a file must hold the label itself"):
        getattr(built[0], method)("new.csv", ["a", "b"])


def test_a_metric_without_a_value_on_the_held_out_rows_is_refused_before_the_search(tmp_path):
    days = pd.date_range("2024-01-01", periods=200).astype(str)
    kinds = ["a", "b"] * 15 + ["b"] * 170
    table = pd.DataFrame({"size": np.arange(200) * 7 % 31 / 3, "day": days, "kind": kinds})
    builder = ModelBuilder(
        label="kind", metric="roc_auc", time_column="day", time_budget=20, output=tmp_path / "run"
    )
    with pytest.raises(DataError, match="roc_auc cannot be told of the held-out rows"):
        builder.fit(table)


@pytest.mark.parametrize("labels", [[["a"], ["b"]], pd.DataFrame({"kind": ["a", "b"]})])
def test_a_column_of_labels_is_as_good_as_a_row(built, labels):
    builder, predictor = built
    builder.score(pd.DataFrame({"x": [1.0, 2.0]}), np.array(labels))
    assert predictor.asked[0]["data"]["kind"].tolist() == ["a", "b"]


@pytest.mark.parametrize("method", ["fit", "score"])
def test_a_table_of_labels_is_refused_in_words(built, method):
    with pytest.raises(UsageError, match=r"y has the shape \(2, 3\); it must hold one label a row"):
        getattr(built[0], method)(pd.DataFrame({"x": [1.0, 2.0]}), np.zeros((2, 3)))


def test_what_a_run_warns_of_is_kept_and_shown(monkeypatch):
    events = [Warned("the model was not verified"), Stage("exporting"), Warned("rows are copies")]

    def execute(data, settings, observer, budget):
        for event in events:
            observer(event)
        return SimpleNamespace(warnings=("rows are copies",))

    monkeypatch.setattr("autoflow.builder.execute", execute)
    seen = []
    builder = ModelBuilder().fit(pd.DataFrame({"x": [1]}), observer=seen.append)
    assert seen == events
    assert builder.warnings_ == ("rows are copies", "the model was not verified")


def test_a_model_outlives_its_builder(monkeypatch):
    folders = []
    monkeypatch.setattr(
        "autoflow.builder.execute", lambda data, settings, observer, budget: folders.append(settings.output)
    )
    builder = ModelBuilder()
    builder.fit(pd.DataFrame({"x": [1]}))
    builder.fit(pd.DataFrame({"x": [1]}))
    del builder
    gc.collect()
    first, second = folders
    assert first != second
    assert first.is_dir()
    assert second.is_dir()
