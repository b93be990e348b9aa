from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from autoflow.errors import MachineError, UsageError
from autoflow.serving.tables import check_output, write_table

ANSWERS = pd.DataFrame({"label": ["yes, はい", "no"], "score": [0.75, 0.5]}, index=[3, 1])


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_files_hold_the_table(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("old")
    write_table(ANSWERS, path)
    read = pd.read_parquet(path) if name.endswith("parquet") else pd.read_csv(path)
    pd.testing.assert_frame_equal(read, ANSWERS.reset_index(drop=True), check_dtype=False)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_standard_output_gets_csv(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(ANSWERS, None)
    assert capsys.readouterr().out == 'label,score\n"yes, はい",0.75\nno,0.5\n'


def test_a_label_that_a_spreadsheet_would_run_is_only_a_text_in_csv(tmp_path: Path) -> None:
    labels = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "\tx", "-1", "+1.5e3", "no", ""]
    for name in ("a.csv", "a.parquet"):
        write_table(pd.DataFrame({"label": labels}), tmp_path / name)
    read = pd.read_csv(tmp_path / "a.csv", keep_default_na=False, dtype=str)["label"].tolist()
    assert read == ["'" + label for label in labels[:5]] + labels[5:]
    assert pd.read_parquet(tmp_path / "a.parquet")["label"].tolist() == labels


def test_answers_replace_neither_the_table_nor_a_file_of_the_model(tmp_path: Path) -> None:
    table, model = tmp_path / "new.csv", tmp_path / "model"
    table.write_text("x")
    (model / "1").mkdir(parents=True)
    check_output(tmp_path / "answers.csv", keep=(table, model))
    with pytest.raises(UsageError, match="this is the table that is read"):
        check_output(tmp_path / "model" / ".." / "new.csv", keep=(table, model))
    with pytest.raises(UsageError, match="inside the model's folder"):
        check_output(model / "1" / "answers.csv", keep=(table, model))


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.csv, \.csv\.gz or \.parquet"):
        write_table(ANSWERS, tmp_path / "a.xlsx")
    with pytest.raises(UsageError, match="does not exist; make it first"):
        write_table(ANSWERS, tmp_path / "missing" / "a.csv")
    (tmp_path / "taken.csv").mkdir()
    with pytest.raises(MachineError, match="cannot be written"):
        write_table(ANSWERS, tmp_path / "taken.csv")
