"""Paths that try to leave the folder of the pictures: none is read, however it is written."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from autoflow.data.images import any_in, pictures
from autoflow.testing.pictures import drawn_pixels, png

OUTSIDE = "outside the folder of the pictures"
BEFORE = ("", "./", " ", "\t", ".//", "sub/../", "sub/./../", "sub//..//", "sub/deep/../../", "./sub/.././")
ESCAPES = (
    "../secret.png",
    "..//secret.png",
    ".././secret.png",
    "../photos/../secret.png",
    "../photos2/1.png",
    "../gone.png",
    "..",
    "../",
    "link.png",
    "chain.png",
    "linked/secret.png",
    "linked/photos2/1.png",
)
ABSOLUTE = (
    "/etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "//etc/passwd",
    "/./etc/passwd",
    "/",
    " /etc/passwd",
)
DISGUISED = (
    "~/secret.png",
    "$HOME/secret.png",
    "file:///etc/passwd",
    "http://localhost/secret.png",
    "..\\secret.png",
    "C:\\secret.png",
    "\\\\server\\share\\secret.png",
    "%2e%2e/secret.png",
    "..%2fsecret.png",
    "..%c0%afsecret.png",
    "....//secret.png",
    "..;/secret.png",
    "\u2024\u2024/secret.png",
    "\uff0e\uff0e/secret.png",
    "..\u2215secret.png",
    "../secret.png\0.png",
    "1.png\0/../../secret.png",
    "..\0/secret.png",
    "`cat ../secret.png`",
    "$(cat ../secret.png)",
    "x" * 5000 + "/../../secret.png",
)
"""What some program would take for the way out; here these are names of files that are not there."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of pictures with links out of it, beside what nobody may see."""
    picture = png(drawn_pixels(np.random.default_rng(0)))
    inside, beside = tmp_path / "photos", tmp_path / "photos2"
    (inside / "sub" / "deep").mkdir(parents=True)
    beside.mkdir()
    for path in (tmp_path / "secret.png", beside / "1.png", inside / "1.png"):
        path.write_bytes(picture)
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "chain.png").symlink_to("link.png")
    (inside / "linked").symlink_to(tmp_path)
    return inside


def test_no_path_leaves_its_folder(folder, monkeypatch):
    opened = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: opened.append(self) or read(self))
    ways_out = [before + escape for before, escape in product(BEFORE, ESCAPES)]
    ways_out += [*ABSOLUTE, str(folder.parent / "secret.png"), str(folder / "1.png")]
    assert len(set(ways_out)) > 100
    for cell, picture in zip(ways_out, pictures(pa.array(ways_out), folder), strict=True):
        assert (picture.problem, picture.digest, picture.read()) == (OUTSIDE, "", b""), cell
    for cell, picture in zip(DISGUISED, pictures(pa.array(DISGUISED), folder), strict=True):
        assert picture.problem in (OUTSIDE, "not found"), cell
        assert picture.read() == b"", cell
    assert not any_in([*ways_out, *DISGUISED], folder)
    assert opened == []
    (inside,) = pictures(pa.array(["sub/../1.png"]), folder)
    assert inside.read()
    assert set(opened) == {folder / "1.png"}
