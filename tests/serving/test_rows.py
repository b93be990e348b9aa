"""Rows for a model: what is said about cells that it cannot read."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autoflow.data.schema import Column, ColumnKind, RawType, Schema
from autoflow.serving.rows import open_table, raw_rows
from autoflow.testing.pictures import png

SCHEMA = Schema((Column("photo", ColumnKind.IMAGE, RawType.STRING),), "kind", ("a", "b"))


@pytest.mark.parametrize(("known", "hinted"), [(0, True), (1, False)])
def test_where_no_picture_is_found_the_folder_is_named(tmp_path: Path, known: int, hinted: bool) -> None:
    for number in range(known):
        (tmp_path / f"{number}.png").write_bytes(png(np.zeros((4, 4, 3), np.uint8)))
    table = open_table(pd.DataFrame({"photo": ["0.png", "1.png", ""]}), None, tmp_path)
    warnings = " ".join(raw_rows(SCHEMA, table).warnings)
    assert f"{2 - known} picture" in warnings
    assert ("--image-folder" in warnings) == hinted
    assert (str(tmp_path) in warnings) == hinted


def test_pictures_in_the_table_itself_have_no_folder() -> None:
    table = open_table(pd.DataFrame({"photo": [b"no picture"] * 2}), None, None)
    (warning,) = raw_rows(SCHEMA, table).warnings
    assert "--image-folder" not in warning


COLOURS = Schema(
    (
        Column(
            "colour", ColumnKind.CATEGORICAL, RawType.STRING, known_values=("blue", "green", "red", "white")
        ),
    ),
    "kind",
    ("a", "b"),
)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["Red", "BLUE", "", "Red"], "3 of 3 filled cells hold what no training row had ('Red', 'BLUE')"),
        (["rot"] * 19 + ["red"], "19 of 20 filled cells hold what no training row had ('rot')"),
        (["red", " blue ", "mauve", None], ""),
        (["", None, " ", ""], ""),
    ],
)
def test_a_column_of_hardly_any_known_category_is_said(cells: list, said: str) -> None:
    warnings = raw_rows(COLOURS, open_table(pd.DataFrame({"colour": cells}), None, None)).warnings
    assert len(warnings) == bool(said)
    assert all(said in line and "the DataFrame: column 'colour': " in line for line in warnings)
    assert all("; known are 'blue', 'green', 'red', ..." in line for line in warnings)


def test_a_column_whose_categories_are_too_many_to_keep_is_not_looked_at() -> None:
    schema = Schema((Column("code", ColumnKind.CATEGORICAL, RawType.STRING),), "kind", ("a", "b"))
    assert raw_rows(schema, open_table(pd.DataFrame({"code": ["new"]}), None, None)).warnings == ()
