"""Every strange table of the corpus ends as it must: no traceback, no hang, no shifted column."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pyarrow as pa
import pytest
from cases import ACCEPTED, REFUSED, Case
from corpus import CORPUS
from typer.testing import CliRunner, Result

from autoflow.cli import app
from autoflow.data import file_bytes
from autoflow.data.headers import header_warnings
from autoflow.data.reading import read_table

_MOST_SECONDS = 10.0
_RAW_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f\u202e]")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Nobody will write into the pipe without a writer, so that waiting shorter changes nothing."""
    monkeypatch.setattr(file_bytes, "_WRITER_SECONDS", 0.2)


def run(command: str, path: Path, case: Case) -> Result:
    started = time.process_time()  # of this process alone; a hang ends at the timeout of pytest
    result = CliRunner().invoke(app, [command, str(path), *case.options])
    assert time.process_time() - started < _MOST_SECONDS
    assert result.exit_code == case.code, result.output
    assert "Traceback" not in result.output
    assert not _RAW_CONTROLS.search(result.output)
    if case.code:
        assert 1 <= len(result.stderr.strip().splitlines()) <= 2
        assert all(word in result.stderr for word in case.words), result.stderr
    return result


def test_the_corpus_is_large_and_its_names_differ():
    names = [case.name for case in CORPUS]
    assert len(set(names)) == len(names) >= 80


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name.replace(" ", "-"))
def test_a_strange_table_ends_as_it_must(case, tmp_path):
    result = run("check", case.write(tmp_path), case)
    if case.code == ACCEPTED:
        assert "AutoFlow accepts this table" in result.stdout
        assert all(word in result.stdout for word in case.words), result.stdout
    for column, kind in case.kinds.items():
        assert re.search(rf"^  {re.escape(column)} +{kind}  ", result.stdout, re.MULTILINE), result.stdout


@pytest.mark.parametrize(
    "case", [case for case in CORPUS if case.cells], ids=lambda case: case.name.replace(" ", "-")
)
def test_every_cell_is_read_in_its_place(case, tmp_path):
    encoding = dict(zip(case.options[::2], case.options[1::2], strict=True)).get("--encoding")
    table = read_table(case.write(tmp_path), encoding=encoding)
    assert {header: column.to_pylist() for header, column in table.columns.items()} == case.cells


@pytest.mark.parametrize(
    "case", [case for case in CORPUS if case.code == REFUSED], ids=lambda case: case.name.replace(" ", "-")
)
def test_fit_refuses_before_it_makes_a_folder(case, tmp_path, monkeypatch):
    path = case.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    run("fit", path, case)
    assert not list(tmp_path.glob("*-autoflow"))


@pytest.mark.parametrize(
    ("headers", "labels", "warned"),
    [
        (("airbag", "size", "kind"), ("new", "old"), False),
        (("airbag", "0.5", "kind"), ("new", "old"), True),
        (("bag", "size", "new"), ("new", "old"), True),
        (("0", "1", "2"), ("0", "2"), False),
    ],
)
def test_headers_that_look_like_a_row(headers, labels, warned):
    cells = (["airbag", "none"] * 20, [f"{i % 7}.5" for i in range(40)], list(labels) * 20)
    columns = {header: pa.array(column) for header, column in zip(headers, cells, strict=True)}
    assert bool(header_warnings(columns, headers[-1])) == warned


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("a,label\n1,x\n")
    read = Path.read_bytes

    def read_and_append(self: Path) -> bytes:
        data = read(self)
        with self.open("a") as file:
            file.write("2,y\n")
        return data

    monkeypatch.setattr(Path, "read_bytes", read_and_append)
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == REFUSED
    assert "t.csv: the file changed while it was read" in result.stderr
