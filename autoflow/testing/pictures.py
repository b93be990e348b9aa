"""Small synthetic pictures for the checks, whole and broken, made without an imaging library."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from autoflow.data.images import Picture, picture_of

_PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}


def png(pixels: np.ndarray) -> bytes:
    """Returns a PNG file.

    Args:
        pixels: `uint8[h, w, c]`; 1 channel is grey, 2 grey and opacity, 3 colours, 4 colours and opacity.
    """
    height, width, channels = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, _PNG_COLOURS[channels], 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    chunks = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def bmp(pixels: np.ndarray) -> bytes:
    """Returns a Windows bitmap from `uint8[h, w, 3]`."""
    height, width, _ = pixels.shape
    stride = -(-width * 3 // 4) * 4
    rows = np.zeros((height, stride), np.uint8)
    rows[:, : width * 3] = pixels[::-1, :, ::-1].reshape(height, -1)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, rows.size, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + rows.size, 0, 0, 54) + header + rows.tobytes()


def drawn_pixels(random: np.random.Generator, channels: int = 3) -> np.ndarray:
    """Returns a bright box on a dark ground, `uint8[h, w, channels]` of some size from 9 to 40."""
    height, width = random.integers(9, 40, 2)
    pixels = random.integers(0, 60, (height, width, channels)).astype(np.uint8)
    top, left = random.integers(0, (height // 2, width // 2))
    pixels[top : top + height // 2, left : left + width // 2] += np.uint8(150)
    return pixels


def training_pictures(num_rows: int) -> np.ndarray:
    """Returns `object[n]` of Picture: PNG in grey, colours and with opacity, and bitmaps."""
    random = np.random.default_rng(7)
    kinds = [1, 3, 4, 2]
    return _array(
        [
            picture_of(
                bmp(drawn_pixels(random)) if row % 5 == 4 else png(drawn_pixels(random, kinds[row % 4]))
            )
            for row in range(num_rows)
        ]
    )


def strange_pictures() -> np.ndarray:
    """Returns `object[n]` of Picture: missing, empty, cut off, of no known format, a pixel, and a long one.

    Some that a first look would refuse are let through, as a request to a server would bring them.
    """
    random = np.random.default_rng(8)
    whole = png(drawn_pixels(random))
    refused = [whole[: len(whole) // 2], whole[:40], b"GIF89a", b"\xff\xd8\xff\xe0", b"<svg/>", b"\0"]
    good = [whole, png(np.full((1, 1, 1), 7, np.uint8)), png(np.zeros((3, 300, 4), np.uint8))]
    return _array(
        [
            Picture(),
            *[Picture(digest=f"strange {number}", content=content) for number, content in enumerate(refused)],
            *map(picture_of, good),
        ]
    )


def _array(found: list[Picture]) -> np.ndarray:
    values = np.empty(len(found), object)
    values[:] = found
    return values
