"""Files that are no table, or a table under the wrong name."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import threading
import zipfile
from pathlib import Path

import pyarrow as pa
from cases import ACCEPTED, PLAIN, Case, parquet_bytes, plain_columns

_KIB_OF_ZEROS = gzip.compress(bytes(2**20))
_DEEP = 30_000


def _zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(name, "x" * 100)
    return buffer.getvalue()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _pipe_with_a_writer(path: Path) -> None:
    os.mkfifo(path)
    # the writer waits for a reader; without one it would keep the process from its end
    threading.Thread(target=path.write_text, args=(PLAIN,), daemon=True).start()


def _loop(path: Path) -> None:
    other = path.with_name("other.csv")
    other.symlink_to(path)
    path.symlink_to(other)


def _not_utf8() -> pa.Table:
    cells = pa.array([b"\xff\xfe" if i == 3 else b"fine" for i in range(40)], pa.binary())
    return pa.table(plain_columns()).append_column("t", cells.view(pa.string()))


def _doubled() -> pa.Table:
    table = pa.table(plain_columns())
    return pa.Table.from_arrays([table["n"], table["c"], table["label"]], names=["n", "n", "label"])


_FOREIGN = {
    "an Excel workbook": (_zipped("xl/workbook.xml"), "Excel workbook (.xlsx)"),
    "an old Excel workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "old Excel workbook"),
    "a zip archive": (_zipped("a.csv"), "zip archive"),
    "an empty zip archive": (b"PK\x05\x06" + bytes(18), "an empty zip archive"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(50), "PNG picture"),
    "a photograph": (b"\xff\xd8\xff\xe0" + bytes(50), "JPEG picture"),
    "a PDF document": (b"%PDF-1.7 ...", "PDF document"),
    "a data base": (b"SQLite format 3\0" + bytes(50), "SQLite database"),
    "an XML document": ("<?xml version='1.0'?><a/>", "XML document"),
    "a bzip2 archive": (b"BZh91AY", "bzip2 archive"),
    "a tar archive": (bytes(257) + b"ustar" + bytes(300), "tar archive"),
    "an HTML page": ("\n<!DOCTYPE html><html><body>Log in</body></html>", "HTML page"),
    "an HTML page behind a mark": ("\ufeff <html lang=en></html>", "HTML page"),
    "random bytes": (bytes(range(256)) * 4, "binary data of no format that AutoFlow knows"),
    "a pickle": (pickle.dumps(list(range(1000))), "binary data of no format that AutoFlow knows"),
    "a gzip archive in another": (gzip.compress(gzip.compress(PLAIN.encode())), "binary data of no format"),
}

CASES = (
    Case("no file", lambda path: None, ["t.csv: there is no such file"]),
    Case("a folder", Path.mkdir, ["this is a folder"]),
    Case("a link to nothing", lambda path: path.symlink_to("gone.csv"), ["there is no such file"]),
    Case("a loop of links", _loop, ["cannot be read (Too many levels of symbolic links)"]),
    Case("a device without end", lambda path: path.symlink_to("/dev/zero"), ["this is a device or a socket"]),
    Case("a pipe without a writer", _pipe, ["this is a pipe", "Write the table to a file"]),
    Case("a pipe with a writer", _pipe_with_a_writer, ["40 rows"], ACCEPTED, cells=plain_columns()),
    Case("zero bytes", "", ["the file is empty"]),
    Case("blank lines only", " \n\n", ["the file is empty"]),
    Case("a byte order mark only", "\ufeff", ["the file is empty"]),
    Case("header only", "a,b,label\n", ["a header but no rows"]),
    *(Case(name, content, ["t.csv: this is ", words]) for name, (content, words) in _FOREIGN.items()),
    Case(
        "gzip without its name",
        gzip.compress(PLAIN.encode()),
        ["gzip-compressed, although the name"],
        ACCEPTED,
        cells=plain_columns(),
    ),
    Case(
        "half a gzip archive",
        gzip.compress(PLAIN.encode())[:60],
        ["gzip archive is damaged"],
        file="t.csv.gz",
    ),
    Case("a gzip bomb", _KIB_OF_ZEROS * 300, ["unpacks to more than 268,435,456"], file="t.csv.gz"),
    Case(
        "text named like gzip",
        PLAIN,
        ["named like a gzip archive, but it is none"],
        ACCEPTED,
        "t.csv.gz",
        cells=plain_columns(),
    ),
    Case(
        "Parquet under another name",
        parquet_bytes(pa.table(plain_columns())),
        ["read as Parquet"],
        ACCEPTED,
        cells=plain_columns(),
    ),
    Case("half a Parquet file", b"PAR1 and nothing more PAR1", ["Parquet file is damaged"], file="t.parquet"),
    Case(
        "Parquet without rows",
        parquet_bytes(pa.table(plain_columns()).slice(0, 0)),
        ["columns but no rows"],
        file="t.parquet",
    ),
    Case(
        "Parquet with a header twice",
        parquet_bytes(_doubled()),
        ["the header 'n' occurs 2 times"],
        file="t.parquet",
    ),
    Case(
        "Parquet with texts that are no UTF-8",
        parquet_bytes(_not_utf8()),
        ["Parquet file is damaged", "UTF8"],
        file="t.parquet",
    ),
    Case(
        "JSON nested without end", '{"a":' * _DEEP + "1" + "}" * _DEEP, ["nested too deeply"], file="t.jsonl"
    ),
    Case(
        "a JSON array nested without end",
        '[{"a":' + "[" * _DEEP + "]" * _DEEP + "}]",
        ["nested too deeply"],
        file="t.json",
    ),
    Case(
        "JSON with a key twice",
        '{"a": 1, "label": "x", "a": 2}\n' * 20,
        ["line 1: the key 'a' occurs twice"],
        file="t.jsonl",
    ),
    Case(
        "JSON cut off",
        '{"a": 1, "label": "x"}\n{"a": \n',
        ["line 2", "one JSON object a line"],
        file="t.jsonl",
    ),
    Case(
        "JSON of columns", json.dumps(plain_columns()), ["a label is one word or number a row"], file="t.json"
    ),
)
"""In the order of issue 5."""
