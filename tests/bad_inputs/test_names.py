"""Names from elsewhere that become paths: none of them leads out of its folder."""

from __future__ import annotations

import hashlib

import pytest

from autoflow.manifest import changed_files
from autoflow.search import leftovers
from autoflow.settings import default_output

TABLES = (
    "../t.csv", "/etc/passwd", "/", ".", "..", "a/..", "t/", ".csv", "..csv", "...gz", "t.csv.gz",
    "..parquet", "~/t.csv", "t\n.csv", " .csv", "\u202etxt.csv", "日本.csv", "-rf.csv", "$(x).csv",
    "C:\\t.csv", "a/../../b.csv",
)  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_the_run_folder_of_a_table_lies_in_the_working_folder(table):
    output = default_output(table)
    assert not output.is_absolute()
    assert len(output.parts) == 1
    assert output.name.endswith("-autoflow")


@pytest.mark.parametrize(
    "name", ["../secret", "variables/../../secret", "variables/../..//secret", "/secret"]
)
def test_a_manifest_vouches_for_files_of_its_own_folder_only(tmp_path, name):
    (tmp_path / "secret").write_bytes(b"x")
    folder = tmp_path / "1"
    (folder / "variables").mkdir(parents=True)
    name = str(tmp_path / "secret") if name.startswith("/") else name
    digest = hashlib.sha256(b"x").hexdigest()
    assert (folder / name).resolve() == (tmp_path / "secret").resolve()
    assert changed_files(folder, {name: digest}) == [name]
    (folder / "variables" / "own").write_bytes(b"x")
    assert changed_files(folder, {"variables/own": digest}) == []


@pytest.mark.parametrize("name", ["/../precious", "x/../precious", "x/../../precious"])
def test_what_a_killed_run_left_is_cleared_in_its_own_folder_only(tmp_path, monkeypatch, name):
    folders = {"x": tmp_path / "tmp" / "x", name: tmp_path / "precious"}
    monkeypatch.setattr(leftovers, "scratch_folder", folders.__getitem__)
    for folder in folders.values():
        folder.mkdir(parents=True)
    leftovers.clear(name)
    assert (tmp_path / "precious").is_dir()
    leftovers.clear("x")
    assert not (tmp_path / "tmp" / "x").exists()
