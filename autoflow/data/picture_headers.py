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

_STAND_ALONE = (0x01, *range(0xD0, 0xD9))
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ROTATED = frozenset(range(2, 9))
_TAIL = 4096


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
    return header_size(list(content[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0")), kind)


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


def is_cut_off(content: bytes) -> bool:
    """Tells whether the end of the file is missing, where the format shows it."""
    kind = format_of(content)
    if kind == "jpeg":  # phones append videos, and a thumbnail before the scan has an end of its own
        return b"\xff\xd9" not in content[_scan_start(content) :]
    if kind == "png":
        return b"IEND" not in content[-_TAIL:]
    if kind.startswith("webp"):
        return len(content) < _little(content[4:8]) + 8
    return False


def is_rotated(content: bytes) -> bool:
    """Tells whether EXIF says that a JPEG should be shown turned or mirrored (tag 0x0112, CIPA DC-008)."""
    if not content.startswith(JPEG_START):
        return False
    for marker, segment in _jpeg_segments(content):
        if marker != 0xE1 or not segment.startswith(b"Exif\0\0"):
            continue
        body = segment[6:]
        number = _big if body[:2] == b"MM" else _little
        start = number(body[4:8])
        for entry in range(start + 2, start + 2 + 12 * number(body[start : start + 2]), 12):
            if number(body[entry : entry + 2]) == 0x0112:
                return number(body[entry + 8 : entry + 10]) in _ROTATED
    return False


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Returns height and width from the first frame header (ITU T.81, B.2.2), zeros where there is none."""
    for marker, segment in _jpeg_segments(content):
        if marker in _FRAMES and len(segment) >= 5:
            return _big(segment[1:3]), _big(segment[3:5])
    return 0, 0


def _scan_start(content: bytes) -> int:
    """Returns where the pixels of a JPEG begin; its length where there are none."""
    position = 2
    for marker, segment in _jpeg_segments(content):
        position = content.index(segment, position) + len(segment)
        if marker == 0xDA:
            return position
    return len(content)


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    position = 2
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker in _STAND_ALONE or marker == 0xFF:
            position += 1 if marker == 0xFF else 2
            continue
        length = _big(content[position + 2 : position + 4])
        yield marker, content[position + 4 : position + 2 + length]
        if marker == 0xDA or length < 2:
            return
        position += 2 + length


def _big(numbers: Sequence[Any]) -> Any:
    return sum(number * 256**place for place, number in enumerate(reversed(numbers)))


def _little(numbers: Sequence[Any]) -> Any:
    return sum(number * 256**place for place, number in enumerate(numbers))
