"""A strange table and what must happen to it; the corpus is made of these."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

NUM_ROWS = 40
REFUSED, ACCEPTED, WRONG_USAGE = 3, 0, 2
Columns = dict[str, list]


@dataclass(frozen=True)
class Case:
    """A strange table and what must happen.

    Args:
        name: of the case.
        content: bytes or text of the file, or what makes it at a path.
        words: parts of the message of a refused table, or of what `autoflow check` prints of an accepted one.
        code: exit code of `autoflow check`.
        file: name of the file.
        options: of the command.
        cells: what must be read, all columns; None where the table is refused, or too long to write down.
        kinds: the kinds of some columns, `left out` included.
    """

    name: str
    content: bytes | str | Callable[[Path], object]
    words: Sequence[str] = ()
    code: int = REFUSED
    file: str = "t.csv"
    options: Sequence[str] = ()
    cells: Columns | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Makes the file in a folder and returns its path."""
        path = folder / self.file
        if callable(self.content):
            self.content(path)
        else:
            path.write_bytes(self.content.encode() if isinstance(self.content, str) else self.content)
        return path


def plain_columns() -> Columns:
    """Returns a table that nothing is strange about."""
    return {
        "n": [f"{i % 7 + 0.5}" for i in range(NUM_ROWS)],
        "c": ["xyz"[i % 3] for i in range(NUM_ROWS)],
        "label": ["ab"[i * 5 % 7 % 2] for i in range(NUM_ROWS)],
    }


def with_column(name: str, cells: Sequence) -> Columns:
    """Returns the plain table with one more column in front of its label."""
    columns = plain_columns()
    label = columns.pop("label")
    return columns | {name: list(cells), "label": label}


def csv_text(columns: Columns, *, delimiter: str = ",", line_end: str = "\n") -> str:
    """Returns a table as CSV, quoted where it must be."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def parquet_bytes(table: pa.Table) -> bytes:
    """Returns an Arrow table as a Parquet file."""
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


PLAIN = csv_text(plain_columns())
