"""A study of fine-tuning on the terminal."""

from typing import TYPE_CHECKING

from lora_jax.report.finetuning import rows
from lora_jax.report.finetuning.conclusions import headline, summarise, warnings_of
from lora_jax.report.finetuning.law_rows import crossing_rows, law_rows
from lora_jax.report.kit.tables import make_console
from lora_jax.report.kit.terminal import print_answer
from lora_jax.scaling.finetuning.study_results import StudyReport

if TYPE_CHECKING:
    from rich.console import Console

CLAIM_COLUMNS = ("claim", "what it says", "value", "95 % interval", "found")


def print_study(report: StudyReport, console: "Console | None" = None) -> None:
    """Print the answer, crossovers, laws and claims of each task, and what is wrong."""
    out = console or make_console()
    for i, task in enumerate(report.tasks):
        tables = [crossing_rows(law) for law in task.laws] + [law_rows(law) for law in task.laws]
        tables.append(rows.claim_rows(task.claims).select(CLAIM_COLUMNS))
        if task.forgetting is not None:
            tables.append(rows.frontier_rows(task.forgetting))
        first = headline(report) if i == 0 else task.task
        warnings = [f"warning: {line}" for line in warnings_of(report)] if i == 0 else []
        print_answer(out, first, tables, warnings, summarise(task))
