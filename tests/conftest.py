"""What tests of several folders share, since importing TensorFlow takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autoflow.export.verify import Verifier


@pytest.fixture(scope="session")
def verifier() -> Iterator[Verifier]:
    """A process that verifies exported models."""
    with Verifier() as process:
        yield process
