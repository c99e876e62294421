"""Laws of fine-tuning on the terminal."""

from typing import TYPE_CHECKING

from lora_jax.report.finetuning.law_conclusions import summarise
from lora_jax.report.finetuning.law_rows import all_rows
from lora_jax.report.kit.tables import make_console, print_table
from lora_jax.scaling.finetuning.results import FinetuningReport

if TYPE_CHECKING:
    from rich.console import Console


def print_finetuning(report: FinetuningReport, console: "Console | None" = None) -> None:
    """Print what was found, the tables, every doubt and every note."""
    console = console or make_console()

    def put(text: str, look: str | None = None) -> None:
        console.print(text, style=look, markup=False, highlight=False, soft_wrap=True)

    for line in summarise(report):
        put(line)
    put("")
    for table in all_rows(report):
        print_table(table, console)
    for doubt in report.doubts:
        put(f"warning: {doubt}", "yellow")
    for note in report.notes:
        put(f"note: {note}", "dim")
