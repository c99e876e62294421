"""report.html of a study of fine-tuning: the whole study on one page, with finetune_laws.json beside it."""

from collections.abc import Iterator
from pathlib import Path

from lora_jax.names import plain_name
from lora_jax.report.finetuning import rows
from lora_jax.report.finetuning.conclusions import headline, summarise, warnings_of
from lora_jax.report.finetuning.forgetting_plots import plot_frontier
from lora_jax.report.finetuning.law_plots import draw_laws
from lora_jax.report.finetuning.law_rows import all_rows, left_out_rows
from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.markup import to_markup
from lora_jax.report.kit.page_files import write_page
from lora_jax.report.kit.page_shell import (
    make_document,
    show_definitions,
    show_sentences,
    show_tables,
    show_warnings,
    unwrap,
)
from lora_jax.report.kit.sources import show_sources
from lora_jax.report.kit.tables import Table, to_html, to_prose
from lora_jax.scaling.finetuning.results import FinetuningReport
from lora_jax.scaling.finetuning.study_results import StudyReport, TaskResult

PAGE = "report.html"
GUIDE = "docs/finetuning-laws.md"
QUESTION = "Which way of fine-tuning is better, from how much data, at which size of the base?"


def write_study_page(report: StudyReport, folder: Path, question: str = "") -> Path:
    """Write figures/ and report.html of a study into its folder; return the page's path.

    question: What the config asks, shown at the top.
    """
    sources = show_sources(folder, report.command, GUIDE)
    intro = unwrap(question) if question else QUESTION
    drawings = [drawing for task in report.tasks for drawing in draw_task(task, len(report.tasks) > 1)]
    return write_page(folder, drawings, lambda figures: make_page(report, figures, intro, sources))


def draw_task(task: TaskResult, several: bool) -> Iterator[Drawing]:
    """Draw the figures of a task. several: whether there are other tasks, so that names say which it is."""
    end = f"_{plain_name(task.task)}" if several else ""
    of = f" on {task.task}" if several else ""
    for law in task.laws:
        key = f"{law.x.lower()}{end}"
        yield from draw_laws(law, f"_{key}", of)
    if task.forgetting is not None:
        figure = plot_frontier(task.forgetting, task.loss_unit)
        if figure is not None:
            yield Drawing(
                f"forgetting{end}",
                f"What is learned and what is forgotten{of}",
                "Every run on the largest set, a panel for each base. Filled marks, joined by a line, are"
                " beaten by no other run in both losses. Runs with a target loss of more than 1.25 times the"
                " least are not drawn.",
                figure,
            )


def make_page(report: StudyReport, figures: str, question: str, sources: str) -> str:
    """Return the page. figures, sources: as HTML."""
    several = len(report.tasks) > 1
    sections = [
        ("verdict", "Verdict", _verdict(report)),
        ("figures", "Figures", figures),
        *(
            (f"task{i}", f"Tables: {task.task}" if several else "Tables", _tables(task))
            for i, task in enumerate(report.tasks)
        ),
        ("provenance", "Provenance", _provenance(report)),
    ]
    return make_document("Laws of fine-tuning", report.source, question, sections, sources)


def _verdict(report: StudyReport) -> str:
    parts = [f'<p class="verdict">{to_prose(headline(report))}</p>']
    for i, task in enumerate(report.tasks):
        lines = summarise(task)
        if len(report.tasks) > 1:
            parts.append(f"<h3>{to_markup(task.task)}</h3>")
        # the headline has the first line of the first task
        shown = lines[1:] if i == 0 and task.laws else lines
        parts.append(show_sentences(shown))
    return "\n".join([*parts, show_warnings(warnings_of(report))])


def _tables(task: TaskResult) -> str:
    parts = [*_filled(rows.claim_rows(task.claims))]
    for law in task.laws:
        parts += [f"<h3>Laws in {law.x} and F</h3>", *_law_tables(law)]
    if task.forgetting is not None:
        parts += _filled(rows.frontier_rows(task.forgetting), rows.forgetting_rows(task.forgetting))
    return "\n".join(parts)


def _law_tables(law: FinetuningReport) -> list[str]:
    tables = _filled(*all_rows(law))
    notes = [f'<p class="note">{to_prose(note)}</p>' for note in law.notes]
    gone = left_out_rows(law)
    if gone.rows:
        said = f"Show {len(gone.rows)} runs that are not fitted"
        notes.append(f"<details><summary>{said}</summary>{to_html(gone)}</details>")
    return [*tables, *notes]


def _filled(*tables: Table) -> list[str]:
    return [show_tables(table) for table in tables if table.rows]


def _provenance(report: StudyReport) -> str:
    facts = {"command": report.command, "runs": f"{report.n_runs}"}
    for task in report.tasks:
        facts[task.task] = f"{task.n_runs} runs, {task.n_diverged} diverged, loss in {task.loss_unit}"
    return show_definitions(facts.items())
