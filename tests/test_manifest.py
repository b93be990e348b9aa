from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoflow.data.schema import Column, ColumnKind, DroppedColumn, RawType, Schema
from autoflow.errors import NoModelError
from autoflow.manifest import (
    FORMAT_VERSION,
    MANIFEST_PATH,
    Example,
    Manifest,
    ManifestDetails,
    Recipe,
    changed_files,
    damage,
    hash_files,
    read_manifest,
    write_manifest,
)


def _manifest(header: str = "値段 (JPY)", word: str = "赤") -> Manifest:
    columns = (
        Column(header, ColumnKind.NUMERIC, RawType.FLOAT64, "large integers"),
        Column(
            header + "?", ColumnKind.BOOLEAN, RawType.STRING, true_values=("yes", word), false_values=("no",)
        ),
        Column(header + "@", ColumnKind.DATETIME, RawType.STRING, datetime_format="iso"),
        Column(header + "#", ColumnKind.CATEGORICAL, RawType.STRING, known_values=(word, "b")),
    )
    return Manifest(
        schema=Schema(
            columns, "kind", ("1", "2"), "last column", "integer", (DroppedColumn("id", "id-like"),)
        ),
        details=ManifestDetails(
            (Recipe(0.75, {"classification": {"layers": [8, 8]}}), Recipe(0.25, {})),
            {"validation": {"log_loss": 0.5, "confusion": [[1, 2], [3, 4]]}},
            12,
            "items.csv",
            {header: 0.75, header + "?": 0.25},
        ),
        created="2026-01-01T00:00:00+00:00",
        versions={"autoflow": "0.1.0"},
        examples=(Example({header: None, header + "?": word, header + "@": None}, "2", (0.25, 0.75)),),
        files={"saved_model.pb": "0" * 64},
    )


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_goes_to_json_and_back(header: str, word: str) -> None:
    manifest = _manifest(header, word)
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json(), allow_nan=False))) == manifest


def test_goes_to_disk_and_back(tmp_path: Path) -> None:
    write_manifest(_manifest(), tmp_path)
    assert read_manifest(tmp_path) == _manifest()


def test_undefined_figures_and_numpy_numbers_become_json() -> None:
    details = ManifestDetails(metrics={"test": {"roc_auc": float("nan"), "f1": np.float32(0.5)}})
    value = Manifest(_manifest().schema, details, "", {}).to_json()
    assert value["metrics"] == {"test": {"roc_auc": None, "f1": 0.5}}


def test_a_column_of_an_older_manifest_gets_the_default_of_a_new_field() -> None:
    value = _manifest().to_json()
    del value["columns"][0]["number_format"]
    assert Manifest.from_json(value) == _manifest()


def test_an_older_manifest_says_nothing_about_contributions() -> None:
    value = _manifest().to_json()
    del value["contributions"]
    assert Manifest.from_json(value).details.contributions == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: [value], "this is no AutoFlow manifest"),
        (lambda value: {**value, "format_version": None}, "this is no AutoFlow manifest"),
        (
            lambda value: {**value, "format_version": FORMAT_VERSION + 1, "versions": {"autoflow": "9.0"}},
            rf"has format {FORMAT_VERSION + 1} and this AutoFlow reads up to {FORMAT_VERSION}.*version 9\.0",
        ),
        (lambda value: {k: v for k, v in value.items() if k != "columns"}, "the manifest lacks 'columns'"),
        (lambda value: {**value, "columns": [{"key": "f0"}]}, "the manifest lacks 'kind'"),
        (lambda value: {**value, "columns": 3}, "the manifest is damaged"),
        (
            lambda value: {**value, "columns": [{**value["columns"][0], "kind": "smell"}]},
            "the manifest is damaged .*smell",
        ),
    ],
)
def test_refuses_what_it_cannot_use(tmp_path: Path, change, message: str) -> None:
    path = write_manifest(_manifest(), tmp_path)
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))))
    with pytest.raises(NoModelError, match=message) as caught:
        read_manifest(tmp_path)
    assert str(path) in str(caught.value)


def test_refuses_a_missing_or_cut_off_manifest(tmp_path: Path) -> None:
    with pytest.raises(NoModelError, match=r"no model that AutoFlow exported .* give a run folder"):
        read_manifest(tmp_path)
    path = write_manifest(_manifest(), tmp_path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(NoModelError, match="no whole JSON file"):
        read_manifest(tmp_path)


def test_hashes_tell_which_files_changed(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    for name in ("saved_model.pb", "variables/variables.index"):
        (tmp_path / name).write_text(name)
    write_manifest(_manifest(), tmp_path)
    hashes = hash_files(tmp_path)
    assert sorted(hashes) == ["saved_model.pb", "variables/variables.index"]
    assert MANIFEST_PATH not in hashes
    assert changed_files(tmp_path, hashes) == []
    (tmp_path / "saved_model.pb").write_text("x")
    (tmp_path / "variables/variables.index").unlink()
    assert changed_files(tmp_path, hashes) == ["saved_model.pb", "variables/variables.index"]


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path) -> None:
    path = write_manifest(_manifest(), tmp_path)
    content = path.read_bytes()
    unharmed = []
    for position in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position // 3 % 8
        path.write_bytes(flipped)
        try:
            read = read_manifest(tmp_path)
        except NoModelError:
            continue
        assert read == _manifest()
        unharmed.append(position)
    # the name of the hash itself, and a space that became another
    assert len(unharmed) < len(content) / 30


def test_a_changed_manifest_is_refused_and_one_without_a_hash_is_an_older_one(tmp_path: Path) -> None:
    path = write_manifest(_manifest(), tmp_path)
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(value | {"classes": ["2", "1"]}))
    with pytest.raises(NoModelError, match="not what was exported"):
        read_manifest(tmp_path)
    del value["sha256"]
    path.write_text(json.dumps(value))
    assert read_manifest(tmp_path) == _manifest()


@pytest.mark.parametrize("name", ["variables/more", "assets/words.txt", "saved_model.cpb"])
def test_a_graph_has_the_files_that_its_manifest_names_and_no_others(tmp_path: Path, name: str) -> None:
    (tmp_path / "saved_model.pb").write_text("graph")
    (tmp_path / "notes.txt").write_text("not read by the graph")
    manifest = replace(_manifest(), files=hash_files(tmp_path))
    assert damage(tmp_path, manifest) == ""
    assert "saved_model.pb" in damage(tmp_path, replace(manifest, files={}))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("more")
    assert name in damage(tmp_path, manifest)
