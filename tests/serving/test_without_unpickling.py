"""Predicting and evaluating neither unpickle anything nor run code, nor reach the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
from fake_model import Served

SCRIPT = Path(__file__).with_name("without_unpickling.py")


def test_a_model_answers_where_nothing_can_be_unpickled(served: Served, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    served.table.assign(**{"2nd": ["3", "10", "200", "3"]}).to_csv(data, index=False)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(served.run), str(data)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(pd.read_csv(data))} 3\n"  # and the refusals of that script do refuse
