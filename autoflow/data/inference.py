"""From a table as read to its schema: the label, the classes, and a kind for every other column."""

from __future__ import annotations

from autoflow.data.kinds import guess_column, text_of_last_resort
from autoflow.data.labels import choose_label, classes_of, label_strings
from autoflow.data.reading import RawTable
from autoflow.data.schema import Column, DroppedColumn, Schema
from autoflow.errors import DataError


def infer_schema(table: RawTable, *, label: str | None = None, group: str | None = None) -> Schema:
    """Returns the schema of a table, with a reason for every guess.

    Args:
        table: as read.
        label: header of the label; None to find it.
        group: header of the column that groups rows, which is no feature; None for none.

    Returns:
        The schema; it may have no column left, or fewer than two classes, which `checks` refuses.

    Raises:
        DataError: there is no such label, or nothing beside it.
    """
    label, label_reason = choose_label(table, label)
    if group == label:
        raise DataError(f"{table.name}: {label!r} is the label and cannot group the rows as well.")
    classes, label_type = classes_of(label_strings(table, label))
    guesses = {
        header: guess_column(header, as_read, table.folder)
        for header, as_read in table.columns.items()
        if header not in (label, group)
    }
    if not any(isinstance(guess, Column) for guess in guesses.values()):
        for header, guess in guesses.items():
            guesses[header] = text_of_last_resort(header, table.columns[header]) or guess
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
