"""What is asked of a run, what no run can give, and what a finished one was asked."""

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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_trials": 0}, "--max-trials must be 1 or more, got 0"),
        ({"workers": 0}, "--workers must be 1 or more, got 0"),
        ({"limits": Limits(megabytes=0.0)}, "must be above 0"),
        ({"limits": Limits(row_ms=-1.0)}, "must be above 0"),
        ({"limits": Limits(row_ms=math.nan)}, "must be above 0"),
        ({"seconds": 1.0}, "too short"),
    ],
)
def test_what_cannot_work_is_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        check_settings(RunSettings(Path("run"), **settings))


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
