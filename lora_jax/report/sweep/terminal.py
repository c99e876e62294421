"""A sweep's fits and its runs on the terminal."""

from typing import TYPE_CHECKING

from lora_jax.report.kit.tables import make_console, print_table
from lora_jax.report.sweep import rows
from lora_jax.report.sweep.conclusions import headline, summarise
from lora_jax.report.sweep.results import Results
from lora_jax.scaling.sweep_results import SweepReport

if TYPE_CHECKING:
    from rich.console import Console


def print_fits(fits: SweepReport, console: "Console | None" = None) -> None:
    """Print what the fits of a sweep found, or what is lacking where no law is fitted.

    The verdict is the first line; then exponents, frontier, held-out cell, conventions, warnings, summary.
    """
    console = console or make_console()
    whole = not console.is_terminal  # whoever reads the first line of a pipe reads it whole
    console.print(headline(fits), style="bold", markup=False, highlight=False, soft_wrap=whole)
    console.print()
    tables = [
        rows.exponent_rows(fits),
        rows.frontier_rows(fits),
        rows.convention_rows(fits),
        rows.rate_rows(fits),
        rows.heldout_rows(fits),
    ]
    for table in tables:
        if table is not None and table.rows:
            print_table(table, console)
    for line in rows.warnings_of(fits):
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False)
    for paragraph in summarise(fits):
        console.print(paragraph, markup=False, highlight=False)


def print_runs(results: Results, console: "Console | None" = None) -> None:
    """Print every run of a results folder; the page has more columns than a terminal."""
    wanted = ("run", "N", "D", "FLOPs", "held-out loss", "± se", "wall time", "in the fits")
    print_table(rows.run_rows(results, {}).select(wanted), console or make_console())
