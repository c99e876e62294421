"""transfer.html: the page of a transfer of learning rates, with its figures and transfer.json beside it."""

from html import escape

from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.markup import to_markup
from lora_jax.report.kit.page_shell import (
    make_document,
    show_definitions,
    show_sentences,
    show_tables,
    show_warnings,
)
from lora_jax.report.kit.question_page import QuestionPage
from lora_jax.report.kit.tables import to_prose
from lora_jax.report.transfer import plots, rows
from lora_jax.report.transfer.conclusions import following, headline, summarise, warnings_of
from lora_jax.scaling.rates.documents import TRANSFER
from lora_jax.scaling.rates.results import TransferReport

PAGE = "transfer.html"
QUESTION = "Is the learning rate that is best for a small model best for a large one?"


def draw(report: TransferReport) -> list[Drawing]:
    """Return the figures."""
    part = "" if plots.draws_all(report) else f" {plots.MOST_PANELS} of the grids, evenly chosen."
    drawings = [
        Drawing(
            "transfer_bowls",
            "Loss against learning rate, for each size",
            "A panel for each size, with the parabola through the rates around the best, the best rate"
            " (dashed) and its 95 % interval (shaded). A cross at the top is a rate at which training"
            " diverged, or with a loss more than 30 % above the least. A panel without a curve has no best"
            f" rate that its runs can tell.{part}",
            plots.plot_bowls(report),
        )
    ]
    drifts = plots.plot_drifts(report)
    if drifts is not None:
        drawings.insert(
            0,
            Drawing(
                "transfer_drifts",
                "The best learning rate against size",
                "With 95 % intervals and the power law through them, whose power stands above with its 95 %"
                " interval. Points of one size stand side by side. A level line means that the rate"
                " transfers. In a panel without a line, no power is fitted along that axis.",
                drifts,
            ),
        )
    return drawings


def make_page(report: TransferReport, figures: str, question: str, sources: str) -> str:
    """Return the page. figures, sources: as HTML."""
    sections = [
        ("summary", "Summary", _summary(report)),
        ("rule", "Rule", _rules(report)),
        ("figures", "Figures", figures),
        ("drifts", "Drifts", show_tables(rows.drift_rows(report))),
        ("sizes", "Sizes", show_tables(rows.bowl_rows(report))),
        ("provenance", "Provenance", _provenance(report)),
    ]
    return make_document("Transfer of the learning rate", report.source, question, sections, sources)


def _summary(report: TransferReport) -> str:
    words = show_sentences(summarise(report))
    follows = [line for series in report.series if (line := following(series)) is not None]
    notes = "".join(f'<p class="note">{to_prose(line)}</p>\n' for line in follows)
    return (
        f'<p class="verdict">{to_prose(headline(report))}</p>\n{words}{notes}'
        f"{show_warnings(warnings_of(report))}"
    )


def _rules(report: TransferReport) -> str:
    parts = []
    for series in report.series:
        parts.append(f"<h3>{to_markup(series.label[0].upper() + series.label[1:])}</h3>")
        if series.rule.code is not None:
            parts.append(f"<pre>{escape(series.rule.code)}</pre>")
        parts += [f"<p>{to_prose(line)}</p>" for line in series.rule.words]
    return "\n".join(parts)


def _provenance(report: TransferReport) -> str:
    left_out = ", ".join(f"{n} {reason}" for reason, n in report.left_out.items())
    noises = [s for s in report.series if s.noise is not None]
    facts = {
        "command": report.command,
        "rate": report.rate_name,
        "loss": report.loss_name,
        "runs": f"{report.n_runs}",
        "without a loss or left out": left_out or "none",
        "sizes with a best rate": ", ".join(f"{s.label}: {plots.count_of(s)}" for s in report.series),
        "scatter of ln loss around the parabolas": ", ".join(
            f"{s.label}: {s.noise:.2g} ({s.degrees_of_freedom} degrees of freedom)" for s in noises
        ),
    }
    return show_definitions(facts.items())


SHOWN = QuestionPage(TRANSFER, PAGE, guide="docs/transfer.md", question=QUESTION, draw=draw, make=make_page)
write_transfer_page, redraw = SHOWN.write, SHOWN.redraw
