"""Datasets: rows, matrices, profile, keys and fingerprint; and tables at prediction time."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from autoflow.data.dataset import Dataset, features_for, load_dataset
from autoflow.data.labels import labels_of
from autoflow.data.reading import read_table
from autoflow.data.schema import ColumnKind
from autoflow.errors import DataError

NUM_ROWS = 60


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "number": np.where(np.arange(NUM_ROWS) % 6 == 0, np.nan, rng.normal(size=NUM_ROWS)),
            "colour": [("red", " red", "blue", "")[i % 4] for i in range(NUM_ROWS)],
            "day": [f"2020-01-{1 + i % 28:02d}" for i in range(NUM_ROWS)],
            "flag": [i % 3 == 0 for i in range(NUM_ROWS)],
            "text": [f"word {i} and other words" for i in range(NUM_ROWS)],
            "label": [i % 2 for i in range(NUM_ROWS)],
        }
    )


@pytest.fixture
def dataset() -> Dataset:
    return load_dataset(frame())[0]


def test_a_csv_and_its_dataframe_give_the_same_data_set(tmp_path, dataset):
    path = tmp_path / "t.csv"
    frame().to_csv(path, index=False)
    read, notes, warnings = load_dataset(path)
    assert any("label column 'label', found by its name" in note for note in notes)
    assert warnings == ()
    assert [(c.name, c.kind) for c in read.schema.columns] == [
        (c.name, c.kind) for c in dataset.schema.columns
    ]
    assert read.schema.classes == ("0", "1")
    np.testing.assert_array_equal(read.labels, dataset.labels)
    for column in read.schema.columns:
        np.testing.assert_array_equal(read.values(column.name), dataset.values(column.name))


def test_matrix_stacks_column_values(dataset):
    numbers = dataset.matrix(["day", "number", "flag"])
    assert (numbers.dtype, numbers.shape) == (np.float64, (NUM_ROWS, 3))
    assert numbers[1, 0] == np.datetime64("2020-01-02", "s").astype(float)
    assert np.isnan(numbers[0, 1])
    assert numbers[0, 2] == 1
    strings = dataset.matrix(["colour", "text"])
    assert (strings.dtype, strings.shape) == (object, (NUM_ROWS, 2))
    assert set(strings[:, 0]) == {"red", "blue", ""}
    with pytest.raises(ValueError, match="in one node"):
        dataset.matrix(["colour", "number"])


def test_rows(dataset):
    some = dataset.rows(np.array([5, 2, 2]))
    assert some.num_rows == 3
    np.testing.assert_array_equal(some.labels, dataset.labels[[5, 2, 2]])
    assert some.raw["text"].tolist() == [dataset.raw["text"][i] for i in (5, 2, 2)]


def test_a_view_has_the_rows_and_no_copy_of_them(dataset):
    few, view = dataset.rows(np.array([2, 0])), dataset.view(np.array([2, 0]))
    assert list(view.raw) == list(few.raw)
    assert len(view.raw) == len(few.raw)
    for name, values in few.raw.items():
        np.testing.assert_array_equal(view.raw[name], values)
    assert view.labels.tolist() == few.labels.tolist()
    name = next(iter(few.raw))
    assert view.raw[name] is not view.raw[name]


def test_profile(dataset):
    profile = dataset.profile()
    assert profile.num_rows == NUM_ROWS
    assert profile.class_counts == (30, 30)
    columns = {column.name: column for column in profile.columns}
    assert columns["number"].num_distinct == 50
    assert columns["number"].missing_share == pytest.approx(1 / 6)
    assert columns["colour"].num_distinct == 2
    assert columns["colour"].missing_share == pytest.approx(0.25)
    assert columns["day"].kind is ColumnKind.DATETIME
    assert 15 < columns["text"].mean_characters < 30
    assert columns["text"].spaced
    assert columns["number"].mean_characters == 0


def test_profile_of_a_script_without_spaces():
    texts = [f"部屋が{i}回も広くて良かった" for i in range(NUM_ROWS)]
    dataset = load_dataset(pd.DataFrame({"text": texts, "label": [i % 2 for i in range(NUM_ROWS)]}))[0]
    assert not dataset.profile().columns[0].spaced


def test_feature_keys_tell_copies(dataset):
    assert len(set(dataset.feature_keys())) == NUM_ROWS
    keys = dataset.rows(np.array([3, 4, 3, 0, 0])).feature_keys()
    assert keys[0] == keys[2] != keys[1]
    assert keys[3] == keys[4]


def test_spaces_around_a_category_do_not_tell_copies_apart():
    spaced = frame()
    spaced["colour"] = [f"{each} " if each and row % 2 else each for row, each in enumerate(spaced["colour"])]
    expected = load_dataset(frame())[0].feature_keys()
    np.testing.assert_array_equal(load_dataset(spaced)[0].feature_keys(), expected)


def test_fingerprint_follows_the_content(dataset):
    same = load_dataset(frame())[0]
    assert dataset.fingerprint == same.fingerprint
    assert len(dataset.fingerprint) == 64
    changed = frame()
    changed.loc[7, "text"] = "word 7 and other  words"
    assert load_dataset(changed)[0].fingerprint != dataset.fingerprint
    assert load_dataset(frame().rename(columns={"text": "texts"}))[0].fingerprint != dataset.fingerprint
    assert dataset.rows(np.arange(NUM_ROWS)[::-1]).fingerprint != dataset.fingerprint


# --- prediction time ---------------------------------------------------------------------------------


def test_features_ignore_order_further_columns_and_the_label(dataset):
    changed = frame().drop(columns="label")[["text", "flag", "day", "colour", "number"]].assign(extra=1)
    raw = features_for(dataset.schema.columns, read_table(changed))
    assert list(raw) == [column.name for column in dataset.schema.columns]
    for name, values in raw.items():
        np.testing.assert_array_equal(values, dataset.raw[name])


def test_a_missing_column_shows_the_difference(dataset):
    table = read_table(frame().rename(columns={"colour": "color"}))
    with pytest.raises(DataError, match=r"'colour' is missing; .*'color'.*did you mean 'color'\?"):
        features_for(dataset.schema.columns, table)
    with pytest.raises(DataError, match="'colour', 'day' are missing"):
        features_for(dataset.schema.columns, read_table(frame()[["number", "flag", "text"]]))


def test_labels_of_another_table(dataset):
    other = pd.DataFrame({"label": ["1", "1.0", "0", "2", "", "x"]})
    np.testing.assert_array_equal(labels_of(read_table(other), dataset.schema), [1, 1, 0, -1, -1, -1])
    floats = pd.DataFrame({"label": [1.0, None, 0.0]})
    np.testing.assert_array_equal(labels_of(read_table(floats), dataset.schema), [1, -1, 0])
    with pytest.raises(DataError, match="label column 'label' is missing; did you mean 'labels'"):
        labels_of(read_table(pd.DataFrame({"labels": [1]})), dataset.schema)


def test_labels_of_booleans():
    words = pd.DataFrame({"size": np.arange(20) / 3, "label": ["true", "false"] * 10})
    schema = load_dataset(words)[0].schema
    typed = pd.DataFrame({"label": [True, False]})
    assert [schema.classes[code] for code in labels_of(read_table(typed), schema)] == ["true", "false"]


def test_data_imports_none_of_the_heavy_libraries():
    code = (
        "import sys, autoflow.data.dataset; "
        "print([m for m in ('tensorflow', 'keras', 'sklearn', 'ray', 'optuna') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
