"""Text in figures: what somebody wrote is shown as it is written, and only our own mathematics is set.

matplotlib takes whatever lies between two dollars for mathematics, hides what begins with an underscore
from legends, and warns of characters that its font has not. A label may hold any of these.
"""

import unicodedata
from functools import lru_cache

LONGEST_NAME = 36  # characters of a label in a legend or beside an axis


class Maths(str):
    """Text of ours in which matplotlib sets what lies between dollars; nothing else is parsed."""

    __slots__ = ()

    def __str__(self) -> str:  # matplotlib takes str() of what it is given: it must stay what it is
        return self


def name_of(text: str, longest: int = LONGEST_NAME) -> str:
    """Return somebody's name of a thing in one line, as a legend or an axis shows it, its middle cut."""
    line = " ".join(readable(text).split())
    line = cut(line, longest) or "(no name)"
    return f" {line}" if line[0] == "_" else line  # a legend leaves out what begins so


def readable(text: str) -> str:
    """Return text without what cannot be drawn: controls are spaces, what the font lacks is its number."""
    return "".join(_drawable(c) for c in text)


def cut(line: str, longest: int) -> str:
    """Return a line of at most `longest` characters, its middle left out."""
    if len(line) <= longest:
        return line
    end = longest // 2
    return f"{line[: longest - end - 1]}\u2026{line[-end:]}"


@lru_cache(maxsize=4096)
def _drawable(c: str) -> str:
    kind = unicodedata.category(c)
    if kind in ("Cc", "Zl", "Zp"):
        return " "
    if kind == "Cf":  # joiners, and what turns the direction of all that follows
        return ""
    if kind != "Cs" and _has_glyph(c):
        return c
    return "" if kind == "Mn" else ascii(c)[1:-1]


def _has_glyph(c: str) -> bool:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return get_font(findfont(FontProperties())).get_char_index(ord(c)) != 0
