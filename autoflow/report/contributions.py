"""What each column contributed, as a line of text."""

from __future__ import annotations

from collections.abc import Mapping

_SHOWN_COLUMNS = 5


def contribution_line(contributions: Mapping[str, float]) -> str:
    """Returns the columns with the largest shares of what the gates of a network let through.

    >>> contribution_line({"title": 0.61, "price": 0.345, "place": 0.045})
    'how far the model listens to each column: title 61%, price 34%, place 4%'

    Args:
        contributions: shares by raw header, one or more.
    """
    largest = sorted(contributions.items(), key=lambda item: -item[1])[:_SHOWN_COLUMNS]
    more = len(contributions) - len(largest)
    listed = ", ".join(f"{name} {share:.0%}" for name, share in largest)
    return f"how far the model listens to each column: {listed}" + (
        f" (of {more + len(largest)} columns)" if more else ""
    )
