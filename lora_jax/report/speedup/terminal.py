"""A comparison of recipes on the terminal."""

from typing import TYPE_CHECKING

from lora_jax.report.kit.tables import make_console, print_table
from lora_jax.report.speedup import rows
from lora_jax.report.speedup.conclusions import headline, summarise, summarise_curves
from lora_jax.scaling.speedups.results import CurveReport, SpeedupReport

if TYPE_CHECKING:
    from rich.console import Console


def print_speedup(report: SpeedupReport | CurveReport, console: "Console | None" = None) -> None:
    """Print the verdict, the speed-ups, the laws, and every trap by its name."""
    console = console or make_console()

    def put(text: str, look: str | None = None) -> None:
        console.print(text, style=look, markup=False, highlight=False, soft_wrap=True)

    put(headline(report), "bold")
    put("")
    if isinstance(report, CurveReport):
        tables, lines = [rows.curve_rows(report)], summarise_curves(report)
    else:
        tables, lines = [rows.speedup_rows(report), rows.fit_rows(report)], summarise(report)
    for table in tables:
        print_table(table, console)
    for line in lines:
        put(line)
    for doubt in report.doubts:
        put(f"warning, {doubt}", "yellow")
    for note in report.notes:
        put(f"note: {note}", "dim")
