"""Decoded pictures: the same in training and in serving, and what is black, white, small or refused."""

from __future__ import annotations

import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from autoflow.components.feature_extraction import _gif_frames, _pictures
from autoflow.components.feature_extraction._pictures import pixels, pixels_graph
from autoflow.components.feature_extraction.pixel_values import PixelValues
from autoflow.data import picture_headers
from autoflow.data.images import Picture, picture_of
from autoflow.errors import MachineError
from autoflow.testing.pictures import bmp, drawn_pixels, png

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from picture_files import BOMBS, PICTURES, gif, stated

FILES = sorted(path for path in PICTURES.iterdir() if path.suffix != ".md")
UNREAD = {"palette.bmp", "moving.webp"}
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 40), (40, 60, 210), (240, 230, 60)


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """No test finds the pictures of another one decoded."""
    monkeypatch.setattr(_pictures, "_kept", _pictures.KeptGrids(_pictures.KEPT_BYTES))


def objects(values) -> np.ndarray:
    found = np.empty(len(values), object)
    found[:] = values
    return found


def trained(contents: list[bytes], size: int = 16, channels: int = 3) -> np.ndarray:
    return pixels(objects([picture_of(content) for content in contents]), size, channels)


def served(contents: list[bytes], size: int = 16, channels: int = 3) -> np.ndarray:
    return _pictures._traced(size, channels)(objects(contents)).numpy()


def quarters(grid: np.ndarray) -> list[np.ndarray]:
    """Returns the colours in the middle of the four quarters, row by row."""
    near, far = len(grid) // 4, len(grid) * 3 // 4
    return [grid[y, x].astype(int) for y in (near, far) for x in (near, far)]


def close(found: np.ndarray, expected, margin: float) -> bool:
    return bool(np.abs(np.asarray(found, float) - np.asarray(expected, float)).max() <= margin)


# --- training and serving ----------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "channels"), [(16, 3), (7, 1), (40, 3)])
def test_training_and_serving_see_the_same(size, channels):
    contents = [path.read_bytes() for path in FILES] + [bmp(drawn_pixels(np.random.default_rng(0)))]
    contents += [png(drawn_pixels(np.random.default_rng(seed), 1 + seed % 4)) for seed in range(8)]
    found = trained(contents, size, channels)
    assert found.dtype == np.uint8
    assert found.shape == (len(contents), size, size, channels)
    np.testing.assert_array_equal(served(contents, size, channels), found)
    for row in range(len(contents)):
        np.testing.assert_array_equal(served(contents[row : row + 1], size, channels)[0], found[row])
    black = [path.name for path, grid in zip(FILES, found, strict=False) if not grid.any()]
    assert set(black) == UNREAD


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_damage_is_the_same_in_training_and_in_serving(path):
    """Cut off everywhere, changed in single bytes, and followed by more: never other pixels, no error."""
    content = path.read_bytes()
    random = np.random.default_rng(len(content))
    damaged = [content[:length] for length in range(0, len(content), 5)] + [content[:-1], content[:-2]]
    for _ in range(150):
        changed = bytearray(content)
        for place in random.integers(0, len(content), random.integers(1, 4)):
            changed[place] = random.integers(256)
        damaged.append(bytes(changed))
    damaged += [content + more for more in (b"\0", b"\xff\xd9" * 9, b"\0" * 9000)]
    np.testing.assert_array_equal(served(damaged), trained(damaged))


def test_a_broken_picture_is_black_and_leaves_its_neighbours_alone():
    good = [(PICTURES / name).read_bytes() for name in ("colour.jpg", "palette.png", "lossy.webp")]
    broken = [b"", b"\0", b"<svg/>", good[0][:200], good[1][:-9], b"GIF89a", b"\xff\xd8\xff\xe0", b"BM" * 40]
    mixed = [good[0], *broken[:4], good[1], *broken[4:], good[2]]
    found = served(mixed)
    rows = [0, 5, len(mixed) - 1]
    np.testing.assert_array_equal(found[rows], served(good))
    assert found[rows].any(axis=(1, 2, 3)).all()
    assert not np.delete(found, rows, axis=0).any()
    np.testing.assert_array_equal(trained(mixed), found)


def test_an_empty_batch():
    assert served([]).shape == (0, 16, 16, 3)
    assert trained([]).shape == (0, 16, 16, 3)


def test_missing_is_black():
    found = pixels(objects([Picture(), Picture(problem="not found"), picture_of(b"")]), 8, 3)
    assert not found.any()


# --- what a picture looks like -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "margin"),
    [
        ("colour.jpg", 8),
        ("progressive.jpg", 8),
        ("turned.jpg", 8),
        ("cmyk.jpg", 8),
        ("palette.png", 1),
        ("lossless.webp", 1),
        ("lossy.webp", 8),
        ("moving.gif", 1),
        ("colour.bmp", 1),
        ("alpha.bmp", 1),
    ],
)
def test_every_format_shows_the_four_quarters(name, margin):
    """A turned picture is shown as it is stored, and a moving one by its beginning."""
    (grid,) = served([(PICTURES / name).read_bytes()])
    assert close(quarters(grid), [RED, GREEN, BLUE, YELLOW], margin)


@pytest.mark.parametrize(("name", "margin"), [("grey.jpg", 8), ("grey16.png", 2)])
def test_grey_pictures_are_grey(name, margin):
    (grid,) = served([(PICTURES / name).read_bytes()])
    expected = [[np.dot(colour, _pictures._GREY)] * 3 for colour in (RED, GREEN, BLUE, YELLOW)]
    assert close(quarters(grid), expected, margin)
    (colour, grey) = (served([(PICTURES / "colour.bmp").read_bytes()], 16, c)[0] for c in (3, 1))
    assert close(grey[..., 0], colour @ np.array(_pictures._GREY), 1)


def test_one_bit_pictures_have_black_and_white():
    (grid,) = served([(PICTURES / "one_bit.png").read_bytes()], 48)
    assert grid.min() == 0
    assert grid.max() == 255


@pytest.mark.parametrize("name", ["clear.png", "clear.webp", "palette_alpha.png"])
def test_transparent_parts_lie_on_white(name):
    (grid,) = served([(PICTURES / name).read_bytes()])
    pale = (np.array(YELLOW) + 255) / 2
    assert close(quarters(grid), [(255, 255, 255), GREEN, BLUE, pale], 1)


def test_pictures_of_few_bits_are_opaque():
    """TensorFlow fills the opacity of a PNG that has none with 2**depth - 1, whatever that is of 255."""
    for depth in (1, 2, 4, 8):
        (white, black) = (grey_png(1, 1, depth, bytes([0, shade])) for shade in (256 - 2 ** (8 - depth), 0))
        assert (served([white], 4) == 255).all(), depth
        assert not served([black], 4).any(), depth


def grey_png(width: int, height: int, depth: int, rows: bytes) -> bytes:
    """Returns a grey PNG of 1 to 8 bits a pixel; each row begins with a zero."""
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


def test_a_picture_with_all_of_it_clear_is_white():
    assert (served([png(np.zeros((5, 6, 4), np.uint8))]) == 255).all()


def test_sizes_from_one_pixel_to_long_ones():
    flat = [png(np.full((height, width, 3), 77, np.uint8)) for height, width in ((1, 1), (1, 400), (900, 2))]
    assert (served(flat) == 77).all()


def test_shrinking_takes_the_mean():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert close(served([png(stripes)], 8), 100, 8)


def test_a_large_jpeg_decoded_small_is_near_the_whole_decode():
    y, x = np.mgrid[:300, :420]
    slopes = np.stack([x * 255 // 420, y * 255 // 300, (x + y) * 255 // 720], axis=-1).astype(np.uint8)
    content = tf.io.encode_jpeg(slopes, quality=95).numpy()
    whole = tf.cast(tf.io.decode_jpeg(content), tf.float32)
    for size in (160, 80, 48, 32, 16):  # at a whole, a half, a quarter and an eighth
        expected = tf.image.resize(whole, [size, size], antialias=True).numpy()
        difference = np.abs(served([content], size)[0] - expected)
        assert difference.mean() < 4, size
        assert difference.max() < 16, size


# --- bombs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_cap_holds_for_every_format(path, monkeypatch):
    content = tf.constant([path.read_bytes()])
    num_frames = 2 if path.name == "moving.gif" else 1
    monkeypatch.setattr(_pictures, "MAX_PIXELS", 12 * 16 * num_frames)
    assert pixels_graph(content, 8, 3).numpy().any() == (path.name not in UNREAD)
    monkeypatch.setattr(_pictures, "MAX_PIXELS", 12 * 16 * num_frames - 1)
    assert not pixels_graph(content, 8, 3).numpy().any()


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(kind):
    with pytest.raises(tf.errors.InvalidArgumentError, match="81000000"):
        _pictures._decoded(tf.constant(stated(kind, 9000, 9000)), 8, 3)


def test_a_real_bomb_is_quick_and_black():
    """81 million white pixels in some hundred bytes a megapixel."""
    bomb = grey_png(9000, 9000, 1, (b"\0" + b"\xff" * 1125) * 9000)
    assert len(bomb) < 30_000
    served([b""])
    start = time.perf_counter()
    assert not served([bomb] * 20).any()
    assert time.perf_counter() - start < 1.0
    np.testing.assert_array_equal(trained([bomb]), served([bomb]))


GIFS = {
    "larger frames than its screen": gif((1, 1), (9000, 9000)),
    "many frames": gif((1, 1), (8000, 4000), (8000, 4000), (9, 9)),
    "a wide and a high frame": gif((1, 1), (60_000, 1), (1, 60_000)),
    "too many blocks": gif((1, 1), *[(1, 1)] * 70),
    "two frames": gif((5, 5), (3, 4), (5, 6)),
    "no frame": gif((5, 5)),
    "nothing": b"",
    **{path.name: path.read_bytes() for path in FILES if path.suffix == ".gif"},
}


@pytest.mark.parametrize("name", GIFS)
def test_both_counts_of_a_gif_agree(name, monkeypatch):
    for module in (_gif_frames, picture_headers):
        monkeypatch.setattr(module, "MAX_GIF_BLOCKS", 300)
    content = GIFS[name]
    count = tf.function(_gif_frames.gif_pixels)
    random = np.random.default_rng(3)
    pieces = [content, *(content[:length] for length in random.integers(0, len(content) + 1, 20))]
    for _ in range(20 if content else 0):
        changed = bytearray(content)
        changed[random.integers(min(99, len(content)))] = random.integers(256)
        pieces.append(bytes(changed))
    for piece in pieces:
        assert int(count(tf.constant(piece))) == picture_headers.gif_pixels(piece)


def test_a_gif_of_many_frames_is_not_decoded(monkeypatch):
    content = (PICTURES / "moving.gif").read_bytes()
    small = content[:6] + b"\1\0\1\0" + content[10:]
    monkeypatch.setattr(_pictures, "MAX_PIXELS", 300)
    assert picture_headers.size_of(small) == (1, 1)
    assert not pixels_graph(tf.constant([small]), 8, 3).numpy().any()


# --- decoded once ------------------------------------------------------------------------------------


def test_the_cache_keeps_sizes_and_colours_apart(monkeypatch):
    values = objects([picture_of(path.read_bytes()) for path in FILES])
    wanted = [(16, 3), (16, 1), (8, 3), (8, 1)]
    first = [pixels(values, size, channels) for size, channels in wanted]
    calls = []
    monkeypatch.setattr(_pictures, "_traced", lambda *arguments: calls.append(arguments))
    for (size, channels), expected in zip(wanted, first, strict=True):
        np.testing.assert_array_equal(pixels(values[::-1], size, channels), expected[::-1])
    assert calls == []


def test_what_is_given_out_is_not_what_is_kept():
    values = objects([picture_of((PICTURES / "colour.bmp").read_bytes())])
    first = pixels(values, 8, 3)
    expected = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(pixels(values, 8, 3), expected)


def test_the_cache_forgets_the_oldest(monkeypatch):
    kept = _pictures.KeptGrids(5 * 8 * 8 * 3)
    monkeypatch.setattr(_pictures, "_kept", kept)
    contents = [png(drawn_pixels(np.random.default_rng(seed))) for seed in range(9)]
    np.testing.assert_array_equal(trained(contents, 8), served(contents, 8))
    assert len(kept) == 5
    np.testing.assert_array_equal(trained(contents, 8), served(contents, 8))
    trained(contents, 4)
    assert kept.num_bytes <= 5 * 8 * 8 * 3


def test_a_file_that_is_gone_ends_the_fit_and_is_not_learned_from_as_black(tmp_path):
    (tmp_path / "a.bmp").write_bytes((PICTURES / "colour.bmp").read_bytes())
    value = picture_of((tmp_path / "a.bmp").read_bytes(), str(tmp_path / "a.bmp"))
    (tmp_path / "a.bmp").unlink()
    with pytest.raises(MachineError, match=r"a\.bmp"):
        pixels(objects([value]), 8, 3)


def test_more_pictures_than_are_decoded_at_a_time(monkeypatch):
    monkeypatch.setattr(_pictures, "_CHUNK", 4)
    contents = [png(drawn_pixels(np.random.default_rng(seed))) for seed in range(10)] + [b""]
    np.testing.assert_array_equal(trained(contents, 8), served(contents, 8))


def test_grey_levels_are_the_same_number_in_a_graph():
    """TensorFlow turns a division in a graph into a product, another float; trees tell them apart."""
    grids = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    extractor = PixelValues(size=16, channels=1)
    traced = tf.function(extractor.features, input_signature=[tf.TensorSpec([None, 16, 16, 1], tf.uint8)])
    np.testing.assert_array_equal(
        extractor.features(tf.constant(grids)).numpy(), traced(tf.constant(grids)).numpy()
    )
