"""Tables of text and how they are rendered: by rich on a terminal, plain where there is none, and as HTML."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

from lora_jax.layout import RULE, find_width, lay_out, wrap
from lora_jax.report.kit.markup import to_markup

if TYPE_CHECKING:
    from rich.console import Console

INTERVAL = "95 % interval"
NOTE_WIDTH = 80  # letters; the note of a narrower table is as wide


@dataclass(frozen=True)
class Table:
    """Columns and rows of text.

    Attributes:
        numeric: Columns that are aligned to the right.
        flagged: Rows that are marked.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    flagged: frozenset[int] = frozenset()
    note: str = ""

    def select(self, names: Sequence[str]) -> "Table":
        """Return the table with these columns only, in this order."""
        at = [self.columns.index(name) for name in names]
        rows = tuple(tuple(row[i] for i in at) for row in self.rows)
        numeric = frozenset(new for new, old in enumerate(at) if old in self.numeric)
        return replace(self, columns=tuple(names), rows=rows, numeric=numeric)


def print_table(table: Table, console: "Console") -> None:
    """Print one table in the console's width: colour and a rule on a terminal, plain text elsewhere."""
    width = console.width

    def put(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    for line in wrap(table.title, width) if table.title else ():
        put(line, "bold")
    widest = 0
    for number, block in enumerate(lay_out(table.columns, table.rows, table.numeric, width)):
        if number:
            put("")
        edge = max((len(line.text) for line in block), default=0)
        widest = max(widest, edge)
        for i, line in enumerate(block):
            put(line.text, "yellow" if line.row in table.flagged else None)
            ends_header = line.row is None and (i + 1 == len(block) or block[i + 1].row is not None)
            if ends_header and console.is_terminal:
                put(RULE * min(edge, width))
    for line in wrap(table.note, min(width, max(widest, NOTE_WIDTH))) if table.note else ():
        put(line, "dim")
    put("")


def make_console(stderr: bool = False) -> "Console":
    """Return the console of the output, as wide as `find_width` says."""
    from rich.console import Console

    # no emoji: ":package:" may be a part of a name
    return Console(highlight=False, emoji=False, width=find_width(), stderr=stderr)


def to_html(table: Table) -> str:
    """Return the table as HTML that scrolls sideways where it is too wide; text is escaped."""
    head = "".join(
        f'<th scope="col"{_align(table, i)}>{to_markup(name)}</th>' for i, name in enumerate(table.columns)
    )
    body = []
    for i, row in enumerate(table.rows):
        cells = "".join(f"<td{_align(table, j)}>{to_markup(cell)}</td>" for j, cell in enumerate(row))
        mark = ' class="flagged"' if i in table.flagged else ""
        body.append(f"<tr{mark}>{cells}</tr>")
    note = f'<p class="note">{to_prose(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll" role="region" aria-label="{to_markup(table.title)}" tabindex="0"><table>'
        f"<caption>{to_markup(table.title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>{note}"
    )


def to_prose(text: str) -> str:
    """Return a sentence as HTML: escaped, powers such as C^0.5 raised, what is in backticks as code."""
    pieces = re.split(r"`([^`]+)`", text)  # words and code in turn
    return "".join(f"<code>{escape(p)}</code>" if i % 2 else _raise(p) for i, p in enumerate(pieces))


def _raise(words: str) -> str:
    return re.sub(r"\^([\u2212-]?[0-9.]*[0-9]|[\u2212-]?[a-zA-Z_]+)", r"<sup>\1</sup>", to_markup(words))


def _align(table: Table, column: int) -> str:
    return ' class="number"' if column in table.numeric else ""
