"""What no run can give is refused before anything is read."""

from pathlib import Path

import pytest

from autoflow.errors import UsageError
from autoflow.export.saved_model import Limits
from autoflow.settings import RunSettings, check_settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_trials": 0}, "--max-trials must be 1 or more, got 0"),
        ({"workers": 0}, "--workers must be 1 or more, got 0"),
        ({"limits": Limits(megabytes=0.0)}, "must be above 0"),
        ({"seconds": 1.0}, "too short"),
    ],
)
def test_what_cannot_work_is_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        check_settings(RunSettings(Path("run"), **settings))
