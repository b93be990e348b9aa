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
    assert done.stdout == f"{len(pd.read_csv(data))}\n"


def test_the_refusals_of_that_script_do_refuse(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import without_unpickling
without_unpickling._refuse_all()
import pickle, joblib, numpy as np
for attempt in (
    lambda: pickle.loads(b"N."),
    lambda: joblib.load("x"),
    lambda: np.load("x", allow_pickle=True),
):
    try:
        attempt()
    except AssertionError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("was called") == 3
