"""Work on one column after the other, on all cores: Arrow and NumPy let go of the interpreter meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from autoflow.machine import available_cores

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def for_each(function: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
    """Returns what a function gives for each item, in their order; the first error in that order is raised.

    Args:
        function: looks at its argument only, so that it may run on several threads.
        items: such as columns.

    >>> for_each(len, ["a", "bc"])
    [1, 2]
    """
    pool = ThreadPoolExecutor(available_cores())
    try:
        answers = list(pool.map(function, items))
    except BaseException:  # after an error or Ctrl-C nobody waits for the others
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return answers
