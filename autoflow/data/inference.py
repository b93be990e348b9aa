"""From a table as read to its schema: the label, the classes, and a kind for every other column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoflow.data.columnwise import for_each
from autoflow.data.kinds import guess_column, text_of_last_resort
from autoflow.data.labels import choose_label, classes_of, label_strings
from autoflow.data.reading import RawTable
from autoflow.data.schema import Column, DroppedColumn, Schema
from autoflow.errors import DataError, near_names


def infer_schema(
    table: RawTable,
    *,
    label: str | None = None,
    group: str | None = None,
    ignored: Sequence[str] = (),
) -> Schema:
    """Returns the schema of a table, with a reason for every guess.

    Args:
        table: as read.
        label: header of the label; None to find it.
        group: header of the column that groups rows, which is no feature; None for none.
        ignored: headers of columns that are no features, either.

    Returns:
        The schema; it may have no column left, or fewer than two classes, which `checks` refuses.

    Raises:
        DataError: there is no such label or column to ignore, or nothing beside the label.
    """
    _check_ignored(table, label, ignored)
    others = {header: column for header, column in table.columns.items() if header not in ignored}
    label, label_reason = choose_label(replace(table, columns=others), label)
    if group == label:
        raise DataError(f"{table.name}: {label!r} is the label and cannot group the rows as well.")
    classes, label_type = classes_of(label_strings(table, label))
    headers = [header for header in others if header not in (label, group)]
    found = for_each(
        lambda header: guess_column(header, table.columns[header], table.folder),
        headers,
        num_rows=table.num_rows,
    )
    guesses = dict(zip(headers, found, strict=True))
    if not any(isinstance(guess, Column) for guess in guesses.values()):
        for header, guess in guesses.items():
            guesses[header] = text_of_last_resort(header, table.columns[header]) or guess
    guesses |= {header: DroppedColumn(header, "left out by you") for header in ignored}
    if group is not None:
        guesses[group] = DroppedColumn(group, "groups the rows (named by you), so that it is no feature")
    return Schema(
        columns=tuple(guess for guess in guesses.values() if isinstance(guess, Column)),
        label=label,
        classes=classes,
        label_reason=label_reason,
        label_type=label_type,
        dropped=tuple(guess for guess in guesses.values() if isinstance(guess, DroppedColumn)),
    )


def _check_ignored(table: RawTable, label: str | None, ignored: Sequence[str]) -> None:
    for header in ignored:
        if header not in table.columns:
            raise DataError(
                f"{table.name}: there is no column {header!r} to ignore; "
                f"{near_names(header, list(table.columns))}"
            )
        if len({*table.columns} - {*ignored}) < 2:
            raise DataError(
                f"{table.name}: of {len(table.columns)} columns, {len({*ignored})} are ignored; a classifier "
                "needs a label and at least one more column."
            )
        if header == label:
            raise DataError(f"{table.name}: {header!r} is the label and cannot be ignored as well.")
