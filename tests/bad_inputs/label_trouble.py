"""Label columns that no classifier, or a doubtful one, can be built for."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from cases import ACCEPTED, NUM_ROWS, PLAIN, Case, csv_text, parquet_bytes, plain_columns

_HALVES = ["ab"[i * 5 % 7 % 2] for i in range(NUM_ROWS)]


def _labelled(name: str, labels: Sequence[str], words: Sequence[str], code: int = 3) -> Case:
    columns = plain_columns() | {"label": list(labels)}
    return Case(name, csv_text(columns), words, code, cells=columns if code == ACCEPTED else None)


def _last(*labels: str) -> list[str]:
    return [*_HALVES[: NUM_ROWS - len(labels)], *labels]


def _long(labels: Sequence[str], **more: Sequence[str]) -> str:
    numbers = [f"{i * 7 % 11}.5" for i in range(len(labels))]
    return csv_text({"n": numbers, **more, "label": labels})


_MANY = ["ab"[i * 5 % 7 % 2] for i in range(200)]

CASES = (
    Case(
        "a label column that is not there",
        PLAIN,
        ["there is no label column 'lable'", "did you mean 'label'"],
        options=("--label", "lable"),
    ),
    _labelled("some labels missing", _last("", " ", ""), ["warning: 3 of 40 rows have no label"], ACCEPTED),
    _labelled("all labels missing", [""] * NUM_ROWS, ["'label' is empty in every row"]),
    _labelled("one class", ["new"] * NUM_ROWS, ["has one class ('new')"]),
    _labelled("one class and missing labels", ["new", ""] * (NUM_ROWS // 2), ["has one class ('new')"]),
    _labelled(
        "a class with one row", _last("rare"), ["class 'rare' of label column 'label' has a single row"]
    ),
    _labelled("classes with one row", _last("rare", "odd"), ["2 of the 4 classes ('odd', 'rare')"]),
    _labelled("few rows of a class", _last("odd", "odd"), ["few rows of class 'odd' (2)"], ACCEPTED),
    _labelled("an id as label", [f"id-{i}" for i in range(NUM_ROWS)], ["a different value in every row"]),
    Case(
        "a quantity as label",
        _long([f"{i % 150 * 1.5}" for i in range(200)]),
        ["regression is not supported"],
    ),
    _labelled(
        "labels in several spellings",
        [["yes", "Yes", "no ", "no"][i % 4] for i in range(NUM_ROWS)],
        ["3 classes: Yes, no, yes", "'Yes' and 'yes' look like one class in several spellings"],
        ACCEPTED,
    ),
    _labelled(
        "numbers as labels",
        [["10", "9", "1.0"][i % 3] for i in range(NUM_ROWS)],
        ["3 classes: 1.0, 9, 10"],
        ACCEPTED,
    ),
    _labelled(
        "codes as labels",
        [["010", "009", "1"][i % 3] for i in range(NUM_ROWS)],
        ["3 classes: 009, 010, 1"],
        ACCEPTED,
    ),
    _labelled(
        "labels of 400 digits",
        [["9" * 400, "8" * 400][i % 2] for i in range(NUM_ROWS)],
        ["2 classes: 8888"],
        ACCEPTED,
    ),
    _labelled(
        "NA as label beside words",
        [["NA", "DE"][i % 2] for i in range(NUM_ROWS)],
        ["2 classes: DE, NA"],
        ACCEPTED,
    ),
    _labelled(
        "NA as label beside numbers",
        [["NA", "1", "2", "1"][i % 4] for i in range(NUM_ROWS)],
        ["2 classes: 1, 2", "10 of 40 rows have no label"],
        ACCEPTED,
    ),
    _labelled(
        "terminal escapes as labels",
        [["\x1b[2Jx", "=1+1"][i % 2] for i in range(NUM_ROWS)],
        ["2 classes: \\x1b[2Jx, =1+1"],
        ACCEPTED,
    ),
    Case(
        "a leak",
        _long(_MANY, answer=[f"is {label}" for label in _MANY]),
        ["warning: column 'answer' alone tells the label"],
        ACCEPTED,
    ),
    Case("very unequal classes", _long(["x"] * 190 + ["y"] * 10), ["'x' has 95.0% of the rows"], ACCEPTED),
    Case("too few rows", _long(["a", "b", "a", "b"]), ["4 rows with a label are too few"]),
    Case(
        "copies of few rows", _long(_MANY, v=["1"] * 200), ["of 200 rows are copies of another row"], ACCEPTED
    ),
    Case(
        "nothing to learn from",
        csv_text({"v": ["1"] * NUM_ROWS, "label": _HALVES}),
        ["no column is left to learn from"],
    ),
    Case(
        "a label and an id",
        csv_text({"id": [str(i) for i in range(NUM_ROWS)], "label": _HALVES}),
        ["no column is left to learn from", "'id': "],
    ),
    Case(
        "lists as labels",
        parquet_bytes(pa.table(plain_columns() | {"label": [["a"], ["b"]] * (NUM_ROWS // 2)})),
        ["holds list<", "a label is one word or number"],
        file="t.parquet",
    ),
    Case(
        "bytes as labels",
        parquet_bytes(pa.table(plain_columns() | {"label": [b"a", b"\xff"] * (NUM_ROWS // 2)})),
        ["holds binary values", "a label is one word or number"],
        file="t.parquet",
    ),
)
