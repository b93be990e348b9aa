"""Cells that other tools turn into something else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
from cases import ACCEPTED, NUM_ROWS, Case, csv_text, parquet_bytes, plain_columns, with_column

_ESC = "\x1b[2J\x1b]0;owned\x07"


def _column(name: str, cells: Sequence[str], kind: str, *words: str, header: str = "v") -> Case:
    columns = with_column(header, cells)
    return Case(name, csv_text(columns), words, ACCEPTED, cells=columns, kinds={header: kind})


def _numbers_with(odd: str) -> list[str]:
    return [odd if i == 5 else f"{i * 7 % 11}.25" for i in range(2 * NUM_ROWS)]


def _among_numbers(name: str, odd: str) -> Case:
    """One odd cell in 80 is missing, and that is said."""
    plain = with_column("v", [""] * NUM_ROWS)
    columns = {header: cells * 2 for header, cells in plain.items()} | {"v": _numbers_with(odd)}
    words = [f"column 'v': 1 of 80 cells hold no number ({odd!r}) and count as missing"]
    return Case(name, csv_text(columns), words, ACCEPTED, cells=columns, kinds={"v": "numeric"})


def _every(*cells: str) -> list[str]:
    return [cells[i % len(cells)] for i in range(NUM_ROWS)]


def _json(cells: Sequence[str]) -> str:
    return "".join(f'{{"v": {cell}, "label": "{"ab"[i * 5 % 7 % 2]}"}}\n' for i, cell in enumerate(cells))


def _moments(unit: str, numbers: Sequence[int]) -> bytes:
    table = pa.table(plain_columns())
    return parquet_bytes(table.add_column(0, "v", pa.array(numbers, pa.int64()).cast(pa.timestamp(unit))))


_BEYOND = 10**15
_YEAR_1 = int((datetime(1, 1, 1) - datetime(1970, 1, 1)).total_seconds())

CASES = (
    _column("NA that is Namibia", _every("NA", "DE", "FR", "ZA"), "categorical", "4 different values"),
    _column("leading zeros", [f"{i % 9:05d}" for i in range(NUM_ROWS)], "categorical", "9 different values"),
    _column("2^64", [str(2**64 + i % 5 * 2**50) for i in range(NUM_ROWS)], "numeric", "from 1.84467e+19"),
    _column(
        "2^64 and its neighbours",
        [str(2**64 + i % 5) for i in range(NUM_ROWS)],
        "left out",
        "the same number 1.84467e+19 in every row, as far as 64-bit numbers can tell",
    ),
    _among_numbers("1e400", "1e400"),
    _among_numbers("infinity", "-inf"),
    _among_numbers("one x among numbers", "x"),
    _column(
        "a detection limit among numbers",
        ["<0.1" if i % 10 == 4 else f"{i * 7 % 11}.{i % 10}5" for i in range(NUM_ROWS)],
        "numeric",
        "column 'v': 4 of 40 cells hold no number ('<0.1') and count as missing",
    ),
    _column(
        "unknown among numbers",
        ["unknown" if i % 10 == 4 else f"{i * 7 % 11}.{i % 10}5" for i in range(NUM_ROWS)],
        "numeric",
    ),
    _among_numbers("a decimal comma among numbers", "1,5"),
    _among_numbers("digits of another script", "٣"),
    _column("as many words as numbers", _every("1", "x", "2", "3"), "categorical"),
    _column("hexadecimal numbers", [f"0x{i % 11:x}" for i in range(NUM_ROWS)], "categorical"),
    _column("numbers with underscores", [f"1_{i % 7}00" for i in range(NUM_ROWS)], "categorical"),
    _column("thousands", [f"{i % 7 + 1},{i % 5}00.5" for i in range(NUM_ROWS)], "numeric", "with commas"),
    _column("percents", [f"{i % 11}%" for i in range(NUM_ROWS)], "numeric", "with '%'"),
    _column(
        "mixed date styles",
        [f"2020-01-{i % 9 + 1:02d}" if i % 2 else f"{i % 9 + 1}/1/2020" for i in range(40)],
        "categorical",
        "different values that repeat",
    ),
    _column(
        "days or months",
        [f"{i % 12 + 1:02d}/{i % 11 + 1:02d}/2020" for i in range(NUM_ROWS)],
        "datetime",
        "could be month/day/year or day/month/year",
    ),
    _column(
        "year 1",
        ["0001-01-01" if i == 4 else f"2020-01-{i % 28 + 1:02d}" for i in range(NUM_ROWS)],
        "datetime",
        "1 of 40 cells hold no time in the format 'year-month-day' ('0001-01-01')",
        header="day",
    ),
    Case(
        "year 1 in Parquet",
        _moments("s", [_YEAR_1 + i % 9 * 86_400 for i in range(NUM_ROWS)]),
        ["40 rows"],
        ACCEPTED,
        "t.parquet",
    ),
    Case(
        "years beyond counting in Parquet",
        _moments("s", [_BEYOND + i % 9 for i in range(NUM_ROWS)]),
        ["40 rows"],
        ACCEPTED,
        "t.parquet",
        cells={"v": [f"<value out of range: {_BEYOND + i % 9}000>" for i in range(NUM_ROWS)]}
        | plain_columns(),
    ),
    _column("HTML", _every("<script>alert(1)</script>", "<b>x</b>", "&amp;"), "categorical"),
    _column("terminal escapes", _every(_ESC + "red", "blue", "green\u202e"), "categorical"),
    Case(
        "terminal escapes in a header",
        csv_text(with_column(_ESC, _every("red", "blue"))),
        ["\\x1b[2J\\x1b]0;owned\\x07    categorical"],
        ACCEPTED,
        cells=with_column(_ESC, _every("red", "blue")),
    ),
    _column("spreadsheet formulas", _every("=1+1", "@SUM(A1)", "-2+3", "+cmd|' /C calc'!A0"), "categorical"),
    _column("nothing but missing", _every("NA", "", "null"), "left out", "all values are missing"),
    _column("one value", _every("x"), "left out", "the same value 'x' in every row"),
    Case(
        "2^64 in JSON",
        _json([str(2**64 + i % 5 * 2**50) for i in range(NUM_ROWS)]),
        [],
        ACCEPTED,
        "t.jsonl",
        kinds={"v": "numeric"},
    ),
    Case(
        "NaN, infinity and 1e400 in JSON",
        _json([["NaN", "Infinity", "1e400", "1.5", "2.5", "3"][i % 6] for i in range(NUM_ROWS)]),
        [],
        ACCEPTED,
        "t.jsonl",
        kinds={"v": "numeric"},
    ),
    Case(
        "numbers, words and lists in JSON",
        _json([["1", '"x"', "[2]", "null"][i % 4] for i in range(NUM_ROWS)]),
        [],
        ACCEPTED,
        "t.jsonl",
        kinds={"v": "categorical"},
    ),
)
