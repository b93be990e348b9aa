"""What counts as a picture: formats by content, damage, bombs, and the marks of EXIF."""

import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from picture_files import BOMBS, PICTURES, gif, stated

from autoflow.data.images import Picture, picture_of, pictures
from autoflow.testing.pictures import bmp, drawn_pixels, png


def drawn(number: int) -> bytes:
    return png(drawn_pixels(np.random.default_rng(number)))


def from_cells(cells: list[str], folder: Path) -> list[Picture]:
    return list(pictures(pa.array(cells, pa.string()), folder))


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.*")), ids=lambda path: path.name)
def test_the_content_tells_the_format(path):
    if path.suffix == ".md":
        assert "not a picture" in picture_of(path.read_bytes()).problem
        return
    picture = picture_of(path.read_bytes(), "called.xyz")
    unread = path.name in ("palette.bmp", "moving.webp")
    assert picture.problem == (
        "a bitmap with a palette or a moving WebP, which are not read" if unread else ""
    )
    assert (picture.height, picture.width) == ((0, 0) if unread else (12, 16))
    assert picture.remark == ("turned by EXIF" if path.stem == "turned" else "")


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.*")), ids=lambda path: path.name)
def test_no_piece_of_a_file_stops_the_look_at_it(path):
    content = path.read_bytes()
    for length in range(len(content)):
        piece = content[:length]
        assert picture_of(piece).problem or (path.suffix == ".gif" and length > 8), length
        picture_of(piece + b"\xff" * (len(content) - length))


@pytest.mark.parametrize("name", ["colour.jpg", "progressive.jpg", "clear.png", "lossy.webp"])
def test_more_after_the_end_does_no_harm(name):
    """Phones append films to photos."""
    content = (PICTURES / name).read_bytes()
    assert picture_of(content + b"\0" * 100_000).problem == ""


def test_a_thumbnail_does_not_make_a_photo_whole():
    content = (PICTURES / "colour.jpg").read_bytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
    whole = content[:2] + segment + content[2:]
    assert picture_of(whole).problem == ""
    assert (picture_of(whole).height, picture_of(whole).width) == (12, 16)
    assert picture_of(whole[:-20]).problem == "cut off or damaged"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"\0", "not a picture"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', "not a picture"),
        (b"%PDF-1.7 and so on", "not a picture"),
        (b"II*\0 a TIFF", "not a picture"),
        (b"RIFF\x20\0\0\0WAVEfmt ", "not a picture"),
        (b"GIF89a", "cut off"),
        (b"\xff\xd8\xff\xe0", "cut off"),
        (drawn(1)[:-30], "cut off"),
        (bmp(drawn_pixels(np.random.default_rng(1)))[:-30], "cut off"),
        (stated("png", 0, 9), "cut off or damaged"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else "",
)
def test_what_is_no_picture(content, problem, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    (found,) = from_cells(["a.png"], tmp_path)
    assert found.problem.startswith(problem)
    assert (found.digest, found.read()) == ("", b"")
    assert picture_of(content).problem == found.problem


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_told_by_its_header(kind):
    content = stated(kind, 9000, 9000)
    assert len(content) < 100
    assert picture_of(content).problem == "larger than 64 megapixels"
    assert "larger" not in picture_of(stated(kind, 8000, 8000)).problem


@pytest.mark.parametrize(
    ("screen", "frames", "large"),
    [
        ((1, 1), [(1, 1)], False),
        ((1, 1), [(1, 1), (9000, 9000)], True),
        ((1, 1), [(8000, 8000)], False),
        ((1, 1), [(8000, 4000), (8000, 4000), (9, 9)], True),
        ((1, 1), [(9000, 1), (1, 9000)], True),
        ((1, 1), [(1, 1)] * 21_000, True),
    ],
)
def test_the_frames_of_a_gif_count(screen, frames, large):
    """TensorFlow decodes all of them."""
    assert ("larger" in picture_of(gif(screen, *frames)).problem) == large


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("orientation", [1, 3, 8, 9])
def test_the_exif_mark_of_either_byte_order(order, orientation):
    entries = [struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"abc\0")]
    entries.append(struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0))
    start = b"II*\0" if order == "<" else b"MM\0*"
    body = b"Exif\0\0" + start + struct.pack(f"{order}IH", 8, 2) + b"".join(entries)
    whole = (PICTURES / "colour.jpg").read_bytes()
    content = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + whole[2:]
    assert bool(picture_of(content).remark) == (orientation in (3, 8))
