"""A fit on the terminal: the verdict in its first line, then tables, then every doubt as a sentence."""

from typing import TYPE_CHECKING

from lora_jax.report.fit import rows
from lora_jax.report.fit.conclusions import describe, doubts, notes, sentence, verdict_line
from lora_jax.report.kit.tables import make_console, print_table
from lora_jax.scaling.results import FitReport
from lora_jax.scaling.verdict import Level

if TYPE_CHECKING:
    from rich.console import Console

MOST_PREDICTIONS = 8
MOST_LAWS = 6
MOST_DOUBTS = 8
_STYLES = {
    Level.BELIEVE: "bold green",
    Level.BE_CAREFUL: "bold yellow",
    Level.DO_NOT_BELIEVE: "bold red",
}


def print_fit(report: FitReport, console: "Console | None" = None) -> None:
    """Print one fit in about 40 lines; the page and the JSON output hold the rest."""
    console = console or make_console()
    verdict, style = verdict_line(report), _STYLES[report.verdict.level]
    # A pipe gets the verdict as one line, however long: whoever reads the first line reads it whole.
    console.print(verdict, style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal)
    for line in describe(report):
        console.print(line, markup=False, highlight=False)
    console.print()
    print_table(rows.parameter_rows(report), console)
    predictions = rows.prediction_rows(report, MOST_PREDICTIONS)
    if predictions is not None:
        print_table(predictions, console)
    for difference in report.differences:
        console.print(sentence(difference.words), markup=False, highlight=False)
    if report.differences:
        console.print()
    comparison = rows.comparison_rows(report.comparison, report.law, MOST_LAWS)
    if comparison is not None and report.comparison is not None:
        print_table(comparison.select([c for c in comparison.columns if c != "formula"]), console)
        console.print(sentence(report.comparison.words), markup=False, highlight=False)
    lines = [f"warning: {line}" for line in doubts(report)]
    for line in lines[:MOST_DOUBTS]:
        console.print(line, style="yellow", markup=False, highlight=False)
    if len(lines) > MOST_DOUBTS:
        more = len(lines) - MOST_DOUBTS
        console.print(f"warning: {more} more are in the page and in the JSON output.", style="yellow")
    for note in notes(report):
        console.print(f"note: {note}", style="dim", markup=False, highlight=False)
