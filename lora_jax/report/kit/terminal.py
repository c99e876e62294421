"""An answer on the terminal: its first line, its tables, what is wrong, and sentences."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_jax.report.kit.tables import Table, print_table

if TYPE_CHECKING:
    from rich.console import Console

MOST_WARNINGS = 8


def print_answer(
    console: "Console", headline: str, tables: Sequence[Table], warnings: Sequence[str], lines: Sequence[str]
) -> None:
    """Print an answer; a table without rows is left out."""
    put(console, headline, "bold")
    put(console, "")
    for table in tables:
        if table.rows:
            print_table(table, console)
    for line in warnings:
        put(console, line, "yellow")
    for line in lines:
        put(console, line)


def first_warnings(warnings: Sequence[str]) -> list[str]:
    """Return the first warnings about the sizes of a sweep as lines, and how many more there are."""
    shown = [f"warning: {line}" for line in warnings[:MOST_WARNINGS]]
    more = len(warnings) - MOST_WARNINGS
    return [*shown, f"warning: and {more} more, about sizes that the table marks"] if more > 0 else shown


def put(console: "Console", text: str, look: str | None = None) -> None:
    """Print a line as it is."""
    console.print(text, style=look, markup=False, highlight=False)
