"""Encodings, line ends, and characters that nobody sees."""

from __future__ import annotations

from cases import ACCEPTED, PLAIN, WRONG_USAGE, Case, csv_text, plain_columns, with_column

_FAR = 30_000
_JAPANESE = with_column("都市", ["東京", "表", "大阪", "ソ"] * 10)
_WESTERN = with_column("Straße", ["Müller", "façade", "é", "x"] * 10)


def _decorated(**headers: str) -> dict[str, list]:
    return {headers.get(name, name): cells for name, cells in plain_columns().items()}


def _marked(encoding: str) -> Case:
    words = [] if encoding == "utf-8" else ["from its byte order mark"]
    return Case(
        f"{encoding} with its mark",
        ("\ufeff" + PLAIN).encode(encoding),
        words,
        ACCEPTED,
        cells=plain_columns(),
    )


_HIDDEN = _decorated(n="n\u200b", c="\ufeffc", label="label\u00a0")

CASES = (
    *(_marked(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")),
    Case("UTF-16 without its mark", PLAIN.encode("utf-16-le"), ["NUL bytes", "--encoding utf-16"]),
    Case(
        "UTF-16 as told",
        PLAIN.encode("utf-16-le"),
        [],
        ACCEPTED,
        options=("--encoding", "utf-16-le"),
        cells=plain_columns(),
    ),
    Case(
        "Latin-1",
        csv_text(_WESTERN).encode("latin-1"),
        ["line 1: the text is not UTF-8", "--encoding cp1252"],
    ),
    Case(
        "Latin-1 as told",
        csv_text(_WESTERN).encode("latin-1"),
        [],
        ACCEPTED,
        options=("--encoding", "latin-1"),
        cells=_WESTERN,
    ),
    Case("Shift-JIS", csv_text(_JAPANESE).encode("cp932"), ["line 1: the text is not UTF-8", "cp932"]),
    Case(
        "Shift-JIS as told",
        csv_text(_JAPANESE).encode("cp932"),
        [],
        ACCEPTED,
        options=("--encoding", "cp932"),
        cells=_JAPANESE,
    ),
    Case(
        "another encoding than told",
        csv_text(_WESTERN).encode("latin-1"),
        ["line 1: the text cannot be read as"],
        options=("--encoding", "utf-8"),
    ),
    Case(
        "one bad byte far down",
        b"n,label\n" + b"1.5,x\n2.5,y\n" * _FAR + b"1,\xff\n",
        [f"line {2 * _FAR + 2}: the text is not UTF-8"],
    ),
    Case("a NUL", b"a,label\n1,x\n1,\x002\n", ["line 3: the text holds NUL bytes"]),
    Case("surrogates in UTF-8", b"a,label\n1,x\n2,\xed\xa0\x80\n", ["line 3: the text is not UTF-8"]),
    Case(
        "surrogates of an odd encoding",
        PLAIN.replace("z", "\\ud800"),
        ["halves of characters", "--encoding"],
        options=("--encoding", "raw_unicode_escape"),
    ),
    Case(
        "surrogates in JSON",
        "".join(
            f'{{"n": {i % 7}.5, "t": "{"xyz"[i % 3]} \\ud800", "label": "{"ab"[i % 2]}"}}\n'
            for i in range(40)
        ),
        ["in 40 texts halves of characters"],
        ACCEPTED,
        "t.jsonl",
        cells={
            "n": [i % 7 + 0.5 for i in range(40)],
            "t": ["xyz"[i % 3] + " \ufffd" for i in range(40)],
            "label": ["ab"[i % 2] for i in range(40)],
        },
    ),
    Case(
        "an encoding that nobody knows",
        PLAIN,
        ["--encoding klingon"],
        WRONG_USAGE,
        options=("--encoding", "klingon"),
    ),
    Case("an encoding with a NUL", PLAIN, ["no such encoding"], WRONG_USAGE, options=("--encoding", "a\0b")),
    Case(
        "an encoding that always fails",
        PLAIN,
        ["no such encoding"],
        WRONG_USAGE,
        options=("--encoding", "undefined"),
    ),
    Case("CR line ends", PLAIN.replace("\n", "\r"), ["40 rows"], ACCEPTED, cells=plain_columns()),
    Case("CR line ends and a short row", (PLAIN + "1,2\n").replace("\n", "\r"), ["line 42: 2 fields"]),
    Case("mixed line ends", PLAIN.replace("\n", "\r\n", 20), ["40 rows"], ACCEPTED, cells=plain_columns()),
    Case(
        "invisible characters in headers",
        csv_text(_HIDDEN),
        ["warning: invisible characters in headers: 'n\\u200b', '\\ufeffc', 'label\\xa0'"],
        ACCEPTED,
        cells=_HIDDEN,
    ),
    Case(
        "a label behind an invisible character",
        csv_text(_decorated(label="label\u200b")),
        ["there is no label column 'label'", "did you mean 'label\\u200b'"],
        options=("--label", "label"),
    ),
    Case(
        "a header of invisible characters",
        csv_text(_decorated(c="\u200b\u00a0")),
        ["column 2 of 3 has no name"],
    ),
    Case(
        "control characters in texts",
        csv_text(with_column("note", [f"some words of note number {i}\x07" for i in range(40)])),
        ["'note': 40 texts hold control characters"],
        ACCEPTED,
    ),
)
