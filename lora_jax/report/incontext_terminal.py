"""In-context learning beside fine-tuning on the terminal: the verdict first."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lora_jax.report.incontext_rows import backward_rows, score_rows
from lora_jax.report.rows import INTERVAL
from lora_jax.report.tables import make_console, print_table

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = (
    "way",
    "examples",
    "accuracy",
    INTERVAL,
    "less the best prompt",
    "its interval",
    "beside it",
    "draws",
)


def print_incontext(
    found: Mapping[str, Any], backward: Mapping[str, Any] | None, console: "Console | None" = None
) -> None:
    """Print the content of incontext.json and, where it was measured, of backward.json."""
    console = console or make_console()
    whole = not console.is_terminal  # whoever reads the first line of a pipe reads it whole
    for line in found["verdict"]:
        console.print(line, markup=False, highlight=False, soft_wrap=whole)
    console.print()
    for task in found["tasks"]:
        print_table(score_rows(task).select(COLUMNS), console)
    if backward is not None:
        print_table(backward_rows(backward), console)
    for line in found["warnings"]:
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False, soft_wrap=whole)
