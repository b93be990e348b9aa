"""Pictures of a table: where cells may point to, what counts as a picture, and what is said of others."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from picture_files import PICTURES
from pyarrow import parquet

from autoflow.data import arrow
from autoflow.data.dataset import Dataset, load_dataset
from autoflow.data.images import Picture, pictures
from autoflow.data.schema import ColumnKind
from autoflow.errors import DataError
from autoflow.serving.rows import open_table, raw_rows
from autoflow.testing.pictures import drawn_pixels, png

NUM_ROWS = 20


def drawn(number: int) -> bytes:
    return png(drawn_pixels(np.random.default_rng(number)))


def frame(cells: list) -> pd.DataFrame:
    numbers = np.random.default_rng(0).normal(size=len(cells))
    return pd.DataFrame({"photo": cells, "weight": numbers, "kind": ["cat", "dog"] * (len(cells) // 2)})


def loaded(cells: list, folder: Path) -> tuple[Dataset, tuple[str, ...]]:
    dataset, _, warnings = load_dataset(frame(cells), label="kind", image_folder=folder)
    return dataset, warnings


def from_cells(cells: list[str], folder: Path) -> list[Picture]:
    return list(pictures(pa.array(cells, pa.string()), folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty different pictures, `0.png` to `19.png`."""
    inside = tmp_path / "photos"
    inside.mkdir()
    for number in range(NUM_ROWS):
        (inside / f"{number}.png").write_bytes(drawn(number))
    return inside


NAMES = [f"{number}.png" for number in range(NUM_ROWS)]


# --- where pictures come from ------------------------------------------------------------------------


def test_paths_start_at_the_table_or_at_the_image_folder(folder, tmp_path):
    beside = tmp_path / "t.csv"
    frame([f"photos/{name}" for name in NAMES]).to_csv(beside, index=False)
    elsewhere = tmp_path / "far" / "t.csv"
    elsewhere.parent.mkdir()
    frame(NAMES).to_csv(elsewhere, index=False)
    first, _, warnings = load_dataset(beside, label="kind")
    second, *_ = load_dataset(elsewhere, label="kind", image_folder=folder)
    assert warnings == ()
    for dataset in (first, second):
        assert dataset.schema.column("photo").kind is ColumnKind.IMAGE
        assert [picture.read() for picture in dataset.raw["photo"]] == [drawn(i) for i in range(NUM_ROWS)]


def test_a_table_without_its_pictures_loses_the_column(folder, tmp_path):
    dataset, _ = loaded(NAMES, tmp_path)
    (dropped,) = dataset.schema.dropped
    assert dropped.name == "photo"
    assert "--image-folder" in dropped.reason
    assert str(tmp_path) in dropped.reason


@pytest.mark.parametrize("make", ["bytes", "struct", "paths"])
@pytest.mark.parametrize("source", ["parquet", "DataFrame"])
def test_pictures_in_the_table_itself(make, source, folder):
    contents = [drawn(number) if number != 3 else None for number in range(NUM_ROWS)]
    cells = {
        "bytes": contents,
        "struct": [None if content is None else {"bytes": content, "path": "x.png"} for content in contents],
        "paths": [{"bytes": None, "path": name} for name in NAMES],
    }[make]
    table: pd.DataFrame | Path = frame(cells)
    if source == "parquet":
        table = folder / "t.parquet"
        columns = {"photo": cells, "weight": np.arange(NUM_ROWS) / 3, "kind": ["cat", "dog"] * 10}
        parquet.write_table(pa.table(columns), table)
    dataset, _, warnings = load_dataset(table, label="kind", image_folder=folder)
    found = dataset.raw["photo"]
    assert dataset.schema.column("photo").kind is ColumnKind.IMAGE
    assert warnings == ()
    assert found[3].read() == (drawn(3) if make == "paths" else b"")
    assert found[4].read() == drawn(4)


def test_bytes_that_are_no_pictures_are_left_out():
    dataset, _ = loaded([b"some bytes %d" % number for number in range(NUM_ROWS)], Path())
    assert "photo" not in dataset.raw


def test_more_bytes_than_one_array_holds(monkeypatch):
    monkeypatch.setattr(arrow, "_TWO_GIBIBYTES", 100)
    column = arrow.plain_column(pa.chunked_array([[drawn(0)], [drawn(1)]], pa.binary()))
    assert column.type == pa.large_binary()
    found = pictures(column, Path())
    assert [picture.read() for picture in found] == [drawn(0), drawn(1)]


# --- where a path may lead ---------------------------------------------------------------------------


def test_roundabout_paths_inside_are_fine(folder):
    (folder / "again.png").symlink_to("1.png")
    (folder / "sub").mkdir()
    for picture in from_cells(["1.png", "./1.png", " 1.png ", "sub/../1.png", "again.png"], folder):
        assert picture.read() == drawn(1)


def test_a_folder_behind_a_link_is_the_folder(folder, tmp_path):
    (tmp_path / "alias").symlink_to(folder)
    (picture,) = from_cells(["1.png"], tmp_path / "alias")
    assert picture.read() == drawn(1)


def test_what_is_no_file(folder):
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    cells = {"folder.png": "no file", "pipe.png": "no file", "gone.png": "not found", "a\0b.png": "not found",
             "x" * 5000: "not found", "..\0": "not found"}  # fmt: skip
    found = from_cells(list(cells), folder)
    assert [picture.problem for picture in found] == list(cells.values())
    assert [picture.path for picture in found] == list(cells)
    assert not any(picture.read() for picture in found)


def test_a_file_that_may_not_be_read(folder, monkeypatch):
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    (picture,) = from_cells(["1.png"], folder)
    assert picture.problem == "not readable (Permission denied)"


def test_blank_cells_are_missing_and_no_problem(folder):
    assert from_cells(["", " ", "\t", "NA", "null", None], folder) == [Picture()] * 6
    cells = [*NAMES[:12], *["", " ", "NA", None] * 2]
    dataset, warnings = loaded(cells, folder)
    assert sum(not picture.digest for picture in dataset.raw["photo"]) == 8
    assert warnings == ()


def test_a_picture_that_goes_away_is_missing(folder):
    (picture,) = from_cells(["1.png"], folder)
    (folder / "1.png").unlink()
    assert picture.read() == b""


# --- what is said of a table -------------------------------------------------------------------------


def test_few_broken_pictures_are_counted(folder):
    (folder / "0.png").write_bytes(b"")
    (folder / "1.png").write_bytes(b"<svg/>")
    (folder / "2.png").write_bytes(drawn(2)[:-5])
    (folder / "3.png").unlink()
    (folder / "4.png").write_bytes((PICTURES / "turned.jpg").read_bytes())
    dataset, warnings = loaded(NAMES, folder)
    (counted, turned) = warnings
    assert counted.startswith("column 'photo': 4 pictures count as missing: 1 empty; 1 not a picture")
    assert "1 cut off or damaged; 1 not found" in counted
    assert turned.startswith("column 'photo': 1 picture is turned by EXIF, which training and serving")
    assert [bool(picture.digest) for picture in dataset.raw["photo"]] == [False] * 4 + [True] * 16


def test_many_broken_pictures_stop_with_a_list(folder):
    for number in range(5):
        (folder / f"{number}.png").unlink()
    with pytest.raises(DataError) as caught:
        loaded(NAMES, folder)
    message = str(caught.value)
    assert "the DataFrame: column 'photo': 5 of 20 pictures cannot be used (5 not found)" in message
    assert "such as '0.png', '1.png', '2.png', '3.png', '4.png'" in message
    assert "--image-folder" in message
    assert "\n" not in message


def test_empty_cells_do_not_hide_broken_pictures(folder):
    """The share is that of the pictures that the table names."""
    (folder / "0.png").unlink()
    (folder / "1.png").unlink()
    with pytest.raises(DataError, match="2 of 8 pictures cannot be used"):
        loaded([*NAMES[:8], *[""] * 12], folder)


def test_many_broken_bytes_stop_too():
    cells = [drawn(number)[: 40 if number < 5 else None] for number in range(NUM_ROWS)]
    with pytest.raises(DataError, match=r"5 of 20 pictures cannot be used \(5 cut off or damaged\)\. Mend"):
        loaded(cells, Path())


def test_the_share_of_new_rows_does_not_stop(folder):
    schema = loaded(NAMES, folder)[0].schema
    for number in range(15):
        (folder / f"{number}.png").unlink()
    rows = raw_rows(schema, open_table(frame(NAMES), None, folder))
    assert rows.warnings == ("the DataFrame: column 'photo': 15 pictures count as missing: 15 not found.",)
    assert rows.values["photo"][19].read() == drawn(19)


@pytest.mark.parametrize("exists", [False, True])
def test_an_image_folder_has_to_be_one(exists, tmp_path):
    if exists:
        (tmp_path / "no").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no: there is no such folder of pictures\."):
        loaded(NAMES, tmp_path / "no")


# --- equal pictures ----------------------------------------------------------------------------------


def test_the_content_counts_and_not_the_name(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for number in range(NUM_ROWS):
        (other / f"new name {number}.gif").write_bytes(drawn(number))
    first, _ = loaded(NAMES, folder)
    second, _ = loaded([f"new name {number}.gif" for number in range(NUM_ROWS)], other)
    third, _ = loaded([drawn(number) for number in range(NUM_ROWS)], Path())
    for dataset in (second, third):
        assert dataset.fingerprint == first.fingerprint
        np.testing.assert_array_equal(dataset.feature_keys(), first.feature_keys())
    assert len(np.unique(first.feature_keys())) == NUM_ROWS
    (other / "new name 7.gif").write_bytes(drawn(777))
    changed, _ = loaded([f"new name {number}.gif" for number in range(NUM_ROWS)], other)
    assert changed.fingerprint != first.fingerprint


def test_copies_of_a_picture_fall_into_one_fold(folder):
    cells = [NAMES[number % 10] for number in range(NUM_ROWS)]
    (folder / "10.png").write_bytes(drawn(0))
    cells[10] = "10.png"
    table = frame(cells).drop(columns="weight")
    dataset, *_ = load_dataset(table, label="kind", image_folder=folder)
    keys = dataset.feature_keys()
    np.testing.assert_array_equal(keys[:10], keys[10:])
    profile = next(column for column in dataset.profile().columns if column.name == "photo")
    assert profile.num_distinct == 10
    assert 9 <= profile.picture_side <= 40
