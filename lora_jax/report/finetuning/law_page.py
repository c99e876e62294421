"""The page of laws of fine-tuning, with finetuning.json and its figures."""

from pathlib import Path

from lora_jax.documents import to_document
from lora_jax.report.finetuning.law_conclusions import summarise
from lora_jax.report.finetuning.law_plots import plot_crossovers, plot_laws
from lora_jax.report.finetuning.law_rows import all_rows
from lora_jax.report.kit.answer_page import Answer, write_answer
from lora_jax.report.kit.drawing import Drawing
from lora_jax.scaling.finetuning.documents import write_finetuning
from lora_jax.scaling.finetuning.results import FinetuningReport

GUIDE = "docs/finetuning-laws.md"


def write_finetuning_page(report: FinetuningReport, folder: Path) -> Path:
    """Write finetuning.json, figures/ and report.html into a folder; return the page's path."""
    laws, crossovers = plot_laws(report), plot_crossovers(report)
    drawings: list[Drawing] = []
    if laws is not None:
        words = "Loss against the size of the fine-tuning set, by method. Lines: the law of each method."
        drawings.append(Drawing("laws", "Loss of each method against F", words, laws))
    if crossovers is not None:
        words = "Where two methods have the same loss, with 95 % intervals. Grey: the F of the runs."
        drawings.append(Drawing("crossovers", "Where two methods have the same loss", words, crossovers))
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
