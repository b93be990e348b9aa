"""What the first bytes of a picture file say: format, size, and whether the file is whole.

Sizes are plain arithmetic on bytes, so that the graph of the extractors computes them with the same lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

HEADER_BYTES = 32
"""Enough of a file to tell the size of all formats but JPEG."""
JPEG_START = b"\xff\xd8\xff"
FORMATS: dict[str, tuple[bytes, int, bytes]] = {
    "png": (b"\x89PNG\r\n\x1a\n", 0, b""),
    "gif": (b"GIF8", 0, b""),
    "bmp": (b"BM", 0, b""),
    "webp lossy": (b"RIFF", 8, b"WEBPVP8 "),
    "webp lossless": (b"RIFF", 8, b"WEBPVP8L"),
    "webp extended": (b"RIFF", 8, b"WEBPVP8X"),
}
"""How a file of each format but JPEG begins: its first bytes, and what stands at a further offset."""

GIF_START = 13
"""Where the palette or the first block of a GIF stands."""
GIF_IMAGE, GIF_EXTENSION = 0x2C, 0x21
MAX_GIF_BLOCKS = 40_000
"""Blocks of a GIF that are looked at, most of them of 255 bytes; it would take long to go through more."""
TOO_MANY_PIXELS = 2**62
"""What a GIF of more blocks counts as."""

_NO_SEGMENT = (0x00, 0x01, 0xFF, *range(0xD0, 0xD9))
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ROTATED = frozenset(range(2, 9))
_JPEG_END = b"\xff\xd9"
_PNG_END = b"IEND\xaeB`\x82"


def format_of(content: bytes) -> str:
    """Returns `"jpeg"`, a key of `FORMATS`, or `""` for anything else; file names do not matter."""
    if content.startswith(JPEG_START):
        return "jpeg"
    for name, (start, offset, more) in FORMATS.items():
        if content.startswith(start) and content[offset : offset + len(more)] == more:
            return name
    return ""


def size_of(content: bytes) -> tuple[int, int]:
    """Returns height and width in pixels as the file states them; zeros where it states none."""
    kind = format_of(content)
    if kind == "jpeg":
        return _jpeg_size(content)
    if not kind:
        return 0, 0
    return header_size(_header(content), kind)


def header_size(header: Sequence[Any], kind: str) -> tuple[Any, Any]:
    """Returns height and width that the header of a file states.

    Args:
        header: its first 32 bytes as integers, or as TensorFlow scalars `int64` while a graph is traced.
        kind: a key of `FORMATS`.
    """
    if kind == "png":
        return _big(header[20:24]), _big(header[16:20])
    if kind == "gif":
        return _little(header[8:10]), _little(header[6:8])
    if kind == "bmp":  # the height is negative where the rows are stored from the top
        height = _little(header[22:26])
        return abs(height - 2**32 * (height // 2**31)), _little(header[18:22])
    if kind == "webp lossy":
        return _little(header[28:30]) % 2**14, _little(header[26:28]) % 2**14
    if kind == "webp lossless":
        bits = _little(header[21:25])
        return bits // 2**14 % 2**14 + 1, bits % 2**14 + 1
    return _little(header[27:30]) + 1, _little(header[24:27]) + 1


def is_readable(header: Sequence[Any], kind: str) -> Any:
    """Tells whether this variant of a format is read, a `bool` or a TensorFlow scalar.

    Bitmaps are read that hold colours and not numbers of a palette, WebP that holds a single picture:
    TensorFlow 2.21 takes the numbers for shades, and writes past its memory where a WebP moves.

    Args:
        header: as for `header_size`.
        kind: a key of `FORMATS`.
    """
    if kind == "bmp":
        bits = _little(header[28:30])
        return (bits == 24) | (bits == 32)
    return header[20] // 2 % 2 == 0 if kind == "webp extended" else True


def is_readable_file(content: bytes) -> bool:
    """Tells the same as `is_readable` of a file of a known format."""
    kind = format_of(content)
    return kind == "jpeg" or bool(is_readable(_header(content), kind))


def gif_pixels(content: bytes) -> int:
    """Returns the pixels that decoding a GIF takes room for, by its header and all its frames.

    Args:
        content: the file, whole or not (GIF89a specification, W3C).
    """
    numbers = content + bytes(GIF_START)
    last = len(numbers) - 1

    def at(place: int, count: int = 1) -> int:
        return sum(numbers[min(place + number, last)] * 256**number for number in range(count))

    def palette(flags: int) -> int:
        return 3 * 2 ** (flags % 8 + 1) if flags >= 128 else 0

    width, height, total = at(6, 2), at(8, 2), 0
    place, in_data = GIF_START + palette(at(10)), False
    for _ in range(MAX_GIF_BLOCKS + 1):
        code = at(place)
        if in_data:
            place, in_data = place + 1 + code, code > 0
        elif code == GIF_IMAGE:
            wide, high = at(place + 5, 2), at(place + 7, 2)
            width, height, total = max(width, wide), max(height, high), total + wide * high
            place, in_data = place + 11 + palette(at(place + 9)), True
        elif code == GIF_EXTENSION:
            place, in_data = place + 2, True
        else:
            return max(total, width * height)
    return TOO_MANY_PIXELS


def is_cut_off(content: bytes) -> bool:
    """Tells whether the end of the file is missing, where the format shows it; more may follow the end."""
    kind = format_of(content)
    if kind == "jpeg":
        return content.find(_JPEG_END, _jpeg_scan(content)) < 0
    if kind == "png":
        return _PNG_END not in content
    if kind.startswith("webp"):
        return len(content) < _little(content[4:8]) + 8
    if kind == "bmp":
        height, width = size_of(content)
        bits = _little(content[28:30])
        last_row = _little(content[10:14]) + (height - 1) * (-(-width * bits // 32) * 4)
        return len(content) < last_row + width * bits // 8
    return False


def is_rotated(content: bytes) -> bool:
    """Tells whether EXIF says that a JPEG should be shown turned or mirrored (tag 0x0112, CIPA DC-008)."""
    if not content.startswith(JPEG_START):
        return False
    for marker, begin, end in _jpeg_segments(content):
        if marker != 0xE1 or not content.startswith(b"Exif\0\0", begin):
            continue
        body = content[begin + 6 : end]
        number = _big if body[:2] == b"MM" else _little
        start = number(body[4:8])
        for entry in range(start + 2, start + 2 + 12 * number(body[start : start + 2]), 12):
            if number(body[entry : entry + 2]) == 0x0112:
                return number(body[entry + 8 : entry + 10]) in _ROTATED
    return False


def _header(content: bytes) -> list[int]:
    return list(content[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0"))


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Returns height and width from the first frame header (ITU T.81, B.2.2), zeros where there is none."""
    for marker, begin, end in _jpeg_segments(content):
        if marker in _FRAMES and end - begin >= 5:
            return _big(content[begin + 1 : begin + 3]), _big(content[begin + 3 : begin + 5])
    return 0, 0


def _jpeg_scan(content: bytes) -> int:
    """Returns where the first scan begins; a thumbnail before it has an end of its own."""
    return next((end for marker, _, end in _jpeg_segments(content) if marker == 0xDA), len(content))


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields the marker of each segment up to the first scan, and where its content begins and ends.

    Bytes between segments are skipped, as libjpeg does, so that both see the same picture in a damaged file.
    """
    position = content.find(b"\xff", 2)
    while position >= 0 and position + 4 <= len(content):
        marker = content[position + 1]
        if marker in _NO_SEGMENT:
            position = content.find(b"\xff", position + (1 if marker == 0xFF else 2))
            continue
        length = max(2, _big(content[position + 2 : position + 4]))
        yield marker, position + 4, position + 2 + length
        if marker == 0xDA:
            return
        position = content.find(b"\xff", position + 2 + length)


def _big(numbers: Sequence[Any]) -> Any:
    return sum(number * 256**place for place, number in enumerate(reversed(numbers)))


def _little(numbers: Sequence[Any]) -> Any:
    return sum(number * 256**place for place, number in enumerate(numbers))
