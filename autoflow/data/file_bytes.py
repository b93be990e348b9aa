"""The bytes of a file, whole and unpacked, or a plain message: missing files, pipes, archives, bombs.

What the bytes mean is asked in `sniffing` and `reading`.
"""

from __future__ import annotations

import gzip
import io
import os
import select
import stat
import zlib
from pathlib import Path

from autoflow.errors import DataError, near_names

_TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".gz")
_PIPE_SECONDS = 60.0
_WRITER_SECONDS = 5.0
_CHUNK_BYTES = 2**24
_LARGE_BYTES = 2**28
_MOST_UNPACKED = 200
"""Tables of text pack to a fifth or, with many equal rows, to a fiftieth; zeros pack to a thousandth."""


def read_bytes(path: Path) -> bytes:
    """Returns the bytes of a local file, or what comes out of a pipe.

    Raises:
        DataError: there is no such file, it is no file, it cannot be read, or it changed meanwhile.
    """
    if "://" in str(path) or str(path).startswith(("http:/", "https:/", "s3:/", "gs:/")):
        raise DataError(f"{path}: AutoFlow reads local files. Download the table first, then name the file.")
    try:
        before = path.stat()
        if stat.S_ISFIFO(before.st_mode):
            return _read_pipe(path)
        if stat.S_ISDIR(before.st_mode):
            raise DataError(f"{path}: this is a folder. Name one table in a file{_tables_in(path)}.")
        if not stat.S_ISREG(before.st_mode):  # a device may never end
            raise DataError(f"{path}: this is a device or a socket. Name a table in a file.")
        data = path.read_bytes()
        after = path.stat()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file{_near_files(path)}") from None
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read ({error.strerror or error}).") from None
    if (before.st_size, before.st_mtime_ns, before.st_ino) != (
        after.st_size,
        after.st_mtime_ns,
        after.st_ino,
    ):
        raise DataError(f"{path}: the file changed while it was read. Wait until it is whole, then repeat.")
    return data


def is_gzip(data: bytes) -> bool:
    """Tells whether the bytes are gzip-compressed."""
    return data[:2] == b"\x1f\x8b"


def unpacked(name: str, data: bytes) -> bytes:
    """Returns what a gzip archive holds.

    Args:
        name: of the file, for messages.
        data: the archive.

    Raises:
        DataError: it is damaged, or holds far more than a table would.
    """
    limit = max(_LARGE_BYTES, _MOST_UNPACKED * len(data))
    parts, size = [], 0
    try:
        with gzip.open(io.BytesIO(data)) as archive:
            while part := archive.read(_CHUNK_BYTES):
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise DataError(
                        f"{name}: the gzip archive of {len(data):,} bytes unpacks to more than {limit:,}, as "
                        "no table does. Unpack it yourself if it is one."
                    )
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name}: the gzip archive is damaged ({error}). Fetch or pack it again.") from None
    return b"".join(parts)


def _read_pipe(path: Path) -> bytes:
    """Reads to the end; a plain open would wait for ever where nobody writes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    parts: list[bytes] = []
    try:
        ready = select.poll()
        ready.register(descriptor, select.POLLIN)
        while ready.poll(1000 * (_PIPE_SECONDS if parts else _WRITER_SECONDS)):
            part = os.read(descriptor, _CHUNK_BYTES)
            if not part:
                return b"".join(parts)
            parts.append(part)
    finally:
        os.close(descriptor)
    raise DataError(
        f"{path}: this is a pipe, and nothing more comes out of it. Write the table to a file, then name "
        "that file."
    )


def _tables_in(folder: Path) -> str:
    tables = [file.name for file in sorted(folder.iterdir()) if file.suffix in _TABLE_SUFFIXES]
    return f", such as {', '.join(tables[:3])}" if tables else ""


def _near_files(path: Path) -> str:
    """Returns the end of a sentence about a missing file."""
    try:
        names = [file.name for file in sorted(path.parent.iterdir()) if file.suffix in _TABLE_SUFFIXES]
    except OSError:
        return f" (the folder {path.parent} does not exist either)."
    near = near_names(path.name, names) if names else ""
    return f"; {near}" + ("" if near.endswith("?") else ".") if near else "."
