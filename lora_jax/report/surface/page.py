"""surface.html: the page of the best pairs of rate and batch, with figures and surface.json beside it."""

from lora_jax.percent import percent
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
from lora_jax.report.surface import plots, rows
from lora_jax.report.surface.conclusions import headline, summarise, warnings_of
from lora_jax.scaling.surfaces.documents import SURFACE
from lora_jax.scaling.surfaces.results import SurfaceReport

PAGE = "surface.html"
QUESTION = (
    "Which learning rate and which batch size together are best, and how does the pair move with N and D?"
)


def draw(report: SurfaceReport) -> list[Drawing]:
    """Return the figures."""
    part = "" if plots.draws_all(report) else f" {plots.MOST_PANELS} of the sizes, evenly chosen."
    levels = ", ".join(percent(level, digits=3).removesuffix(" %") for level in plots.LEVELS)
    drawings = [
        Drawing(
            "surface_contours",
            "Loss by learning rate and batch size, for each size",
            "A panel for each size. Dots are runs, darker for a lower loss. Lines are where the fitted"
            f" surface is {levels} % above its least loss."
            " The cross is the best pair with its 95 % intervals, the dashed line the best rate of each batch"
            f" size. x: training diverged.{part}",
            plots.plot_contours(report),
        )
    ]
    optima = plots.plot_optima(report)
    if optima is not None:
        drawings.insert(
            0,
            Drawing(
                "surface_optima",
                "The best rate and batch size against N and D",
                "With 95 % intervals. Each is brought to the reference of the other letter by the law, so"
                " that the line is its power law; the band is its 95 % interval.",
                optima,
            ),
        )
    return drawings


def make_page(report: SurfaceReport, figures: str, question: str, sources: str) -> str:
    """Return the page. figures, sources: as HTML."""
    sections = [
        ("summary", "Summary", _summary(report)),
        ("figures", "Figures", figures),
        ("laws", "Power laws", show_tables(rows.law_rows(report))),
        ("predictions", "Predictions", show_tables(rows.prediction_rows(report))),
        ("sizes", "Sizes", show_tables(rows.surface_rows(report))),
        ("flat", "How flat", show_tables(rows.flat_rows(report))),
        ("provenance", "Provenance", _provenance(report)),
    ]
    empty = {"predictions": not any(series.predictions for series in report.series)}
    empty["laws"] = not any(series.laws for series in report.series)
    shown = [section for section in sections if not empty.get(section[0], False)]
    return make_document("Learning rate and batch size together", report.source, question, shown, sources)


def _summary(report: SurfaceReport) -> str:
    words = show_sentences(summarise(report))
    follows = [
        f"{series.label}: {', '.join(series.follows)} change with the size or the batch, one value for each."
        for series in report.series
        if series.follows
    ]
    notes = "".join(f'<p class="note">{to_prose(line)}</p>\n' for line in follows)
    return (
        f'<p class="verdict">{to_prose(headline(report))}</p>\n{words}{notes}'
        f"{show_warnings(warnings_of(report))}"
    )


def _provenance(report: SurfaceReport) -> str:
    left_out = ", ".join(f"{n} {reason}" for reason, n in report.left_out.items())
    noises = [s for s in report.series if s.noise is not None]
    facts = {
        "command": report.command,
        "rate": report.rate_name,
        "batch size": report.batch_name,
        "loss": report.loss_name,
        "runs": f"{report.n_runs}",
        "without a loss or left out": left_out or "none",
        "scatter of ln loss around the surfaces": ", ".join(
            f"{s.label}: {s.noise:.2g} ({s.degrees_of_freedom} degrees of freedom)" for s in noises
        ),
    }
    return show_definitions(facts.items())


SHOWN = QuestionPage(SURFACE, PAGE, guide="docs/surfaces.md", question=QUESTION, draw=draw, make=make_page)
write_surface_page, redraw = SHOWN.write, SHOWN.redraw
