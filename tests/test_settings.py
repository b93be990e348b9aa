"""What is asked of a run, and what a finished one was asked."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from autoflow.errors import UsageError
from autoflow.export.saved_model import Limits
from autoflow.run import _asks_no_more
from autoflow.settings import RunSettings, check_settings

ASKED = RunSettings(Path("run"), seconds=60.0, max_trials=5, limits=Limits(2.0, math.inf))


@pytest.mark.parametrize("limits", [Limits(row_ms=0), Limits(megabytes=-1), Limits(row_ms=math.nan)])
def test_limits_must_be_above_zero(limits):
    with pytest.raises(UsageError, match="must be above 0"):
        check_settings(replace(ASKED, limits=limits))


@pytest.mark.parametrize(
    ("changes", "no_more"),
    [
        ({}, True),
        ({"seconds": 30.0}, True),
        ({"seconds": 90.0}, False),
        ({"max_trials": None}, False),
        ({"limits": Limits(3.0, math.inf)}, False),
        ({"limits": Limits()}, False),
        ({"limits": Limits(2.0, 5.0)}, False),
    ],
)
def test_a_finished_search_goes_on_where_more_or_other_limits_are_asked(changes, no_more):
    noted = json.loads(json.dumps(ASKED.asked))
    assert _asks_no_more(replace(ASKED, **changes), noted) == no_more
    assert not _asks_no_more(ASKED, None)
