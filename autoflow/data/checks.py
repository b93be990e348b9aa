"""What makes a table unfit for a classifier, and what deserves a warning, each as a plain sentence.

Faults of the file itself are found by `reading`; here the table is read and its kinds are guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autoflow.data.images import Picture
from autoflow.data.numbers import MISSING_TOKENS
from autoflow.data.schema import Column, ColumnKind, Schema
from autoflow.data.values import distinct_strings, unreadable
from autoflow.errors import DataError, shortened

MIN_ROWS = 10
_RARE_ROWS = 10
_FEW_NUMBERS = 20
_MANY_NUMBERS = 200
_SHOWN = 3
_MOSTLY_NEW = 0.9
_LARGE_CLASS = 0.9
_MANY_MISSING = 0.5
_MOST_BROKEN = 0.2
_LONG_TEXT = 100_000
_CONTROL = "[\x00-\x08\x0e-\x1f\x7f]"
_LOOK_OF_CLASS, _RARE_CLASSES = 20, 20
"""Rows of a class at least, and classes at most for which rows are added."""
_RANGE_ROWS = 25
_LOOK_ROWS = 5000
_LOOK_CELLS = 3_000_000


def check_labels(name: str, schema: Schema, labels: np.ndarray) -> None:
    """Refuses a label that no classifier can be built for.

    Args:
        name: of the table, for the message.
        schema: its schema.
        labels: int32[n] class numbers, -1 where missing.

    Raises:
        DataError: all labels missing, one class, (nearly) as many classes as rows, a number to be
            predicted rather than a class, too few rows, or a class with a single row.
    """
    label, classes = repr(schema.label), schema.classes
    other = "Check the file, or name another label with --label."
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    num_rows = int(counts.sum())
    if num_rows == 0:
        raise DataError(f"{name}: label column {label} is empty in every row. {other}")
    if len(classes) == 1:
        raise DataError(
            f"{name}: label column {label} has one class ({classes[0]!r}); a classifier needs two or more. "
            + other
        )
    if len(classes) == num_rows and num_rows > 2:
        raise DataError(
            f"{name}: label column {label} has a different value in every row ({classes[0]!r}, "
            f"{classes[1]!r}, ...), so it looks like an id or a quantity and not a class. {other}"
        )
    if _is_quantity(schema, num_rows):
        raise DataError(
            f"{name}: label column {label} has {len(classes):,} different numbers in {num_rows:,} rows, so "
            "it looks like a quantity; regression is not supported yet. Name another label with --label, or "
            "put ranges in place of the numbers."
        )
    if len(classes) > 1000 and len(classes) > 0.5 * num_rows:
        raise DataError(
            f"{name}: label column {label} has {len(classes):,} different values in {num_rows:,} rows, so "
            f"it looks like an id and not a class. {other}"
        )
    if num_rows < MIN_ROWS:
        raise DataError(
            f"{name}: {num_rows} rows with a label are too few; a classifier needs at least {MIN_ROWS}. "
            "Add rows."
        )
    single = [classes[i] for i in np.flatnonzero(counts == 1)]
    if single:
        raise DataError(f"{name}: {_lonely(single, schema)}")


def _lonely(single: list[str], schema: Schema) -> str:
    """Returns what to do about classes with one row each."""
    label, num_classes = repr(schema.label), len(schema.classes)
    shown = ", ".join(repr(text) for text in single[:5])
    shown += f" and {len(single) - 5} more" if len(single) > 5 else ""
    what, row, them = f"class {shown}", "has a single row", "it, remove that row"
    if len(single) > 1:
        what = f"{len(single)} of the {num_classes:,} classes ({shown})"
        row, them = "have a single row each", "them, remove those rows"
    quantity = ""
    if schema.label_type in ("integer", "float") and num_classes > _FEW_NUMBERS:
        quantity = f" If {label} is a quantity, put ranges in place of the numbers."
    return (
        f"{what} of label column {label} {row}, which cannot be both learned and checked. Add rows of "
        f"{them}, or name another label with --label.{quantity}"
    )


def check_class_names(schema: Schema) -> list[str]:
    """Returns a warning about classes that are named like a missing value."""
    odd = [name for name in schema.classes if name in MISSING_TOKENS]
    if not odd:
        return []
    shown = " and ".join(map(repr, odd))
    are = "is a class" if len(odd) == 1 else "are classes"
    return [
        f"{shown} {are} of {schema.label!r} like the others; where it stands for a label that is not known, "
        "empty these cells"
    ]


def check_features(name: str, schema: Schema) -> None:
    """Refuses a table without a usable feature column.

    Raises:
        DataError: every column was left out.
    """
    if not schema.columns:
        reasons = "; ".join(f"{column.name!r}: {column.reason}" for column in schema.dropped[:3])
        more = f"; and {len(schema.dropped) - 3} more" if len(schema.dropped) > 3 else ""
        raise DataError(
            f"{name}: no column is left to learn from ({reasons}{more}). Add a column that says something "
            "about the label."
        )


def rows_to_look_at(labels: np.ndarray, num_columns: int) -> np.ndarray:
    """Returns the row numbers (int64, rising) that are enough for the warnings about columns.

    They are taken evenly, with some more of classes that would hardly be among them: of rare errors, what
    gives them away must be seen.

    Args:
        labels: int32[n], class numbers.
        num_columns: columns that are looked at.
    """
    size = min(len(labels), max(1000, min(_LOOK_ROWS, _LOOK_CELLS // max(1, num_columns))))
    even = np.linspace(0, len(labels) - 1, size).astype(np.int64)
    seen = np.bincount(labels[even], minlength=int(labels.max()) + 1)
    rare = np.flatnonzero(seen < _LOOK_OF_CLASS)[:_RARE_CLASSES]
    more = [np.flatnonzero(labels == code)[:_LOOK_OF_CLASS] for code in rare]
    return np.unique(np.concatenate([even, *more]))


def check_columns(values: Mapping[str, np.ndarray], labels: np.ndarray) -> tuple[str, ...]:
    """Returns what deserves a look in the feature columns; empty where all is well.

    Args:
        values: column values by header, of all rows or of `rows_to_look_at`.
        labels: int32[n], class numbers of the same rows.
    """
    return (*_leak_warnings(values, labels), *_missing_warnings(values))


def check_pictures(name: str, column: str, values: Sequence[Picture] | np.ndarray) -> tuple[str, ...]:
    """Returns what deserves a look in a column of pictures, see `picture_remarks`.

    Args:
        name: of the table, for the message.
        column: its header.
        values: of all rows.

    Raises:
        DataError: more than a fifth of the pictures that the table names are missing or broken.
    """
    given = sum(bool(value.digest or value.problem) for value in values)
    troubled = [value for value in values if value.problem]
    if len(troubled) > _MOST_BROKEN * given:
        first = ", ".join(repr(value.path) for value in troubled[:5] if value.path)
        raise DataError(
            f"{name}: column {column!r}: {len(troubled):,} of {given:,} pictures cannot be used "
            f"({_counted_problems(troubled)})"
            + (f", such as {first}" if first else "")
            + ". Mend them or empty their cells"
            + (", or name their folder with --image-folder." if first else ".")
        )
    return picture_remarks(column, values)


def picture_remarks(column: str, values: Sequence[Picture] | np.ndarray) -> tuple[str, ...]:
    """Returns which pictures count as missing and which are read in an odd way, a sentence each.

    Args:
        column: header.
        values: of any rows.
    """
    troubled = [value for value in values if value.problem]
    remarks = Counter(value.remark for value in values if value.remark)
    counting = "picture counts" if len(troubled) == 1 else "pictures count"
    missing = f"column {column!r}: {len(troubled):,} {counting} as missing: {_counted_problems(troubled)}"
    return (
        *([missing] if troubled else []),
        *(
            f"column {column!r}: {count:,} {'picture is' if count == 1 else 'pictures are'} {remark}, which "
            "training and serving ignore alike"
            for remark, count in remarks.items()
        ),
    )


def check_readable(column: Column, as_read: pa.Array, values: np.ndarray) -> tuple[str, ...]:
    """Returns how many cells count as missing because they hold no number, date or truth value; none, or one.

    Args:
        column: name, kind and formats.
        as_read: cells of any rows.
        values: column values of the same rows.
    """
    cells = unreadable(column, as_read, values)
    if not len(cells):
        return ()
    return (
        f"column {column.name!r}: {len(cells):,} of {len(as_read):,} cells hold no {_thing(column)} "
        f"({_first(pc.unique(cells).to_pylist())}) and count as missing",
    )


def check_known(column: Column, values: np.ndarray) -> tuple[str, ...]:
    """Returns that nearly all categories of a column are new to the model; none, or one sentence.

    Args:
        column: with its known values, one or more.
        values: column values of rows to predict.
    """
    distinct, codes = distinct_strings(values)
    counts = np.bincount(codes, minlength=len(distinct))
    filled = pc.not_equal(distinct, "").to_numpy(zero_copy_only=False)
    known = pc.is_in(distinct, pa.array(column.known_values, distinct.type)).to_numpy(zero_copy_only=False)
    num_filled, num_new = int(counts[filled].sum()), int(counts[filled & ~known].sum())
    if not num_new or num_new < _MOSTLY_NEW * num_filled:
        return ()
    return (
        f"column {column.name!r}: {num_new:,} of {num_filled:,} filled cells hold what no training row had "
        f"({_first(distinct.filter(pa.array(filled & ~known)).to_pylist())}); "
        f"known are {_first(column.known_values)}",
    )


def _first(values: Sequence[object]) -> str:
    shown = ", ".join(repr(shortened(str(value))) for value in values[:_SHOWN])
    return shown + (", ..." if len(values) > _SHOWN else "")


def _thing(column: Column) -> str:
    if column.kind is ColumnKind.DATETIME:
        return f"time in the format {column.datetime_format!r}"
    if column.kind is ColumnKind.BOOLEAN:
        return "truth value that the training rows had" if column.true_values else "0 or 1"
    return f"number in the format {column.number_format!r}" if column.number_format else "number"


def check_texts(column: str, texts: pa.Array) -> tuple[str, ...]:
    """Returns what is odd in a column of texts, with its count, a sentence each.

    Args:
        column: header.
        texts: strings of all rows.
    """
    long = pc.sum(pc.greater(pc.utf8_length(texts), _LONG_TEXT)).as_py() or 0
    controlled = pc.sum(pc.match_substring_regex(texts, _CONTROL)).as_py() or 0
    found = []
    if long:
        texts_are = "1 text is" if long == 1 else f"{long:,} texts are"
        found.append(
            f"column {column!r}: {texts_are} longer than {_LONG_TEXT:,} characters; models read the beginning"
        )
    if controlled:
        texts_hold = "1 text holds" if controlled == 1 else f"{controlled:,} texts hold"
        found.append(f"column {column!r}: {texts_hold} control characters; look at what wrote the file")
    return tuple(found)


def check_rows(schema: Schema, labels: np.ndarray, feature_keys: np.ndarray) -> tuple[str, ...]:
    """Returns what deserves a look in classes and rows; empty where all is well.

    Args:
        schema: of the table.
        labels: int32[n], class numbers of all rows.
        feature_keys: uint64[n], equal for equal feature rows.
    """
    counts = np.bincount(labels, minlength=len(schema.classes))
    return (
        *_class_warnings(schema, counts),
        *_spelling_warnings(schema.classes),
        *_duplicate_warnings(labels, feature_keys),
    )


def _counted_problems(values: Sequence[Picture]) -> str:
    counts = Counter(value.problem for value in values)
    return "; ".join(f"{count:,} {problem}" for problem, count in counts.most_common())


def _is_quantity(schema: Schema, num_rows: int) -> bool:
    if schema.label_type not in ("integer", "float") or len(schema.classes) <= _FEW_NUMBERS:
        return False
    numbers = np.array([float(text) for text in schema.classes])
    spread_out = bool((numbers != np.round(numbers)).any()) or np.ptp(numbers) > 3 * len(numbers)
    spread_out = spread_out or len(numbers) > _MANY_NUMBERS
    return spread_out and num_rows < 20 * len(numbers)


def _class_warnings(schema: Schema, counts: np.ndarray) -> list[str]:
    warnings = []
    rare = np.flatnonzero(counts < _RARE_ROWS)
    if len(rare):
        shown = ", ".join(f"{schema.classes[i]!r} ({counts[i]})" for i in rare[:5])
        more = f" and {len(rare) - 5} more" if len(rare) > 5 else ""
        them = "it" if len(rare) == 1 else "them"
        warnings.append(f"few rows of class {shown}{more}: predictions of {them} will be unsure")
    share = counts.max() / counts.sum()
    if share >= _LARGE_CLASS:
        largest = schema.classes[int(counts.argmax())]
        warnings.append(
            f"classes are very unequal: {largest!r} has {share:.1%} of the rows, so accuracy says little; "
            "look at balanced accuracy or ROC AUC"
        )
    return warnings


def _spelling_warnings(classes: Sequence[str]) -> list[str]:
    """Names classes that are the same number, or the same words but for case and spaces."""
    alike: dict[object, list[str]] = {}
    for name in classes:
        try:
            value: object = float(name)
        except ValueError:
            value = " ".join(name.casefold().split())
        alike.setdefault(value, []).append(name)
    return [
        f"labels {' and '.join(repr(name) for name in names)} look like one class in several spellings; they "
        "are taken for several classes"
        for names in alike.values()
        if len(names) > 1
    ]


def _missing_warnings(values: Mapping[str, np.ndarray]) -> list[str]:
    sparse = []
    for name, column in values.items():
        gone = np.isnan(column) if column.dtype == np.float64 else column == ""
        if gone.mean() > _MANY_MISSING:
            sparse.append(f"{name!r} ({gone.mean():.0%})")
    if not sparse:
        return []
    shown = ", ".join(sparse[:5]) + (f" and {len(sparse) - 5} more" if len(sparse) > 5 else "")
    return [f"mostly missing: {shown}"]


def _duplicate_warnings(labels: np.ndarray, feature_keys: np.ndarray) -> list[str]:
    # one more mixing step would be needed for a proof; a collision costs a wrong count of one
    copies = len(labels) - len(np.unique(feature_keys ^ (labels.astype(np.uint64) << np.uint64(40))))
    if copies <= 0.01 * len(labels):
        return []
    return [f"{copies:,} of {len(labels):,} rows are copies of another row"]


def _leak_warnings(values: Mapping[str, np.ndarray], labels: np.ndarray) -> list[str]:
    base_errors = len(labels) - np.bincount(labels).max()
    if len(labels) < 50 or base_errors < 10:
        return []
    allowed = min(0.01 * len(labels), 0.05 * base_errors)
    return [
        f"column {name!r} alone tells the label almost perfectly; leave it out (--ignore) if it is not known "
        "before the answer is"
        for name, column in values.items()
        if _errors_of(column, labels) <= allowed
    ]


def _errors_of(column: np.ndarray, labels: np.ndarray) -> float:
    """Returns how many rows the best class of each value, or of each of 20 to 200 ranges, gets wrong.

    Infinity where the values are too many for the answer to mean anything. As many as there are classes are
    never too many: the label itself must be found.
    """
    num_classes = int(labels.max()) + 1
    most_values = max(len(labels) / 10, num_classes + 1)
    if column.dtype == np.float64:
        known = column[~np.isnan(column)]
        distinct = np.unique(known)
        # the range in which one class ends and another begins holds rows of both: keep it narrow
        num_ranges = int(np.clip(len(labels) // _RANGE_ROWS, 20, 200))
        shares = np.linspace(0, 1, num_ranges + 1)[1:-1]
        edges = np.unique(np.quantile(known, shares)) if len(distinct) > num_classes else distinct
        codes = np.where(np.isnan(column), len(edges) + 1, np.searchsorted(edges, column))
    else:
        positions: dict[str, int] = {}
        codes = np.array([positions.setdefault(text, len(positions)) for text in column])
    num_values = int(codes.max()) + 1
    if num_values > most_values:
        return float("inf")
    table = np.bincount(codes * num_classes + labels, minlength=num_values * num_classes)
    return float(len(labels) - table.reshape(num_values, num_classes).max(axis=1).sum())
