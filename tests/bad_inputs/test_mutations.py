"""Damaged files of the corpus end in a data set or in one of AutoFlow's own errors."""

from __future__ import annotations

from collections import Counter

import pytest
from mutations import DAMAGES, ORIGINALS, mutation, outcome

_COUNT = 300
_BATCHES = 10


@pytest.mark.parametrize("batch", range(_BATCHES))
def test_damaged_files_never_raise_anything_but_our_own_errors(tmp_path, batch):
    outcomes = [outcome(number, tmp_path) for number in range(batch, _COUNT, _BATCHES)]
    assert [each for each in outcomes if not each.good] == []
    assert len(Counter(each.ending for each in outcomes)) > 1  # some are refused, and not all


def test_mutations_are_damaged_and_can_be_made_again():
    assert mutation(7) == mutation(7)
    contents = [content for _, _, content in ORIGINALS]
    changed = sum(mutation(number)[2] != contents[number % len(contents)] for number in range(_COUNT))
    assert changed > 0.9 * _COUNT
    assert len(DAMAGES) == 4
