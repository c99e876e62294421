"""In-context learning beside fine-tuning on the terminal: the verdict first."""

from typing import TYPE_CHECKING

from lora_jax.comparison.gradient_results import GradientCosts
from lora_jax.comparison.incontext_results import InContextComparison
from lora_jax.report.incontext.rows import backward_rows, score_rows
from lora_jax.report.kit.tables import INTERVAL, make_console, print_table

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = (
    "way",
    "examples",
    "accuracy",
    INTERVAL,
    "less the best prompt",
    "its interval",
    "verdict",
    "draws",
)


def print_incontext(
    found: InContextComparison, backward: GradientCosts | None, console: "Console | None" = None
) -> None:
    """Print a comparison and, where it was measured, what a gradient costs."""
    console = console or make_console()
    whole = not console.is_terminal  # whoever reads the first line of a pipe reads it whole
    for line in found.verdict:
        console.print(line, markup=False, highlight=False, soft_wrap=whole)
    console.print()
    for task in found.tasks:
        print_table(score_rows(task).select(COLUMNS), console)
    if backward is not None:
        print_table(backward_rows(backward), console)
    for line in found.warnings:
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False, soft_wrap=whole)
