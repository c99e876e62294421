"""ablation.html: the page of a comparison of recipes, with its figures and ablation.json beside it."""

from pathlib import Path

from lora_jax.report.ablation import plots, rows
from lora_jax.report.ablation.conclusions import doubts_of, headline, summarise
from lora_jax.report.kit.drawing import Drawing
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
from lora_jax.report.kit.tables import to_prose
from lora_jax.scaling.recipes.documents import write_ablation
from lora_jax.scaling.recipes.results import AblationReport

PAGE = "ablation.html"
QUESTION = "Which way of training gives runs that a scaling law describes?"


def write_ablation_page(report: AblationReport, folder: Path, question: str = "") -> Path:
    """Write ablation.json, figures/ and ablation.html into a folder; return the page's path.

    question: What the config asks, shown at the top.
    """
    write_ablation(folder, report)
    sources = show_sources(folder, report.command, "docs/recipes.md")
    intro = unwrap(question) if question else QUESTION
    return write_page(
        folder, draw(report), lambda figures: make_page(report, figures, intro, sources), name=PAGE
    )


def draw(report: AblationReport) -> list[Drawing]:
    """Return the figures."""
    drawn = [
        (
            "ablation_misfit",
            "How far the runs lie off the law, for each recipe",
            "The standard deviation of ln loss around the law that is fitted to the recipe's own runs, with"
            " its 95 % interval, beside that between seeds of a cell.",
            plots.plot_misfits(report),
        ),
        (
            "ablation_range",
            "How far the runs lie off the law on a smaller range",
            "Each point is a fit of its own. The misfit falls where what was left out follows another law.",
            plots.plot_cuts(report),
        ),
        (
            "ablation_residuals",
            "Where the runs of each recipe lie off the law",
            "Means of cells against D, a line for each size.",
            plots.plot_residuals(report),
        ),
    ]
    return [Drawing(name, title, words, figure) for name, title, words, figure in drawn if figure is not None]


def make_page(report: AblationReport, figures: str, question: str, sources: str) -> str:
    """Return the page. figures, sources: as HTML."""
    words = show_sentences(summarise(report))
    summary = (
        f'<p class="verdict">{to_prose(headline(report))}</p>\n{words}'
        f"{show_warnings([*report.warnings, *doubts_of(report)])}"
    )
    tables = (
        rows.recipe_rows(report),
        rows.parameter_rows(report),
        rows.cut_rows(report),
        rows.setting_rows(report),
    )
    facts = {
        "command": report.command,
        "law": report.formula,
        "loss": report.loss_name,
        "N": report.n_column,
        "runs": f"{report.n_runs}",
    }
    sections = [
        ("summary", "Summary", summary),
        ("figures", "Figures", figures),
        ("tables", "Tables", show_tables(*(table for table in tables if table.rows))),
        ("provenance", "Provenance", show_definitions(facts.items())),
    ]
    return make_document("Recipes and the law", report.source, question, sections, sources)
