"""Says what the bytes of a file are: its true format, its encoding, its delimiter.

Formats go by content, never by name. Nothing here reads whole tables.
"""

from __future__ import annotations

import codecs
import csv
import io
from enum import Enum

from autoflow.errors import DataError, UsageError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_SAMPLE_CHARACTERS = 200_000
_SAMPLE_RECORDS = 200
_SAMPLE_BYTES = 65_536
_CONTROLS = bytes(code for code in range(1, 32) if code not in b"\t\n\v\f\r\x1b")
_MOST_CONTROLS = 0.01


class FileFormat(Enum):
    """The formats that AutoFlow reads."""

    DELIMITED = "delimited text"
    JSON = "JSON"
    PARQUET = "Parquet"


_EXPORT = "save it as CSV or Parquet first"
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x05\x06", "an empty zip archive", "name the table itself"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)", _EXPORT),
    (b"%PDF", "a PDF document", _EXPORT),
    (b"\x89PNG", "a PNG picture", "name a table"),
    (b"\xff\xd8\xff", "a JPEG picture", "name a table"),
    (b"GIF8", "a GIF picture", "name a table"),
    (b"SQLite format 3", "an SQLite database", _EXPORT),
    (b"ARROW1", "an Arrow/Feather file", _EXPORT),
    (b"ORC", "an ORC file", _EXPORT),
    (b"Obj\x01", "an Avro file", _EXPORT),
    (b"\x89HDF", "an HDF5 file", _EXPORT),
    (b"\x93NUMPY", "a NumPy array", _EXPORT),
    (b"BZh", "a bzip2 archive", "unpack it first, or pack it with gzip"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first, or pack it with gzip"),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive", "unpack it first, or pack it with gzip"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first, or pack it with gzip"),
    (b"Rar!", "a rar archive", "unpack it first, or pack it with gzip"),
    (b"\x7fELF", "a program", "name a table"),
)
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def file_format(name: str, data: bytes) -> FileFormat:
    """Returns the format of the content.

    Args:
        name: of the file, for messages.
        data: its bytes, unpacked.

    Raises:
        DataError: the content is no table that AutoFlow reads; the message says what it is.
    """
    if data[:4] == b"PAR1":
        return FileFormat.PARQUET
    for magic, what, remedy in _FOREIGN:
        if data.startswith(magic):
            raise DataError(f"{name}: this is {what}, not a table of text; {remedy}.")
    if data.startswith(b"PK\x03\x04"):
        if b"xl/" in data[:4000] or b"xl/workbook" in data[-100_000:]:
            raise DataError(f"{name}: this is an Excel workbook (.xlsx), not a table of text; {_EXPORT}.")
        raise DataError(f"{name}: this is a zip archive, not a table of text; unpack it first.")
    if data[257:262] == b"ustar":
        raise DataError(f"{name}: this is a tar archive, not a table of text; unpack it first.")
    start = data[:1000].lstrip(codecs.BOM_UTF8).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        raise DataError(
            f"{name}: this is an HTML page, not a table of text; a download may have stored an error or "
            "log-in page. Fetch the file itself."
        )
    if start.startswith((b"<?xml", b"<svg")):
        raise DataError(f"{name}: this is an XML document, not a table of text; {_EXPORT}.")
    if start.startswith(b"{\\rtf"):
        raise DataError(f"{name}: this is a rich-text document, not a table of text; {_EXPORT}.")
    if start.startswith(b"{") or (start.startswith(b"[") and start[1:].lstrip()[:1] in (b"{", b"]")):
        return FileFormat.JSON
    return FileFormat.DELIMITED


def to_utf8(name: str, data: bytes, encoding: str | None) -> tuple[bytes, str]:
    """Returns the text as UTF-8 without byte order mark, and a note about the encoding (may be empty).

    Args:
        name: of the file, for messages.
        data: the bytes.
        encoding: as given by the user; None to try byte order marks, then UTF-8.

    Raises:
        UsageError: no such encoding is known.
        DataError: the text cannot be read in this encoding, or holds NUL bytes.
    """
    note = ""
    if encoding is None:
        for mark, marked in _BYTE_ORDER_MARKS:
            if data.startswith(mark):
                encoding, note = marked, f"encoding {marked}, from its byte order mark"
                break
    try:
        text = data.decode(encoding or "utf-8")
        if encoding is not None and codecs.lookup(encoding).name not in ("utf-8", "ascii"):
            data = text.encode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        if encoding is None:
            _refuse_binary(name, data)
            raise DataError(
                f"{name}, line {line}: the text is not UTF-8. Say how it is encoded, for instance "
                "--encoding cp1252 (Western Windows), cp932 (Japanese Windows) or latin-1."
            ) from None
        raise DataError(
            f"{name}, line {line}: the text cannot be read as {encoding} ({error.reason}). "
            "Name another encoding with --encoding."
        ) from None
    except UnicodeEncodeError:  # some encodings write halves of characters, which UTF-8 cannot
        raise DataError(
            f"{name}: read as {encoding}, the text holds halves of characters (lone surrogates). "
            "Name another encoding with --encoding."
        ) from None
    except (LookupError, ValueError):  # Python answers a NUL in the name with the latter
        raise UsageError(
            f"--encoding {encoding}: no such encoding is known; examples: utf-8, cp1252, cp932, latin-1"
        ) from None
    data = data.removeprefix(codecs.BOM_UTF8)
    position = data.find(b"\0")
    if position >= 0:
        _refuse_binary(name, data)
        line = data[:position].count(b"\n") + 1
        raise DataError(
            f"{name}, line {line}: the text holds NUL bytes, so it is damaged, binary or UTF-16. "
            "If it is UTF-16, say so with --encoding utf-16."
        )
    return data, note


def _refuse_binary(name: str, data: bytes) -> None:
    """Raises DataError where more control characters occur than in text of any encoding."""
    beginning = data[:_SAMPLE_BYTES]
    if len(beginning) - len(beginning.translate(None, _CONTROLS)) > _MOST_CONTROLS * len(beginning):
        raise DataError(
            f"{name}: this is binary data of no format that AutoFlow knows, not a table of text. Name a CSV, "
            "TSV, JSON lines or Parquet file."
        )


def guess_delimiter(text: bytes) -> str:
    """Returns the delimiter that parts the header and most rows into the same number of fields.

    Args:
        text: UTF-8; only its beginning is looked at. A table of one column has a comma.
    """
    sample = text[:_SAMPLE_CHARACTERS].decode("utf-8", "ignore")
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        widths = _record_widths(sample, delimiter, complete=len(text) <= _SAMPLE_CHARACTERS)
        if not widths or widths[0] < 2:
            continue
        score = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _record_widths(sample: str, delimiter: str, *, complete: bool) -> list[int]:
    widths = []
    try:
        for record in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
            if record:
                widths.append(len(record))
            if len(widths) > _SAMPLE_RECORDS:
                break
    except csv.Error:
        # a very long field or a stray quote: judge by what was read so far
        return widths
    ended_early = not complete and len(widths) <= _SAMPLE_RECORDS
    return widths[:-1] if ended_early and len(widths) > 1 else widths
