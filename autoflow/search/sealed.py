"""Rows in SQLite under one hash, so that a row that changed or went away is noticed when the file is opened.

SQLite finds a broken page, but not a flipped bit in a number, nor a table whose name changed. What the rows
mean is none of this file's business.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SEAL = "CREATE TABLE IF NOT EXISTS seal (one INTEGER PRIMARY KEY CHECK (one = 1), sha256 TEXT NOT NULL)"


class DamagedError(Exception):
    """The rows are not the ones that were written."""


class SealedRows:
    """Tables whose every write is one durable transaction that renews the seal.

    Args:
        path: of the SQLite file; created where missing.
        tables: the columns of each table as SQL, by its name; the first column is the key.

    Raises:
        sqlite3.DatabaseError: no database, a broken one, or the disk refuses.
    """

    def __init__(self, path: Path, tables: Mapping[str, str]) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._keys = {name: sql.split()[0] for name, sql in tables.items()}
        try:
            self._database.execute("PRAGMA synchronous=FULL")
            script = "".join(f"CREATE TABLE IF NOT EXISTS {name} ({sql});" for name, sql in tables.items())
            self._database.executescript(f"BEGIN IMMEDIATE; {script} {_SEAL}; COMMIT;")
            self._digests = {
                (table, str(row[0])): _digest(row) for table in tables for row in self.rows(table)
            }
        except sqlite3.DatabaseError:
            self._database.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    @property
    def is_empty(self) -> bool:
        """Whether there is no row at all."""
        return not self._digests

    @property
    def is_sealed(self) -> bool:
        """Whether there is a seal; a new file gets one with its first row."""
        return self._seal() is not None

    def check(self) -> None:
        """Compares the rows with the seal.

        Raises:
            DamagedError: they differ.
        """
        if self._seal() != (self._sealed(self._digests) if self._digests else None):
            raise DamagedError("its content is not what was written")

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """Returns all rows of a table in the order of their keys."""
        return self._database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()

    def row(self, table: str, key: str | int) -> tuple[Any, ...] | None:
        """Returns the row with a key, or None."""
        query = f"SELECT * FROM {table} WHERE {self._keys[table]} = ?"
        return self._database.execute(query, (key,)).fetchone()

    def put(self, table: str, row: tuple[Any, ...]) -> None:
        """Writes a row, in the place of the one with the same key.

        Raises:
            sqlite3.DatabaseError: the disk refuses; nothing changed.
        """
        marks = ",".join("?" * len(row))
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)
            kept = self.row(table, row[0])  # SQLite makes 0.0 of -0.0, for one
            assert kept is not None
            digests = self._digests | {(table, str(row[0])): _digest(kept)}
            self._database.execute("INSERT OR REPLACE INTO seal VALUES (1, ?)", (self._sealed(digests),))
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        self._digests = digests

    def _seal(self) -> str | None:
        stored = self._database.execute("SELECT sha256 FROM seal").fetchone()
        return None if stored is None else stored[0]

    @staticmethod
    def _sealed(digests: Mapping[tuple[str, str], str]) -> str:
        return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()


def _digest(row: tuple[Any, ...]) -> str:
    return hashlib.sha256(json.dumps(row).encode()).hexdigest()
