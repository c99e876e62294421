"""Numbers as people write them: 1.3B, 20M, 1,234,567, 1 234 567, or 6,0363 from a European spreadsheet."""

import math
import re
from collections.abc import Mapping, Sequence

SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}  # in either case
_LONG = {"thousand": "k", "million": "m", "mn": "m", "billion": "b", "bn": "b", "trillion": "t", "tn": "t"}
_NOUN = re.compile(r"(?<=[0-9kmbgtn])\s*(?:tokens?|params?|parameters?|flops?)$", re.IGNORECASE)
POINT, COMMA = ".", ","  # the decimal mark of a column
# marks between thousands: spaces of four widths, the Swiss apostrophe, and the other decimal mark
_GROUPS = " \u00a0\u2009\u202f'\u2019_"
_POWER = r"(?P<power>\s*[x\u00d7*\u00b7]\s*10\s*(?:\^|\*\*)\s*[+-]?\d+)?"


def _pattern(decimal: str, group: str) -> re.Pattern[str]:
    """Return the pattern of a number with its suffix.

    Groups of thousands begin with no 0 and have no exponent, so that 0.123 does not read as 123.
    """
    grouped = rf"[1-9]\d{{0,2}}(?P<mark>[{re.escape(_GROUPS + group)}])\d{{3}}(?:(?P=mark)\d{{3}})*"
    mantissa = rf"(?:{grouped}(?:{re.escape(decimal)}\d*)?(?P<grouped>)|(?:\d+(?:{re.escape(decimal)}\d*)?"
    mantissa += rf"|{re.escape(decimal)}\d+)(?:[eE][+-]?\d+)?{_POWER})"
    return re.compile(
        rf"(?P<sign>[+-]?)(?P<number>{mantissa})(?P<suffix>\s*(?:{'|'.join(_LONG)}|[kmbgt]))?", re.IGNORECASE
    )


_PATTERNS = {POINT: _pattern(POINT, COMMA), COMMA: _pattern(COMMA, POINT)}


def plain_text(text: str, decimal: str = POINT) -> str | None:
    """Return a number as Python writes it, with its suffix: "1,234" becomes "1234".

    None if the text is no number.
    """
    found = _PATTERNS[decimal].fullmatch(text.strip().replace("\u2212", "-"))
    if found is None:
        return None
    number, power = found["number"], found["power"] or ""
    number = number.removesuffix(power)
    if found["mark"]:
        number = number.replace(found["mark"], "")
    number = number.replace(decimal, ".")
    exponent = re.sub(r".*(\^|\*\*)\s*", "e", power)
    if exponent and "e" in number.lower():
        return None
    suffix = (found["suffix"] or "").strip()
    return found["sign"] + number + exponent + _LONG.get(suffix.lower(), suffix)


def read_number(text: str, *, even_unclear: bool = False) -> float | None:
    """Return the number that a text means in a file with decimal points. None if it is no number.

    Marks between thousands and suffixes are allowed. "1,234" may mean 1234 or 1.234, so it is None unless
    `even_unclear`. "1,234,567", "12,345.6" and "1,234.5M" can be read in one way only. "nan" and "inf" mean
    what they mean in Python.
    """
    try:
        return float(text)
    except ValueError:
        pass
    plain = plain_text(text)
    if plain is None or (COMMA in text and is_ambiguous(text) and not even_unclear):
        return None
    size = SUFFIXES.get(plain[-1:].lower(), 1.0)
    return float(plain[:-1] if size != 1 else plain) * size


def read_count(text: str) -> float | None:
    """Return a number that a noun may follow, such as "100B tokens" or "30 million params"."""
    return read_number(_NOUN.sub("", text))


def is_ambiguous(text: str) -> bool:
    """Return whether the text is one number with a decimal point and another with a decimal comma."""
    return len({plain_text(text, mark) for mark in (POINT, COMMA)} - {None}) == 2


def marks_of(cells: Sequence[str]) -> set[str]:
    """Return the decimal marks that some cell needs to be a number: none, one or both."""
    found = set()
    for cell in cells:
        readings = [mark for mark in (POINT, COMMA) if plain_text(cell, mark) is not None]
        if len(readings) == 1:
            found.add(readings[0])
    return found


def respell(
    columns: Mapping[str, Sequence[str]], semicolons: bool = False
) -> tuple[dict[str, str], dict[str, str]]:
    """Find out which decimal mark each column uses.

    Args:
        columns: Cells that are not empty, by column name.
        semicolons: Whether semicolons separate the file's cells. They do where commas are decimal.

    Returns:
        The decimal mark of each column with cells that Python would not read. Then, by column, a cell that is
        one number with a decimal comma and another with a decimal point, if nothing in the file decides.
    """
    if not any(_is_odd(cell) for cells in columns.values() for cell in cells):
        return {}, {}
    numbers = {name: cells for name, cells in columns.items() if _mostly_numbers(cells)}
    marks = {name: marks_of(cells) for name, cells in numbers.items()}
    of_file = set().union(*marks.values())
    found: dict[str, str] = {}
    unclear: dict[str, str] = {}
    for name, cells in numbers.items():
        mark = _mark_of(cells, marks[name], of_file, semicolons)
        if mark is None:
            unclear[name] = next(cell for cell in cells if is_ambiguous(cell))
        elif mark == COMMA or not all(_is_plain(cell) for cell in cells):
            found[name] = mark
    return found, unclear


def _mark_of(cells: Sequence[str], marks: set[str], of_file: set[str], semicolons: bool) -> str | None:
    """Return a column's decimal mark. None if its cells can be read in two ways and nothing decides."""
    if marks:
        return COMMA if marks == {COMMA} else POINT  # with both, a cell that needs a comma is refused later
    doubtful = {mark for cell in cells if is_ambiguous(cell) for mark in (POINT, COMMA) if mark in cell}
    if doubtful == {COMMA}:
        if of_file == {COMMA} or (semicolons and not of_file):
            return COMMA
        return POINT if of_file == {POINT} and not semicolons else None
    if doubtful == {POINT}:
        return None if COMMA in of_file else POINT
    return None if doubtful else POINT


def _mostly_numbers(cells: Sequence[str]) -> bool:
    n = sum(any(plain_text(cell, mark) is not None for mark in (POINT, COMMA)) for cell in cells)
    return n > 0 and 2 * n >= len(cells)


def _is_odd(cell: str) -> bool:
    """Return whether a cell is a number that Python cannot read."""
    return not _is_plain(cell) and any(plain_text(cell, mark) is not None for mark in (POINT, COMMA))


def _is_plain(cell: str) -> bool:
    try:
        return not math.isnan(float(cell))
    except ValueError:
        return False
