"""The page of laws of fine-tuning, with finetuning.json and its figures."""

from pathlib import Path

from lora_jax.documents import to_document
from lora_jax.report.finetuning.law_conclusions import summarise
from lora_jax.report.finetuning.law_plots import draw_laws
from lora_jax.report.finetuning.law_rows import all_rows
from lora_jax.report.kit.answer_page import Answer, write_answer
from lora_jax.scaling.finetuning.documents import write_finetuning
from lora_jax.scaling.finetuning.results import FinetuningReport

GUIDE = "docs/finetuning-laws.md"


def write_finetuning_page(report: FinetuningReport, folder: Path) -> Path:
    """Write finetuning.json, figures/ and report.html into a folder; return the page's path."""
    drawings = list(draw_laws(report))
    answer = Answer(
        "finetuning",
        f"Laws of fine-tuning by method: {report.source}",
        report.command,
        "\n".join(summarise(report)),
        all_rows(report),
        drawings,
        [*report.doubts, *report.notes],
        to_document(report),
        guide=GUIDE,
    )
    page = write_answer(answer, folder)
    write_finetuning(folder, report)  # sealed by its digest
    return page
