"""Tables rendered: on the terminal by rich, plain where there is no terminal, and as HTML."""

import re
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from lora_jax.report import rows
from lora_jax.report.results import Results
from lora_jax.report.rows import Table
from lora_jax.report.settings import SHOWN, split_settings
from lora_jax.report.words import headline, summarise

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 150  # of a table in a file or a pipe, which tell no width


def print_fits(fits: Mapping[str, Any], console: "Console | None" = None) -> None:
    """Print the content of fits.json: the verdict in its first line, then exponents, frontier, held-out cell,
    conventions, warnings, summary.
    """
    console = console or make_console()
    whole = not console.is_terminal  # whoever reads the first line of a pipe reads it whole
    console.print(headline(fits), style="bold", markup=False, highlight=False, soft_wrap=whole)
    console.print()
    tables = [
        rows.exponent_rows(fits), rows.frontier_rows(fits), rows.convention_rows(fits), rows.rate_rows(fits),
        rows.heldout_rows(fits),
    ]  # fmt: skip
    for table in tables:
        if table is not None:
            print_table(table, console)
    for line in rows.warnings_of(fits):
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False)
    for paragraph in summarise(fits):
        console.print(paragraph, markup=False, highlight=False)


def print_runs(results: Results, console: "Console | None" = None) -> None:
    """Print every run of a results folder; the page has more columns than a terminal."""
    wanted = ("run", "N", "D", "FLOPs", "held-out loss", "± se", "wall time", "in the fits")
    print_table(rows.run_rows(results, {}).select(wanted), console or make_console())


def swept_settings(results: Results) -> dict[str, dict[str, str]]:
    """Return the settings that differ between the runs, less those that the run table shows anyway."""
    _, swept = split_settings({i: record["config"] for i, record in results.records.items()})
    return {name: values for name, values in swept.items() if name not in SHOWN}


def print_table(table: Table, console: "Console") -> None:
    """Print one table: lines and colour on a terminal, aligned plain text elsewhere."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(
        title=Text(table.title), title_justify="left", title_style="bold", caption_justify="left",
        box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False,
        caption=Text(table.note) if table.note else None, caption_style="dim",
    )  # fmt: skip
    for i, name in enumerate(table.columns):
        number = i in table.numeric
        # A number or a name is never broken over lines; words are, where the terminal is narrow.
        whole = number or name in (rows.INTERVAL, "run", "law")
        shown.add_column(Text(name), justify="right" if number else "left", no_wrap=whole)
    for i, row in enumerate(table.rows):
        shown.add_row(*(Text(cell) for cell in row), style="yellow" if i in table.flagged else None)
    console.print(shown)
    console.print()


def make_console() -> "Console":
    """Return the terminal, or plain text wide enough for a table where there is none."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def to_html(table: Table) -> str:
    """Return the table as HTML that scrolls sideways where it is too wide; text is escaped."""
    head = "".join(
        f'<th scope="col"{_align(table, i)}>{escape(name)}</th>' for i, name in enumerate(table.columns)
    )
    body = []
    for i, row in enumerate(table.rows):
        cells = "".join(f"<td{_align(table, j)}>{escape(cell)}</td>" for j, cell in enumerate(row))
        mark = ' class="flagged"' if i in table.flagged else ""
        body.append(f"<tr{mark}>{cells}</tr>")
    note = f'<p class="note">{to_prose(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll" role="region" aria-label="{escape(table.title)}" tabindex="0"><table>'
        f"<caption>{escape(table.title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>{note}"
    )


def to_prose(text: str) -> str:
    """Return a sentence as HTML: escaped, with powers such as C^0.5 raised."""
    return re.sub(r"\^([\u2212-]?[0-9.]*[0-9]|[\u2212-]?[a-zA-Z_]+)", r"<sup>\1</sup>", escape(text))


def _align(table: Table, column: int) -> str:
    return ' class="number"' if column in table.numeric else ""
