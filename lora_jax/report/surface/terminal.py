"""A surface report on the terminal."""

from typing import TYPE_CHECKING

from lora_jax.report.kit.tables import make_console
from lora_jax.report.kit.terminal import first_warnings, print_answer
from lora_jax.report.surface import rows
from lora_jax.report.surface.conclusions import headline, summarise, warnings_of
from lora_jax.scaling.surfaces.results import SurfaceReport

if TYPE_CHECKING:
    from rich.console import Console


def print_surface(report: SurfaceReport, console: "Console | None" = None) -> None:
    """Print the answer, the best pairs, the power laws, and what is wrong."""
    tables = (
        rows.law_rows(report),
        rows.surface_rows(report),
        rows.flat_rows(report),
        rows.prediction_rows(report),
    )
    warnings = first_warnings(warnings_of(report))
    print_answer(console or make_console(), headline(report), tables, warnings, summarise(report))
