"""Delimiters, headers and rows that do not fit together."""

from __future__ import annotations

from cases import ACCEPTED, NUM_ROWS, PLAIN, Case, csv_text, plain_columns, with_column

_COMMAS = with_column("price", [f"{i % 9},{i % 7}5" for i in range(NUM_ROWS)])
_PLAIN_LINES = PLAIN.splitlines()
_UNQUOTED = "\n".join(",".join(row) for row in zip(*_COMMAS.values(), strict=True))
_NUMBERS = "".join(f"{i % 7}.5,{i % 5}.25,{i * 3 % 2}\n" for i in range(NUM_ROWS))
_WIDE = 10_000
_WIDE_ROWS = 20
_HUGE = with_column("note", ["word " * 210_000 if i == 33 else f"note {i % 5}" for i in range(NUM_ROWS)])
_BROKEN_LINES = with_column("note", [f'a, b\r\n{i} "quoted"\nc' for i in range(NUM_ROWS)])
_INCHES = with_column("size", [f'{i % 9}" disk' for i in range(NUM_ROWS)])
_COUNTED = {"row": [str(i + 1) for i in range(NUM_ROWS)]} | plain_columns()


def _wide() -> str:
    rows = [[f"{i * j % 17}.5" for j in range(_WIDE)] + ["ab"[i % 2]] for i in range(_WIDE_ROWS)]
    return "\n".join([",".join(f"c{j}" for j in range(_WIDE)) + ",label", *(",".join(row) for row in rows)])


def _once() -> dict[str, list]:
    return plain_columns() | {"n": [f"{i}.5" for i in range(NUM_ROWS)]}


def _without_header() -> dict[str, list]:
    first, *others = zip(*_once().values(), strict=True)
    return {header: list(cells) for header, cells in zip(first, zip(*others, strict=True), strict=True)}


def _delimited(word: str, delimiter: str) -> Case:
    text = csv_text(plain_columns(), delimiter=delimiter)
    return Case(f"{word}s", text, [f"fields parted by {word}"], ACCEPTED, cells=plain_columns())


def _commented(comment: str) -> Case:
    words = ["The first line, '# exported by me", "if it is a comment, remove it"]
    return Case(f"the comment {comment!r} on top", f"{comment}\n{PLAIN}", words)


CASES = (
    _delimited("semicolon", ";"),
    _delimited("tab", "\t"),
    _delimited("vertical bar", "|"),
    Case(
        "decimal commas between semicolons",
        csv_text(_COMMAS, delimiter=";"),
        ["numbers written with decimal commas"],
        ACCEPTED,
        cells=_COMMAS,
        kinds={"price": "numeric"},
    ),
    Case(
        "decimal commas in quotes", csv_text(_COMMAS), [], ACCEPTED, cells=_COMMAS, kinds={"price": "numeric"}
    ),
    Case(
        "decimal commas between commas", ",".join(_COMMAS) + "\n" + _UNQUOTED, ["line 2: 5 fields", "quotes"]
    ),
    Case("a line for spreadsheets", "sep=,\n" + PLAIN, ["line 1", "'sep=;'", "Remove it"]),
    Case(
        "trailing commas below the header",
        PLAIN.replace("\n", ",\n").replace(",\n", "\n", 1),
        ["line 2: 4 fields where the header has 3", "ends with a delimiter"],
    ),
    Case("trailing commas everywhere", PLAIN.replace("\n", ",\n"), ["column 4 of 4", "end with a delimiter"]),
    Case("a long row", PLAIN + "1,x,a,b\n" + PLAIN, ["line 42: 4 fields where the header has 3"]),
    Case("a short row", PLAIN + "1,x\n", ["line 42: 2 fields", "Fill in the missing fields"]),
    Case("an unclosed quote", PLAIN + '1,"x,a\n' + PLAIN, ["line 42: a quote", "never closed"]),
    Case("a quote in a quoted cell", PLAIN + '1.5,"x"y",a\n', ["line 42: a quote", "is not doubled"]),
    Case(
        "quotes for inches",
        csv_text(_INCHES).replace('"', "").replace(" disk", '" disk'),
        [],
        ACCEPTED,
        cells=_INCHES,
    ),
    Case(
        "line breaks and delimiters in cells",
        csv_text(_BROKEN_LINES),
        ["40 rows"],
        ACCEPTED,
        cells=_BROKEN_LINES,
    ),
    Case(
        "blank lines between rows", PLAIN.replace("\n", "\n\n"), ["40 rows"], ACCEPTED, cells=plain_columns()
    ),
    _commented("# exported by me"),
    _commented("# exported by me\n#"),
    _commented("# exported by me, and others"),
    Case(
        "two tables of different widths", PLAIN + "\nx,y\n1,2\n", ["line 43: 2 fields where the header has 3"]
    ),
    Case(
        "two tables of one width",
        PLAIN + "\nx,y,z\n1,2,a\n",
        ["class 'z' of label column 'label' has a single"],
    ),
    Case("tables joined with their headers", PLAIN * 3, ["line 42: the header occurs again", "joined"]),
    Case(
        "a header twice", PLAIN.replace("n,c,", "n,n,", 1), ["the header 'n' occurs 2 times (columns 1, 2)"]
    ),
    Case(
        "an index without a name",
        "\n".join("," * (i == 0) + (f"{i}," if i else "") + line for i, line in enumerate(_PLAIN_LINES)),
        ["column 1 of 4 has no name", "index=False"],
    ),
    Case("a header without a name", PLAIN.replace("n,c,", "n, ,", 1), ["column 2 of 3 has no name"]),
    Case(
        "no header",
        csv_text(_once()).split("\n", 1)[1],
        ["the first line looks like a row", "'a' is a value of its column"],
        ACCEPTED,
        cells=_without_header(),
    ),
    Case(
        "a column named like one of its values",
        csv_text(with_column("airbag", ["airbag", "none"] * (NUM_ROWS // 2))),
        [],
        ACCEPTED,
        kinds={"airbag": "categorical"},
    ),
    Case(
        "no header above rows that occur again",
        PLAIN.split("\n", 1)[1],
        ["line 22: the header occurs again", "If the file has no header line, put one on top"],
    ),
    Case(
        "no header above numbers",
        "3.75,7.125,9\n" + _NUMBERS,
        ["the first line looks like a row", "numbers"],
        ACCEPTED,
    ),
    Case("a leading row number", csv_text(_COUNTED), [], ACCEPTED, cells=_COUNTED, kinds={"row": "left out"}),
    Case(
        "a row number without a header",
        csv_text(_COUNTED).replace("row,", "", 1),
        ["line 2: 4 fields where the header has 3", "row number"],
    ),
    Case("one column", "label\n" + "a\nb\n" * 20, ["the only column is 'label'"]),
    Case("columns of spaces", "n c label\n" + "1 x a\n2 y b\n" * 20, ["the only column is 'n c label'"]),
    Case("10,000 columns", _wide(), [f"{_WIDE_ROWS} rows"], ACCEPTED, kinds={"c9999": "numeric"}),
    Case("a megabyte in one cell", csv_text(_HUGE), [], ACCEPTED, cells=_HUGE),
)
