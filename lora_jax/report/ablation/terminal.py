"""A comparison of recipes on the terminal."""

from typing import TYPE_CHECKING

from lora_jax.report.ablation import rows
from lora_jax.report.ablation.conclusions import doubts_of, headline, summarise
from lora_jax.report.kit.tables import make_console
from lora_jax.report.kit.terminal import print_answer
from lora_jax.scaling.recipes.results import AblationReport

if TYPE_CHECKING:
    from rich.console import Console


def print_ablation(report: AblationReport, console: "Console | None" = None) -> None:
    """Print the answer, the recipes, the smaller ranges, and what is wrong."""
    tables = (rows.recipe_rows(report), rows.parameter_rows(report), rows.cut_rows(report))
    warnings = [*(f"warning: {line}" for line in report.warnings), *doubts_of(report)]
    print_answer(console or make_console(), headline(report), tables, warnings, summarise(report))
