"""A transfer report on the terminal."""

from typing import TYPE_CHECKING

from lora_jax.report.kit.tables import make_console
from lora_jax.report.kit.terminal import first_warnings, print_answer, put
from lora_jax.report.transfer import rows
from lora_jax.report.transfer.conclusions import headline, summarise, warnings_of
from lora_jax.scaling.rates.results import TransferReport

if TYPE_CHECKING:
    from rich.console import Console


def print_transfer(report: TransferReport, console: "Console | None" = None) -> None:
    """Print the answer, the drifts, the best rates, what is wrong, and the rule of each series."""
    console = console or make_console()
    tables = (rows.drift_rows(report), rows.bowl_rows(report))
    print_answer(console, headline(report), tables, first_warnings(warnings_of(report)), summarise(report))
    for series in report.series:
        put(console, "")
        put(console, f"Rule, {series.label}:", "bold")
        if series.rule.code is not None:
            put(console, series.rule.code)
        for line in series.rule.words:
            put(console, line)
