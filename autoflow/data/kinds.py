"""Guesses the kind of one column from its distinct values, and says why in plain words.

Every rule that looks at the cells of a feature column is here; what concerns the whole table or the label
is in `inference` and `labels`.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autoflow.data.cells import Cells, count_cells, is_plain, is_string, wording
from autoflow.data.datetimes import DATETIME_FORMATS, parse_datetimes
from autoflow.data.images import any_in, holds_pictures, is_bytes
from autoflow.data.numbers import CURRENCY, NUMBER_FORMATS, parse_decimals, parse_numbers
from autoflow.data.schema import Column, ColumnKind, DroppedColumn, RawType
from autoflow.errors import shortened

MOSTLY = 0.985
"""Share of readable values from which a column is numeric or a date in spite of the others."""
_LARGELY = 0.85
_FEW_WORDS = 10
"""From the smaller share on it is so, too, where the others are that many words at most and the readable
values ten times as many: `<0.1` beside a thousand numbers is one word; A, B and C beside 1 to 9 are codes."""

_NEARLY_ALL = 0.95
_MOST_KNOWN, _MOST_CHARACTERS = 200, 2000
"""Categories of a column, and letters of them in all, that the manifest holds at most."""
_MIN_ROWS_OF_IDS = 10
_IMAGE = r"(?i)\.(?:jpe?g|png|gif|bmp|webp|tiff?)$"
_COMPACT_DATE = r"^(?:19|20)[0-9]{6}$"
_LEADING_ZERO = r"^[+-]?0[0-9]+$"
_ID_NAME = re.compile(
    r"(?:^|[\s_.-])(?:id|ids|uuid|guid|row|rowid|index|idx|key|nr|no|number|serial|#)$|^id[\s_.-]",
    re.IGNORECASE,
)
_ID_CAMEL = re.compile(r"[a-z]I[dD]$")
_OPAQUE = r"^[0-9a-fA-F-]{8,}$|^[A-Za-z]{0,5}[_.#-]?[0-9]+$"
_BOOLEAN_WORDS = (("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"), ("on", "off"))


def guess_column(name: str, as_read: pa.Array, folder: Path = Path()) -> Column | DroppedColumn:
    """Returns the column with its kind, or the reason to leave it out.

    Args:
        name: its header.
        as_read: its cells, see `autoflow.data.values`.
        folder: where the paths of pictures start.
    """
    if is_bytes(as_read.type) and holds_pictures(as_read):
        return Column(name, ColumnKind.IMAGE, RawType.STRING, "pictures in the table itself")
    if not is_plain(as_read):
        return DroppedColumn(
            name, f"holds {shortened(str(as_read.type))} values, which are not supported yet"
        )
    cells = count_cells(as_read)
    known = cells.without_missing_tokens() if is_string(as_read) else cells
    if known.num_distinct == 0:
        return DroppedColumn(name, "all values are missing")
    if cells.num_distinct == 1 and cells.missing_share < 0.01:
        return DroppedColumn(name, f"the same value {_quoted(cells.distinct[0])} in every row")
    if pa.types.is_boolean(as_read.type):
        return _boolean_words(name, ("true", "false"), "true or false")
    if not is_string(as_read):
        return _guess_numbers(name, known, cells.distinct.to_numpy(zero_copy_only=False).astype(np.float64))
    if known.share(_matches(known, _IMAGE)) >= _NEARLY_ALL:
        return _guess_picture_files(name, known, folder)
    return (
        _guess_boolean(name, known)
        or _guess_numbers_or_dates(name, known.without_missing_numbers())
        or _guess_strings(name, cells)
    )


def text_of_last_resort(name: str, as_read: pa.Array) -> Column | None:
    """Returns a left-out column of single words as text, for tables that have nothing else.

    None for what can tell nothing about new rows: numbers, counters, hashes and UUIDs.
    """
    if not is_string(as_read) or _named_like_id(name):
        return None
    cells = count_cells(as_read).without_missing_tokens()
    if cells.num_distinct < 2 or cells.share(_matches(cells, _OPAQUE)) > 0.5:
        return None
    if cells.share(_matches(cells, _IMAGE)) >= _NEARLY_ALL:
        return None
    reason = "single words that differ in nearly every row; kept as text, as there is no other column"
    return Column(name, ColumnKind.TEXT, RawType.STRING, reason)


def _matches(cells: Cells, pattern: str) -> np.ndarray:
    return pc.match_substring_regex(cells.distinct, pattern).to_numpy(zero_copy_only=False)


def _kept(cells: Cells, readable: np.ndarray) -> Cells | None:
    """Returns the readable cells, or None where the others are too many to count as missing."""
    kept, share = cells.where(readable), cells.share(readable)
    few = cells.num_distinct - kept.num_distinct <= min(_FEW_WORDS, kept.num_distinct / 10)
    return kept if share >= MOSTLY or (share >= _LARGELY and few) else None


def _quoted(value: pa.Scalar) -> str:
    text = str(value.as_py())
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _named_like_id(name: str) -> bool:
    return bool(_ID_NAME.search(name.strip()) or _ID_CAMEL.search(name.strip()))


def _guess_picture_files(name: str, cells: Cells, folder: Path) -> Column | DroppedColumn:
    where = folder.resolve()
    if any_in(cells.sample(200).to_pylist(), folder):
        return Column(name, ColumnKind.IMAGE, RawType.STRING, f"names picture files in {where}")
    first = _quoted(cells.distinct[0])
    return DroppedColumn(
        name, f"names picture files such as {first}, but {where} has none of them; see --image-folder"
    )


# --- booleans ----------------------------------------------------------------------------------------


def _guess_boolean(name: str, cells: Cells) -> Column | None:
    if cells.num_distinct > 6:
        return None
    spellings = cells.distinct.to_pylist()
    lower = {spelling.lower() for spelling in spellings}
    for words in _BOOLEAN_WORDS:
        if lower == set(words):
            seen = " and ".join(repr(spelling) for spelling in sorted(spellings))
            return _boolean_words(name, words, f"two values, {seen}", spellings)
    return None


def _boolean_words(
    name: str, words: tuple[str, str], reason: str, spellings: list[str] | None = None
) -> Column:
    true, false = (_spellings(word, spellings or []) for word in words)
    if words == ("true", "false"):  # bool columns of DataFrames, and those that became 0 and 1 on the way
        true, false = (*true, "1", "1.0"), (*false, "0", "0.0")
    return Column(name, ColumnKind.BOOLEAN, RawType.STRING, reason, true_values=true, false_values=false)


def _spellings(word: str, seen: list[str]) -> tuple[str, ...]:
    own = [spelling for spelling in seen if spelling.lower() == word]
    return tuple(dict.fromkeys([*own, word.capitalize(), word, word.upper()]))


# --- numbers and dates -------------------------------------------------------------------------------


def _guess_numbers_or_dates(name: str, cells: Cells) -> Column | DroppedColumn | None:
    if cells.num_distinct == 0:
        return None
    return (
        _guess_compact_dates(name, cells)
        or _guess_decimals(name, cells)
        or _guess_datetime(name, cells)
        or _guess_written_numbers(name, cells)
    )


# --- numbers -----------------------------------------------------------------------------------------


def plain_numbers(cells: Cells) -> np.ndarray | None:
    """Returns the distinct cells as float64, NaN for other than plain decimals; None if these are many."""
    if cells.num_distinct == 0 or np.isnan(parse_decimals(cells.sample(100))).mean() > 0.5:
        return None
    numbers = parse_decimals(cells.distinct)
    return None if _kept(cells, ~np.isnan(numbers)) is None else numbers


def _guess_decimals(name: str, cells: Cells) -> Column | DroppedColumn | None:
    numbers = plain_numbers(cells)
    if numbers is None or _matches(cells, _LEADING_ZERO).any():
        return None
    readable = ~np.isnan(numbers)
    remark = "" if readable.all() else _remark(cells, ~readable)
    return _guess_numbers(name, cells.where(readable), numbers[readable], remark)


def _remark(cells: Cells, odd: np.ndarray) -> str:
    others = cells.where(odd)
    example = _quoted(others.distinct[0])
    if others.num_present == 1:
        return f"; 1 other value, {example}, counts as missing"
    return f"; {others.num_present} other values such as {example} count as missing"


def _guess_numbers(name: str, cells: Cells, numbers: np.ndarray, remark: str = "") -> Column | DroppedColumn:
    low, high = float(numbers.min()), float(numbers.max())
    whole = bool((numbers == np.round(numbers)).all())
    if cells.num_distinct <= 4 and set(numbers.tolist()) == {0.0, 1.0}:
        return Column(name, ColumnKind.BOOLEAN, RawType.FLOAT32, f"0 or 1{remark}")
    if low == high and cells.missing_share < 0.01:
        more = ", as far as 64-bit numbers can tell" if cells.num_distinct > 1 and abs(low) > 2**53 else ""
        return DroppedColumn(name, f"the same number {low:g} in every row{more}")
    if whole and cells.num_present >= _MIN_ROWS_OF_IDS:
        counts_rows = high - low < 3 * cells.num_present and cells.missing_share == 0
        if cells.num_distinct == cells.num_present and (counts_rows or _named_like_id(name)):
            return DroppedColumn(name, "whole numbers that differ in every row, like a row number or id")
    kind = "whole numbers" if whole else "numbers"
    return Column(name, ColumnKind.NUMERIC, _number_type(numbers), f"{kind} from {low:g} to {high:g}{remark}")


def _number_type(numbers: np.ndarray) -> RawType:
    """float32 keeps 24 bits: too few for larger integers and for small steps on a large offset."""
    largest = float(np.abs(numbers).max())
    with np.errstate(over="ignore"):
        spread = float(np.std(numbers))
    coarse = largest * 2.0**-23 > 1e-3 * spread > 0
    return RawType.FLOAT64 if largest > 2**24 or coarse else RawType.FLOAT32


def _guess_written_numbers(name: str, cells: Cells) -> Column | None:
    """Numbers with one unit or currency throughout (`0.6 m`, `$1,200`), or with decimal commas."""
    for form in NUMBER_FORMATS.values():
        few = parse_numbers(cells.sample(100), form)
        if np.isnan(few).mean() > 0.1:
            continue
        numbers = parse_numbers(cells.distinct, form)
        readable = ~np.isnan(numbers)
        kept = _kept(cells, readable)
        if kept is None or _matches(cells, _LEADING_ZERO).any():
            continue
        bare = pc.replace_substring_regex(kept.distinct, r"[0-9][0-9.,]*", "")
        units = {
            unit.strip() for unit in pc.unique(pc.replace_substring_regex(bare, r"[+\-\s]", "")).to_pylist()
        }
        if len(units - {""}) > 1 or (kept.num_distinct < 3 and units != {""}):
            continue
        unit = next(iter(units - {""}), "")
        if re.fullmatch(CURRENCY + "?", unit) is None and re.search(r"\w[^\w]+\w", unit):
            continue
        remark = "" if readable.all() else _remark(cells, ~readable)
        how = [f"with {unit!r}"] if unit else []
        if form.name == "decimal comma" or not unit:
            how.insert(0, "with decimal commas" if form.name == "decimal comma" else "with commas")
        reason = f"numbers written {' and '.join(how)}, such as {_quoted(kept.distinct[0])}{remark}"
        return Column(name, ColumnKind.NUMERIC, RawType.STRING, reason, number_format=form.name)
    return None


# --- dates -------------------------------------------------------------------------------------------


def _guess_compact_dates(name: str, cells: Cells) -> Column | None:
    """Whole numbers such as 20200131, where every one is a day between 1900 and 2099."""
    return _guess_datetime(name, cells) if _matches(cells, _COMPACT_DATE).all() else None


def _guess_datetime(name: str, cells: Cells) -> Column | None:
    sample = cells.sample(100)
    good = [
        form for form in DATETIME_FORMATS.values() if np.isnan(parse_datetimes(sample, form)).mean() <= 0.1
    ]
    readable = {form.name: ~np.isnan(parse_datetimes(cells.distinct, form)) for form in good}
    shares = {name: cells.share(known) for name, known in readable.items()}
    likely = {form: kept for form in good if (kept := _kept(cells, readable[form.name])) is not None}
    if not likely or cells.num_distinct < 2:
        return None
    best = max(likely, key=lambda form: shares[form.name])
    example = _quoted(likely[best].distinct[0])
    reason = f"dates, {best.name}, such as {example}"
    rival = best.ambiguous_with
    if rival and shares.get(rival, 0.0) == shares[best.name]:
        slashes = bool(pc.any(pc.match_substring(sample, "/")).as_py())
        best = DATETIME_FORMATS["month/day/year" if slashes else "day/month/year"]
        reason = (
            f"dates that could be {best.name} or {best.ambiguous_with}; read as {best.name}, "
            f"such as {example}"
        )
    known = readable[best.name]
    remark = "" if known.all() else _remark(cells, ~known)
    return Column(name, ColumnKind.DATETIME, RawType.STRING, reason + remark, datetime_format=best.name)


# --- strings -----------------------------------------------------------------------------------------


def _guess_strings(name: str, cells: Cells) -> Column | DroppedColumn:
    words = wording(cells)
    count, share = cells.num_distinct, cells.distinct_share
    differs = f"{count} different values in {cells.num_present} rows"
    several = words.mean_words >= 1.8 or not words.spaced
    long = words.mean_characters >= 40 and (words.mean_words >= 5 or not words.spaced)
    if (several and share > 0.7) or (long and share > 0.1 and count > 20):
        script = f"{words.mean_words:.0f} words each" if words.spaced else "a script without spaces"
        return Column(name, ColumnKind.TEXT, RawType.STRING, f"texts: {differs}, {script}")
    if share >= _NEARLY_ALL and cells.num_present >= _MIN_ROWS_OF_IDS:
        return DroppedColumn(
            name, f"single words or codes that differ in nearly every row, like an id ({differs})"
        )
    reason = differs if share > 0.5 else f"{count} different values that repeat"
    known = sorted(cells.distinct.to_pylist()) if count <= _MOST_KNOWN else []
    if sum(map(len, known)) > _MOST_CHARACTERS:
        known = []
    return Column(name, ColumnKind.CATEGORICAL, RawType.STRING, reason, known_values=tuple(known))
