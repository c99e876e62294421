"""The page of a comparison of recipes, with speedup.json and its figure."""

from collections.abc import Sequence
from pathlib import Path

from lora_jax.report.kit.answer_page import Answer, write_answer
from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.tables import Table
from lora_jax.report.speedup import rows
from lora_jax.report.speedup.conclusions import headline, summarise, summarise_curves
from lora_jax.report.speedup.plots import plot_speedups
from lora_jax.scaling.speedups.documents import read_speedup, to_speedup_document
from lora_jax.scaling.speedups.results import CurveReport, SpeedupReport

GUIDE = "docs/speedup.md"


def write_speedup_page(report: SpeedupReport | CurveReport, folder: Path) -> Path:
    """Write speedup.json, figures/ and report.html into a folder; return the page's path."""
    tables: Sequence[Table]
    if isinstance(report, CurveReport):
        tables, lines = [rows.curve_rows(report)], summarise_curves(report)
    else:
        tables, lines = [rows.speedup_rows(report), rows.fit_rows(report)], summarise(report)
    answer = Answer(
        "speedup",
        f"Which recipe is better? {report.source}",
        report.command,
        "\n".join([f"{headline(report)}.", *lines]),
        tables,
        draw(report),
        [*map(str, report.doubts), *report.notes],
        to_speedup_document(report),
        guide=GUIDE,
    )
    return write_answer(answer, folder)


def draw(report: SpeedupReport | CurveReport) -> list[Drawing]:
    """Return the figure, if there is one."""
    figure = None if isinstance(report, CurveReport) else plot_speedups(report)
    if figure is None:
        return []
    words = (
        f"Against scale, with 95 % intervals. Dashed: no better than {report.baseline}. A hollow mark at the"
        " edge lies beyond it, and so does an interval that ends there without a stroke."
    )
    return [Drawing("speedup", f"Speed-up over {report.baseline}", words, figure)]


def redraw(folder: Path) -> Path:
    """Write the figures and the page of a folder again, from its speedup.json."""
    return write_speedup_page(read_speedup(folder), folder)
