"""A fit on the terminal: the verdict in its first line, then tables, then every doubt as a sentence."""

from typing import TYPE_CHECKING

from lora_jax.report import fit_rows
from lora_jax.report.fit_words import Document, describe, doubts, notes, sentence, verdict_line
from lora_jax.report.tables import PLAIN_WIDTH, print_table

if TYPE_CHECKING:
    from rich.console import Console

MOST_PREDICTIONS = 8
MOST_LAWS = 6
MOST_DOUBTS = 8
_STYLES = {"believe it": "bold green", "be careful": "bold yellow"}


def print_fit(document: Document, console: "Console | None" = None) -> None:
    """Print one fit in about 40 lines; the page and the JSON output hold the rest."""
    from rich.console import Console

    if console is None:
        console = Console(highlight=False)
        console = console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)
    verdict = verdict_line(document)
    style = _STYLES.get(verdict.partition(":")[0], "bold red")
    # A pipe gets the verdict as one line, however long: whoever reads the first line reads it whole.
    console.print(verdict, style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal)
    for line in describe(document):
        console.print(line, markup=False, highlight=False)
    console.print()
    print_table(fit_rows.parameter_rows(document), console)
    predictions = fit_rows.prediction_rows(document, MOST_PREDICTIONS)
    if predictions is not None:
        print_table(predictions, console)
    for difference in document["differences"]:
        console.print(sentence(difference["words"]), markup=False, highlight=False)
    if document["differences"]:
        console.print()
    comparison = fit_rows.comparison_rows(document, MOST_LAWS)
    if comparison is not None:
        print_table(comparison.select([c for c in comparison.columns if c != "formula"]), console)
        console.print(sentence(document["comparison"]["words"]), markup=False, highlight=False)
    lines = [f"warning: {line}" for line in doubts(document)]
    for line in lines[:MOST_DOUBTS]:
        console.print(line, style="yellow", markup=False, highlight=False)
    if len(lines) > MOST_DOUBTS:
        more = len(lines) - MOST_DOUBTS
        console.print(f"warning: {more} more are in the page and in the JSON output.", style="yellow")
    for note in notes(document):
        console.print(f"note: {note}", style="dim", markup=False, highlight=False)
