"""Names and values of a table as text that a terminal only shows."""

from __future__ import annotations

import re

from rich.markup import escape

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters but for tab and line feed, and those that turn the direction of writing."""


def visible(text: str) -> str:
    """Returns the text with its control characters as escapes, so that a terminal only shows it.

    A header or a label may hold the sequences with which programs steer a terminal.

    >>> visible("\x1b[2J")
    '\\x1b[2J'
    """
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)


def plain(text: str) -> str:
    """Returns markup of rich that shows the text as `visible` has it.

    >>> plain("[b] \x1b[2J")
    '\\[b] \\x1b[2J'
    """
    return escape(visible(text))
