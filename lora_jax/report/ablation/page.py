"""ablation.html: the page of a comparison of recipes, with its figures and ablation.json beside it."""

from lora_jax.report.ablation import plots, rows
from lora_jax.report.ablation.conclusions import doubts_of, headline, summarise
from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.page_shell import (
    make_document,
    show_definitions,
    show_sentences,
    show_tables,
    show_warnings,
)
from lora_jax.report.kit.question_page import QuestionPage
from lora_jax.report.kit.tables import to_prose
from lora_jax.scaling.recipes.documents import ABLATION
from lora_jax.scaling.recipes.results import AblationReport

PAGE = "ablation.html"
QUESTION = "Which way of training gives runs that a scaling law describes?"


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


SHOWN = QuestionPage(ABLATION, PAGE, guide="docs/recipes.md", question=QUESTION, draw=draw, make=make_page)
write_ablation_page, redraw = SHOWN.write, SHOWN.redraw
