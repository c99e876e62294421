"""Lay a table of text out in the width of the output. No cell is cut, and no name is broken over lines."""

import os
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from itertools import zip_longest
from typing import NamedTuple

PIPE_WIDTH = 150  # letters in a line of a file or a pipe, which have no width
NARROWEST = 20
GAP = "  "
SHARE = "[progress.percentage]{task.percentage:>3.0f} %"  # the share in a bar, as rich formats it
RULE = "\u2500"
INDENT = "    "  # in front of cells that stand below their row
PROSE = 40  # letters: a longer cell with several words is a sentence and may be wrapped
READABLE = 40  # letters: in a narrower column a sentence is hard to read, so it goes below its row


class Line(NamedTuple):
    """One line of a table.

    Attributes:
        text: The line.
        row: Number of the row that it belongs to. None for the header.
    """

    text: str
    row: int | None


def find_width() -> int:
    """Return the letters in a line of the output: $COLUMNS, else the terminal's, else those of a pipe."""
    set_by_hand = os.environ.get("COLUMNS", "")
    if set_by_hand.isdecimal() and int(set_by_hand) > 0:
        return max(NARROWEST, int(set_by_hand))
    if not sys.stdout.isatty():
        return PIPE_WIDTH
    return max(NARROWEST, shutil.get_terminal_size().columns)


def lay_out(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[int], width: int
) -> list[list[Line]]:
    """Return the lines of a table, in one block if it fits `width`, otherwise in several.

    If it does not fit, we try in this order: headers over several lines; sentences over several lines of
    their column, or below their row; blocks of columns, each of which repeats the first column; and one line
    for each cell. A line is longer than `width` only if a single word is.

    Args:
        columns: The headers.
        rows: The cells of each row.
        numeric: Numbers of the columns that are aligned to the right.
        width: Letters in a line.
    """
    if not columns:
        return []
    table = _Columns(columns, rows, numeric)
    kept = list(range(len(columns)))
    below: list[int] = []
    if table.measure(kept, whole_headers=True) <= width:
        return [table.draw(kept, {}, whole_headers=True)]
    rooms = table.make_room(kept, width, whole_headers=True)
    if rooms:
        return [table.draw(kept, rooms, whole_headers=True)]
    while table.measure(kept) > width and any(table.is_prose(i) for i in kept[1:]):
        rooms = table.make_room(kept, width)
        if rooms:
            return [table.put_below(table.draw(kept, rooms), below, width)]
        widest = table.find_sentences(kept)
        kept, below = [i for i in kept if i != widest], sorted([*below, widest])
    blocks = _split(table, kept, width)
    if blocks is None:
        return [table.stack(width)]
    drawn = [table.draw(block, {}) for block in blocks]
    return [*drawn[:-1], table.put_below(drawn[-1], below, width)]


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Return a sentence in lines of at most `width`. A longer word stands whole in its own line."""
    return textwrap.wrap(
        text,
        max(width, len(indent) + 1),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def draw(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[int]) -> list[str]:
    """Return a table as plain lines in the width of the output, with a rule under the header."""
    found: list[str] = []
    for block in lay_out(columns, rows, numeric, find_width()):
        header = [line.text for line in block if line.row is None]
        rule = [RULE * max(len(line.text) for line in block)] if header else []
        found += [*([""] if found else []), *header, *rule]
        found += [line.text for line in block if line.row is not None]
    return found


def fill(text: str) -> str:
    """Return a sentence on as many lines as it needs in the width of the output."""
    return "\n".join(wrap(text, find_width()))


def _split(table: "_Columns", kept: Sequence[int], width: int) -> list[list[int]] | None:
    """Return the columns of each block.

    All have the first column. None if a column is too wide for any block.
    """
    groups: list[list[int]] = []
    for i in kept[1:]:
        if groups and table.columns[i].endswith("interval"):  # an interval stays beside its number
            groups[-1].append(i)
        else:
            groups.append([i])
    blocks: list[list[int]] = [[kept[0]]]
    for group in groups:
        if table.measure([*blocks[-1], *group]) > width and len(blocks[-1]) > 1:
            blocks.append([kept[0]])
        blocks[-1] += group
    return blocks if all(table.measure(block) <= width for block in blocks) else None


class _Columns:
    """A table with the widths of its columns.

    `widths` are those of cells, and `header_widths` those of headers with one word in each line.
    """

    def __init__(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[int]
    ) -> None:
        self.columns, self.rows, self.numeric = columns, rows, numeric
        self.widths = [max((len(row[i]) for row in rows), default=0) for i in range(len(columns))]
        self.header_widths = [max((len(word) for word in name.split()), default=0) for name in columns]

    def is_prose(self, column: int) -> bool:
        """Return whether a column holds sentences."""
        cells = [row[column] for row in self.rows]
        return column not in self.numeric and any(len(cell) > PROSE and " " in cell for cell in cells)

    def find_sentences(self, block: Sequence[int]) -> int:
        """Return the widest column of sentences."""
        return max((i for i in block[1:] if self.is_prose(i)), key=lambda i: self.widths[i])

    def make_room(self, block: Sequence[int], width: int, whole_headers: bool = False) -> dict[int, int]:
        """Return the width that the others leave for the widest column of sentences.

        It is empty if that is too little.
        """
        if not any(self.is_prose(i) for i in block[1:]):
            return {}
        widest = self.find_sentences(block)
        others = [i for i in block if i != widest]
        room = width - self.measure(others, whole_headers) - len(GAP)
        header = len(self.columns[widest]) if whole_headers else self.header_widths[widest]
        return {widest: room} if room >= max(READABLE, header) else {}

    def measure(self, block: Sequence[int], whole_headers: bool = False) -> int:
        """Return the width of a block of columns."""
        return sum(self._widths(block, {}, whole_headers)) + len(GAP) * (len(block) - 1)

    def _widths(self, block: Sequence[int], rooms: dict[int, int], whole_headers: bool) -> list[int]:
        headers = [len(name) for name in self.columns] if whole_headers else self.header_widths
        return [rooms.get(i, max(self.widths[i], headers[i])) for i in block]

    def draw(self, block: Sequence[int], rooms: dict[int, int], whole_headers: bool = False) -> list[Line]:
        """Return the lines of some columns.

        Args:
            block: The columns.
            rooms: Widths of the columns whose cells are wrapped.
            whole_headers: Whether headers stay on one line.
        """
        widths = self._widths(block, rooms, whole_headers)
        headers = [wrap(self.columns[i], width) for i, width in zip(block, widths, strict=True)]
        deepest = max(map(len, headers))
        headers = [[""] * (deepest - len(header)) + header for header in headers]
        lines = [Line(self._join(block, cells, widths), None) for cells in zip(*headers, strict=True)]
        for number, row in enumerate(self.rows):
            cells = [wrap(row[i], rooms[i]) if i in rooms else [row[i]] for i in block]
            for parts in zip_longest(*cells, fillvalue=""):
                lines.append(Line(self._join(block, parts, widths), number))
        return lines

    def _join(self, block: Sequence[int], cells: Sequence[str], widths: Sequence[int]) -> str:
        padded = [
            cell.rjust(width) if i in self.numeric else cell.ljust(width)
            for i, cell, width in zip(block, cells, widths, strict=True)
        ]
        return GAP.join(padded).rstrip()

    def put_below(self, lines: list[Line], below: Sequence[int], width: int) -> list[Line]:
        """Return the lines, with the cells of some columns below their row."""
        found: list[Line] = []
        for i, line in enumerate(lines):
            found.append(line)
            if line.row is not None and (i + 1 == len(lines) or lines[i + 1].row != line.row):
                found += self._tell(line.row, below, width)
        return found

    def stack(self, width: int) -> list[Line]:
        """Return a line for each cell: that of the first column, and under it the others with their names."""
        found: list[Line] = []
        for number, row in enumerate(self.rows):
            found.append(Line(row[0], number))
            found += self._tell(number, range(1, len(self.columns)), width)
        return found

    def _tell(self, number: int, columns: Collection[int], width: int) -> list[Line]:
        row = self.rows[number]
        named = [f"{self.columns[i]}: {row[i]}" if self.columns[i] else row[i] for i in columns if row[i]]
        return [Line(part, number) for text in named for part in wrap(f"{INDENT}{text}", width, INDENT)]
