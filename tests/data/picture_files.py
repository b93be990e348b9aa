"""Pictures for tests: small real files of many formats, and the beginnings of others that claim any size."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

PICTURES = Path(__file__).parent / "pictures"
BOMBS = ["jpeg", "png", "gif", "bmp", "webp lossy", "webp lossless", "webp extended"]


def riff(name: bytes, body: bytes) -> bytes:
    chunk = b"WEBP" + name + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(chunk)) + chunk


def stated(kind: str, width: int, height: int) -> bytes:
    """Returns the beginning of a file of that size, and as much more as makes it look whole."""
    if kind == "jpeg":
        frame_header = struct.pack(">HBHHBBBB", 11, 8, height, width, 1, 1, 0x11, 0)
        return b"\xff\xd8\xff\xc0" + frame_header + b"\xff\xda\0\x08\x01\x01\0\0?\0\0\xff\xd9"
    if kind == "png":
        header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        end = b"\0\0\0\0IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
        return b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header)) + end
    if kind == "gif":
        return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b";"
    if kind == "bmp":
        return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, *[0] * 6)
    if kind == "webp lossy":
        return riff(b"VP8 ", b"\x30\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height) + b"\0" * 20)
    if kind == "webp lossless":
        return riff(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\0" * 20)
    sides = b"".join(struct.pack("<I", side - 1)[:3] for side in (width, height))
    return riff(b"VP8X", b"\0\0\0\0" + sides + b"\0" * 20)


def gif(screen: tuple[int, int], *frames: tuple[int, int]) -> bytes:
    """Returns a GIF whose frames, between comments and with palettes of their own, hold hardly a pixel."""
    parts = [b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\0" * 6]
    for width, height in frames:
        parts.append(b"\x21\xfe\x02hi\x01,\0")
        parts.append(
            b"," + struct.pack("<HHHHB", 0, 0, width, height, 0x81) + b"\0" * 12 + b"\x02\x02\x4c\x01\0"
        )
    return b"".join(parts) + b";"
