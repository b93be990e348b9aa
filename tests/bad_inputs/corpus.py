"""The strange tables of issue 5, each with what must happen; `python corpus.py FOLDER` writes them all.

What models must do with strange rows is in `test_predictions.py`, as it needs a model.
"""

from __future__ import annotations

import sys
from pathlib import Path

import label_trouble
import not_tables
import shape_trouble
import text_trouble
import value_trouble

CORPUS = (
    *not_tables.CASES,
    *text_trouble.CASES,
    *shape_trouble.CASES,
    *value_trouble.CASES,
    *label_trouble.CASES,
)


def main(folder: Path) -> None:
    """Writes every case into a folder of its own and prints what must happen."""
    for case in CORPUS:
        home = folder / "".join(character if character.isalnum() else "-" for character in case.name)
        home.mkdir(parents=True)
        path = case.write(home)
        print(f"{path} {' '.join(case.options)}: exit code {case.code}, {'; '.join(case.words)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
