"""Pictures: where the cells of an image column point to, and whether a picture can be there.

The bytes stay where they are until an extractor reads them; here they are read once, to name their content
and to find what is missing, cut off, or too large. Decoding is done by the TensorFlow graph of the
extractors, in training as in serving.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autoflow.data.numbers import MISSING_TOKENS
from autoflow.data.picture_headers import (
    format_of,
    gif_pixels,
    is_cut_off,
    is_readable_file,
    is_rotated,
    size_of,
)

MAX_PIXELS = 64_000_000
"""Larger pictures count as broken: a file of some kilobytes can decode to gigabytes."""

_READERS = 8


@dataclass(frozen=True, slots=True)
class Picture:
    """A cell of an image column.

    Args:
        digest: names the content, 32 hexadecimal digits; empty where there is no usable picture.
        path: of the file; empty where the table itself holds the bytes.
        content: the bytes, where the table holds them.
        height: in pixels.
        width: in pixels.
        problem: why there is no usable picture; empty where there is one or where the cell is empty.
        remark: what is odd about a usable one.
    """

    digest: str = ""
    path: str = ""
    content: bytes = b""
    height: int = 0
    width: int = 0
    problem: str = ""
    remark: str = ""

    def read(self) -> bytes:
        """Returns the encoded picture, empty where it is missing or broken or its file is gone by now."""
        if not self.digest or not self.path:
            return self.content if self.digest else b""
        try:
            return Path(self.path).read_bytes()
        except OSError:
            return b""


def picture_of(content: bytes, path: str = "") -> Picture:
    """Returns a picture from its bytes, which it keeps unless they lie in a file.

    Args:
        content: JPEG, PNG, GIF, BMP or WebP, told by the bytes themselves; anything else is a problem.
        path: of the file that holds them.
    """
    if not content:
        return Picture(path=path, problem="empty")
    height, width = size_of(content)
    problem = _problem(content, height, width)
    if problem:
        return Picture(path=path, problem=problem)
    remark = "turned by EXIF" if is_rotated(content) else ""
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    return Picture(digest, path, b"" if path else content, height, width, remark=remark)


def pictures(as_read: pa.Array, folder: Path) -> np.ndarray:
    """Returns `object[n]` of `Picture` for the cells of an image column.

    Args:
        as_read: strings, the paths of files in `folder`; or the bytes of pictures.
        folder: paths are relative to it and may not leave it.
    """
    encoded = as_read.dictionary_encode()
    cells = encoded.dictionary.to_pylist()
    with ThreadPoolExecutor(_READERS) as readers:
        if is_bytes(as_read.type):
            pool = list(readers.map(lambda cell: picture_of(cell) if cell else Picture(), cells))
        else:
            root = os.path.realpath(folder)
            pool = list(readers.map(lambda cell: _from_file(cell.strip(), root), cells))
    found = np.empty(len(pool) + 1, object)
    found[:] = [*pool, Picture()]
    codes = pc.fill_null(encoded.indices, len(pool)).to_numpy(zero_copy_only=False)
    return found[codes]


def picture_bytes(values: Iterable[Picture | bytes]) -> np.ndarray:
    """Returns `object[n]` of bytes, `b""` where there is no usable picture; bytes stay what they are."""
    read = [value if isinstance(value, bytes) else value.read() for value in values]
    contents = np.empty(len(read), object)
    contents[:] = read
    return contents


def picture_digests(values: Iterable[Picture]) -> np.ndarray:
    """Returns `object[n]` of str: equal for equal pictures, `""` where there is none."""
    return np.array([value.digest for value in values], object)


def is_bytes(kind: pa.DataType) -> bool:
    """Tells whether an Arrow type is that of byte strings."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def holds_pictures(as_read: pa.Array) -> bool:
    """Tells whether a column of bytes holds pictures, judged by some of its first cells."""
    few = as_read.slice(0, 1000).drop_null().slice(0, 100).to_pylist()
    return bool(few) and sum(bool(format_of(cell)) for cell in few) >= 0.5 * len(few)


def any_in(cells: Sequence[str], folder: Path) -> bool:
    """Tells whether one of some paths is a file in the folder."""
    root = os.path.realpath(folder)
    return any(_located(cell.strip(), root) is not None for cell in cells)


def _from_file(cell: str, root: str) -> Picture:
    if cell in MISSING_TOKENS:
        return Picture()
    path = _located(cell, root)
    if path is None:
        return Picture(path=cell, problem=_why_not(cell, root))
    try:
        return picture_of(Path(path).read_bytes(), path)
    except OSError as error:
        return Picture(path=cell, problem=f"not readable ({error.strerror})")


def _located(cell: str, root: str) -> str | None:
    """Returns the real path of a file below the root; None where there is none, or elsewhere."""
    if "\0" in cell or os.path.isabs(cell):
        return None
    path = os.path.realpath(os.path.join(root, cell))
    return path if not _is_outside(path, root) and os.path.isfile(path) else None


def _why_not(cell: str, root: str) -> str:
    place = os.path.join(root, cell)
    if os.path.isabs(cell) or ("\0" not in cell and _is_outside(os.path.realpath(place), root)):
        return "outside the folder of the pictures"
    return "no file" if os.path.lexists(place) else "not found"


def _is_outside(path: str, root: str) -> bool:
    return not path.startswith(root.rstrip(os.sep) + os.sep)


def _problem(content: bytes, height: int, width: int) -> str:
    kind = format_of(content)
    if not kind:
        return "not a picture (JPEG, PNG, GIF, BMP and WebP are known)"
    if max(height * width, gif_pixels(content) if kind == "gif" else 0) > MAX_PIXELS:
        return f"larger than {MAX_PIXELS // 10**6} megapixels"
    if not height or not width or is_cut_off(content):
        return "cut off or damaged"
    return "" if is_readable_file(content) else "a bitmap with a palette or a moving WebP, which are not read"
