"""The page of a comparison of recipes, with speedup.json and its figure."""

from collections.abc import Sequence
from pathlib import Path

from lora_jax.documents import to_document
from lora_jax.report.kit.answer_page import Answer, write_answer
from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.tables import Table
from lora_jax.report.speedup import rows
from lora_jax.report.speedup.conclusions import headline, summarise, summarise_curves
from lora_jax.report.speedup.plots import plot_speedups
from lora_jax.scaling.speedups.results import CurveReport, SpeedupReport

GUIDE = "docs/speedup.md"


def write_speedup_page(report: SpeedupReport | CurveReport, folder: Path) -> Path:
    """Write speedup.json, figures/ and report.html into a folder; return the page's path."""
    drawings: list[Drawing] = []
    tables: Sequence[Table]
    if isinstance(report, CurveReport):
        tables, lines = [rows.curve_rows(report)], summarise_curves(report)
    else:
        tables, lines = [rows.speedup_rows(report), rows.fit_rows(report)], summarise(report)
        figure = plot_speedups(report)
        if figure is not None:
            words = (
                f"Against scale, with 95 % intervals. Dashed: no better than {report.baseline}. A hollow"
                " mark at the edge lies beyond it."
            )
            drawings = [Drawing("speedup", f"Speed-up over {report.baseline}", words, figure)]
    answer = Answer(
        "speedup",
        f"Which recipe is better? {report.source}",
        report.command,
        "\n".join([f"{headline(report)}.", *lines]),
        tables,
        drawings,
        [*map(str, report.doubts), *report.notes],
        to_document(report),
        guide=GUIDE,
    )
    return write_answer(answer, folder)
