"""Damages the files of the corpus at random and watches what becomes of them.

`python tests/bad_inputs/mutations.py --count 10000` is the nightly form; the tests do 300. Every mutation has
a number, from which it can be made again: `--first NUMBER --count 1 --keep FOLDER`.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from corpus import CORPUS

from autoflow.data.dataset import load_dataset
from autoflow.data.plan import plan_rows
from autoflow.errors import AutoFlowError

MOST_SECONDS = 10.0
_LARGEST_BYTES = 100_000
_INSERTED = (
    b",",
    b";",
    b"\t",
    b'"',
    b"\0",
    b"\n",
    b"\r",
    b"\xff",
    b"{",
    b"[",
    b"\xef\xbb\xbf",
    b"1e999",
    b"NaN",
)

Damage = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True)
class Outcome:
    """What became of a mutation.

    Args:
        number: of the mutation.
        case: that was damaged.
        ending: "accepted", the name of one of AutoFlow's errors, or what must not be.
        seconds: of processor time.
        good: whether it ended as it may.
    """

    number: int
    case: str
    ending: str
    seconds: float
    good: bool


def _originals() -> list[tuple[str, str, bytes]]:
    """Returns name, file name and bytes of the cases that are small files, good ones thrice."""
    originals = []
    for case in CORPUS:
        if callable(case.content) or not case.content:
            continue
        content = case.content.encode() if isinstance(case.content, str) else case.content
        if len(content) <= _LARGEST_BYTES:
            originals += [(case.name, case.file, content)] * (1 if case.code else 3)
    return originals


def _place(content: bytes, random: np.random.Generator) -> int:
    return int(random.integers(0, len(content) + 1))


def flipped(content: bytes, random: np.random.Generator) -> bytes:
    """Returns the content with up to three bytes changed."""
    damaged = bytearray(content)
    for position in random.integers(0, len(damaged), random.integers(1, 4)):
        damaged[position] ^= int(random.integers(1, 256))
    return bytes(damaged)


def cut(content: bytes, random: np.random.Generator) -> bytes:
    """Returns the content without its end, or without a piece of its middle."""
    first, last = sorted((_place(content, random), _place(content, random)))
    return content[:first] + (content[last:] if random.random() < 0.5 else b"")


def doubled(content: bytes, random: np.random.Generator) -> bytes:
    """Returns the content with a piece of it twice."""
    first, last = sorted((_place(content, random), _place(content, random)))
    return content[:last] + content[first:]


def inserted(content: bytes, random: np.random.Generator) -> bytes:
    """Returns the content with delimiters, quotes, NUL and the like at up to four places."""
    for _ in range(random.integers(1, 5)):
        position = _place(content, random)
        content = content[:position] + _INSERTED[random.integers(len(_INSERTED))] + content[position:]
    return content


DAMAGES: tuple[Damage, ...] = (flipped, cut, doubled, inserted)
ORIGINALS = _originals()


def mutation(number: int) -> tuple[str, str, bytes]:
    """Returns the name of the case, the file name and the bytes of a mutation."""
    random = np.random.default_rng(number)
    case, file, content = ORIGINALS[number % len(ORIGINALS)]
    return case, file, DAMAGES[random.integers(len(DAMAGES))](content, random)


def outcome(number: int, folder: Path) -> Outcome:
    """Does all that `fit` does with a table before its search begins, and says how it ended."""
    case, file, content = mutation(number)
    path = folder / file
    path.write_bytes(content)
    started = time.process_time()
    good = True
    try:
        dataset, _, _ = load_dataset(path)
        plan_rows(dataset, seed=0, seconds=300.0)
        dataset.profile()
        assert dataset.fingerprint
        ending = "accepted"
    except AutoFlowError as error:
        ending, message = type(error).__name__, str(error)
        if not message or len(message) > 2000 or "\n" in message:
            ending, good = f"a message of {len(message)} characters: {message!r}", False
    except Exception as error:
        ending, good = f"{type(error).__name__}: {error}", False
    finally:
        path.unlink()
    seconds = time.process_time() - started
    if seconds > MOST_SECONDS:
        ending, good = f"{seconds:.1f} seconds", False
    return Outcome(number, case, ending, seconds, good)


def main() -> int:
    """Tries many mutations, prints what went wrong and a count of endings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--keep", type=Path, help="folder to write the files to, instead of trying them")
    given = parser.parse_args()
    numbers = range(given.first, given.first + given.count)
    if given.keep is not None:
        for number in numbers:
            _, file, content = mutation(number)
            (given.keep / f"{number}-{file}").write_bytes(content)
        return 0
    endings: Counter[str] = Counter()
    slowest, wrong = Outcome(-1, "none", "", 0.0, True), 0
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            faulthandler.dump_traceback_later(60, exit=True)  # a hang; the traceback says where
            found = outcome(number, Path(folder))
            faulthandler.cancel_dump_traceback_later()
            endings[found.ending if found.good else "wrong"] += 1
            slowest = max(slowest, found, key=lambda each: each.seconds)
            if not found.good:
                wrong += 1
                print(f"mutation {number} of {found.case!r}: {found.ending}", flush=True)
    counted = ", ".join(f"{count:,} {ending}" for ending, count in endings.most_common())
    print(f"{len(numbers):,} mutations in {time.perf_counter() - started:.0f} s: {counted}")
    print(
        f"slowest: mutation {slowest.number} of {slowest.case!r}, {slowest.seconds:.2f} s of processor time"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
