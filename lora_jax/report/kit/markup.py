"""The words of a report as HTML: the one place where they are escaped, and where a number keeps its sign.

What a reader may copy and run, such as a command, is escaped by `html.escape` alone and stays as it is typed.
"""

import re
from html import escape

NO_BREAK = "\u00a0"  # a space at which no line ends
_PERCENT = re.compile(r"(?<=[0-9.]) %")


def keep_together(text: str) -> str:
    """Join each number to its percent sign by a space at which no line ends: "+0.03 %", "95 %"."""
    return _PERCENT.sub(f"{NO_BREAK}%", text)


def to_markup(text: str) -> str:
    """Return words as HTML: escaped, numbers joined to their percent signs."""
    return escape(keep_together(text))
