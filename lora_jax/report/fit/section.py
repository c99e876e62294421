"""One fit within a page that shows several: its verdict, what was fitted, its parameters, its certificate."""

from lora_jax.report.fit.certificate import certificate_pairs
from lora_jax.report.fit.conclusions import describe, sentence, verdict_line
from lora_jax.report.fit.rows import parameter_rows
from lora_jax.report.kit.markup import to_markup
from lora_jax.report.kit.page_shell import show_definitions, show_tables
from lora_jax.report.kit.tables import to_prose
from lora_jax.scaling.results import FitReport
from lora_jax.scaling.verdict import Verdict


def show_verdict(report: FitReport) -> str:
    """Return the verdict as HTML."""
    kind = "good" if report.verdict.is_believed else "bad"
    return f'<p class="verdict {kind}">{to_prose(sentence(verdict_line(report)))}</p>'


def show_count(verdict: Verdict, n_doubts: int, why: str = "") -> str:
    """Return a verdict that is none of belief as HTML, with the number of doubts that follow it.

    why: the reason, where one stands above all doubts.
    """
    level = verdict.level[0].upper() + verdict.level[1:]
    head = f"{level}: {why}" if why else level
    told = {0: "", 1: " There is one doubt:", 2: " There are two doubts:", 3: " There are three doubts:"}.get(
        n_doubts, f" There are {n_doubts} doubts. The three that matter most:"
    )
    return f'<p class="verdict bad">{to_prose(head)}.{told}</p>'


def show_fit(report: FitReport, heading: str, anchor: str) -> str:
    """Return a fit as HTML, in the words and tables of its own page. anchor: what a link to it names."""
    words = "".join(f"<p>{to_prose(line)}</p>\n" for line in describe(report))
    return (
        f'<h3 id="{anchor}">{to_markup(heading)}</h3>\n'
        f"{show_verdict(report)}\n{words}{show_tables(parameter_rows(report))}\n"
        f"{show_definitions(certificate_pairs(report))}"
    )
