"""Reads a table from a file or a DataFrame, by content and not by name, and loses nothing on the way.

Numbers in text files stay the strings that they are: what a column means is decided by `inference`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from autoflow.data.arrow import plain_column, plain_series
from autoflow.data.delimited import read_delimited
from autoflow.data.file_bytes import is_gzip, read_bytes, unpacked
from autoflow.data.headers import check_headers
from autoflow.data.json_table import read_json
from autoflow.data.sniffing import FileFormat, file_format, to_utf8
from autoflow.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RawTable:
    """A table as read: no kinds guessed, nothing converted.

    Args:
        name: file name or "the DataFrame", for messages.
        columns: an Arrow array for each header, in the order of the table: strings, int64, double or
            boolean, null where missing (text files have empty strings); pictures as binary, nested columns
            as found.
        num_rows: number of rows, one or more.
        notes: what was guessed while reading, in plain words.
        folder: where the paths of pictures start.
    """

    name: str
    columns: dict[str, pa.Array]
    num_rows: int
    notes: tuple[str, ...] = ()
    folder: Path = Path()


def read_table(
    source: str | Path | pd.DataFrame, *, encoding: str | None = None, image_folder: Path | None = None
) -> RawTable:
    """Returns the table of a file or DataFrame.

    Args:
        source: path of a CSV, TSV, JSON lines or Parquet file, each also gzip-compressed, or a DataFrame.
        encoding: of a text file; None for UTF-8 or what a byte order mark says.
        image_folder: where the paths of pictures start; None for the folder of the file, or the working
            folder for a DataFrame.

    Raises:
        DataError: the file is missing, unreadable, no table, or a table with faults; the message says
            where and what to do.
        UsageError: no such encoding is known.
    """
    if image_folder is not None and not image_folder.is_dir():
        raise DataError(f"{image_folder}: there is no such folder of pictures.")
    if isinstance(source, (str, Path)):
        table = _read_file(Path(source), encoding)
        return replace(table, folder=image_folder or Path(source).parent)
    return replace(_read_frame(source), folder=image_folder or Path())


def _read_frame(frame: pd.DataFrame) -> RawTable:
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise DataError(
            f"expected a path or a pandas DataFrame, got {type(frame).__name__}; put the rows into a "
            "DataFrame with the headers of the training table."
        )
    headers = [str(column) for column in frame.columns]
    name = "the DataFrame"
    check_headers(name, headers)
    if len(frame) == 0:
        raise DataError(f"{name} has no rows.")
    columns = {header: plain_series(frame.iloc[:, i]) for i, header in enumerate(headers)}
    return RawTable(name, columns, len(frame))


def _read_file(path: Path, encoding: str | None) -> RawTable:
    name = path.name or str(path)
    data = read_bytes(path)
    notes = []
    packed = is_gzip(data)
    if packed:
        data = unpacked(name, data)
        if not name.endswith(".gz"):
            notes.append("gzip-compressed, although the name does not say so")
    if not data.strip():
        raise DataError(f"{name}: the file is empty. A table needs a header line and rows.")
    form = file_format(name, data)
    if form is FileFormat.PARQUET:
        table = _read_parquet(name, data)
        if ".parquet" not in name and ".pq" not in name:
            notes.append("read as Parquet, although the name says otherwise")
    else:
        said = _format_said(name, packed=packed)
        try:
            table, text_notes = _read_text(name, data, form, encoding)
        except DataError as error:
            if not said:
                raise
            raise DataError(f"{error} It is named like a {said}, but is none.") from None
        if said and table.num_columns == 1:
            raise DataError(f"{name}: this is named like a {said}, but holds text of one column.")
        notes += [*text_notes, f"read as text: named like a {said}, but it is none" if said else ""]
    check_headers(name, table.column_names)
    if table.num_rows == 0:
        raise DataError(f"{name}: the table has columns but no rows.")
    columns = {header: plain_column(table[header]) for header in table.column_names}
    return RawTable(name, columns, table.num_rows, tuple(note for note in notes if note))


def _read_text(
    name: str, data: bytes, form: FileFormat, encoding: str | None
) -> tuple[pa.Table, tuple[str, str]]:
    text, encoding_note = to_utf8(name, data, encoding)
    table, note = read_json(name, text) if _is_json(form, text) else read_delimited(name, text)
    return table, (encoding_note, note)


def _format_said(name: str, *, packed: bool) -> str:
    """Returns the format that the name of a file of text wrongly says; empty where it says none."""
    if ".parquet" in name or ".pq" in name:
        return "Parquet file"
    return "gzip archive" if name.endswith(".gz") and not packed else ""


def _is_json(form: FileFormat, text: bytes) -> bool:
    # an encoding other than UTF-8 hides the brace from the first look
    return form is FileFormat.JSON or text.lstrip().startswith((b'{"', b"[{"))


def _read_parquet(name: str, data: bytes) -> pa.Table:
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pa.BufferReader(data))
        check_headers(name, file.schema_arrow.names)
        table = file.read()
        table.validate(full=True)  # texts that are no UTF-8, positions beyond the end
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{name}: the Parquet file is damaged ({reason}). Write or fetch it again.") from None
    index = [column for column in table.column_names if column.startswith("__index_level_")]
    return table.drop_columns(index) if index else table
