"""A transfer report on the terminal."""

from typing import TYPE_CHECKING

from lora_jax.report.kit.tables import make_console, print_table
from lora_jax.report.transfer import rows
from lora_jax.report.transfer.conclusions import headline, summarise, warnings_of
from lora_jax.scaling.rates.results import TransferReport

if TYPE_CHECKING:
    from rich.console import Console

MOST_WARNINGS = 8


def print_transfer(report: TransferReport, console: "Console | None" = None) -> None:
    """Print the answer, the drifts, the best rates, what is wrong, and the rule of each series."""
    console = console or make_console()

    def put(text: str, look: str | None = None) -> None:
        console.print(text, style=look, markup=False, highlight=False)

    put(headline(report), "bold")
    put("")
    for table in (rows.drift_rows(report), rows.bowl_rows(report)):
        if table.rows:
            print_table(table, console)
    warnings = warnings_of(report)
    for line in warnings[:MOST_WARNINGS]:
        put(f"warning: {line}", "yellow")
    if len(warnings) > MOST_WARNINGS:
        put(f"warning: and {len(warnings) - MOST_WARNINGS} more, of sizes that the table marks", "yellow")
    for line in summarise(report):
        put(line)
    for series in report.series:
        put("")
        put(f"Rule, {series.label}:", "bold")
        if series.rule.code is not None:
            put(series.rule.code)
        for line in series.rule.words:
            put(line)
