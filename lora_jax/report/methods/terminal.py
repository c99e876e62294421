"""A comparison of fine-tuning methods on the terminal: the verdict first."""

from typing import TYPE_CHECKING

from lora_jax.comparison.results import MethodComparison
from lora_jax.report.kit.tables import INTERVAL, make_console, print_table
from lora_jax.report.methods.rows import cost_rows, method_rows, rate_rows
from lora_jax.report.methods.target_rows import target_rows

if TYPE_CHECKING:
    from rich.console import Console


def print_comparison(found: MethodComparison, console: "Console | None" = None) -> None:
    """Print a comparison: verdict, methods, rates, costs, warnings."""
    console = console or make_console()
    whole = not console.is_terminal  # whoever reads the first line of a pipe reads it whole
    for i, line in enumerate(found.verdict):
        console.print(line, style="bold" if i == 0 else None, markup=False, highlight=False, soft_wrap=whole)
    console.print()
    reference = found.reference
    columns = (
        "method",
        found.metric,
        INTERVAL,
        f"less {reference}",
        "its interval",
        "verdict",
        "trainable",
        "seeds",
    )
    print_table(method_rows(found).select(columns), console)
    print_table(rate_rows(found), console)
    print_table(cost_rows(found), console)
    if (targets := found.target_sets) is not None:
        if (table := target_rows(found)) is not None:
            print_table(table, console)
        for line in targets.sentences:
            console.print(line, markup=False, highlight=False, soft_wrap=whole)
        console.print()
    for line in found.warnings:
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False, soft_wrap=whole)
