"""Writes tables of answers: CSV or Parquet, whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from autoflow.errors import MachineError, UsageError

_FORMULA = r"^(?=[=@+\-\t\r])(?![+-]?[0-9.,]+(?:[eE][+-]?[0-9]+)?$)"


def check_output(output: Path, *, keep: Sequence[Path] = ()) -> None:
    """Raises UsageError where a file cannot or should not be written.

    Args:
        output: its name must say a known format, and its folder must be there.
        keep: files that it may not replace, and folders of models, to which nothing may be added.
    """
    if not output.name.endswith((".csv", ".csv.gz", ".parquet")):
        raise UsageError(f"{output}: the output must end in .csv, .csv.gz or .parquet.")
    if not output.parent.is_dir():
        raise UsageError(f"{output}: the folder {output.parent} does not exist; make it first.")
    for path in keep:
        if path.exists() and output.resolve() == path.resolve():
            raise UsageError(f"{output}: this is the table that is read; name another file for the answers.")
        if path.is_dir() and output.resolve().is_relative_to(path.resolve()):
            raise UsageError(f"{output}: this is inside the model's folder; name a file outside of it.")


def write_table(table: pd.DataFrame, output: Path | None) -> None:
    """Writes a table without its index.

    In CSV a text that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, "CSV
    injection"); numbers, negative ones too, stay what they are.

    Args:
        table: answers, a row each.
        output: a file that ends in `.csv`, `.csv.gz` or `.parquet`; None for CSV on standard output. An
            existing file is replaced when the new one is complete.

    Raises:
        UsageError: the name ends otherwise.
        MachineError: the file cannot be written.
    """
    if output is None or output.suffix != ".parquet":
        table = table.apply(_without_formulas)
    if output is None:
        table.to_csv(sys.stdout, index=False, lineterminator="\n")
        return
    check_output(output)
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        if output.suffix == ".parquet":
            table.to_parquet(partial, index=False)
        else:
            compression = "gzip" if output.suffix == ".gz" else None
            table.to_csv(partial, index=False, lineterminator="\n", compression=compression)
        partial.replace(output)
    except OSError as error:
        raise MachineError(f"{output}: the table cannot be written ({error.strerror or error}).") from error
    finally:
        partial.unlink(missing_ok=True)


def _without_formulas(column: pd.Series) -> pd.Series:
    return column if pd.api.types.is_numeric_dtype(column) else column.replace(_FORMULA, "'", regex=True)
