"""report.html of one law fitted to one table: figures, tables, every setting, in one file."""

from pathlib import Path
from typing import Any

from lora_jax.report.fit import rows
from lora_jax.report.fit.conclusions import (
    describe,
    doubts,
    notes,
    sentence,
    title_of,
    verdict_line,
)
from lora_jax.report.fit.figures import draw_fit_figures
from lora_jax.report.kit.numbers import format_power
from lora_jax.report.kit.page_files import refuse_results_folder, write_page
from lora_jax.report.kit.page_shell import (
    make_document,
    show_definitions,
    show_tables,
    show_warnings,
)
from lora_jax.report.kit.settings import flatten
from lora_jax.report.kit.tables import to_prose
from lora_jax.scaling.results import FitReport


def write_fit_report(report: FitReport, folder: str | Path) -> Path:
    """Write folder/figures/*.png, *.svg and folder/report.html of one fit; return the page's path.

    Raises LoraJaxError for a results folder, whose report.html is that of its sweep.
    """
    refuse_results_folder(Path(folder))
    return write_page(Path(folder), draw_fit_figures(report), lambda figures: make_fit_page(report, figures))


def make_fit_page(report: FitReport, figures: str) -> str:
    """Return the page. figures: as HTML."""
    sections = [
        ("summary", "Summary", _summary(report)),
        ("parameters", "Parameters", show_tables(rows.parameter_rows(report))),
        ("figures", "Figures", figures),
        ("predictions", "Predictions", show_tables(rows.prediction_rows(report))),
        ("published", "Published constants", show_tables(rows.difference_rows(report))),
        ("forms", "Which form?", _comparison(report)),
        ("frontier", "Frontier", show_tables(rows.frontier_rows(report))),
        ("counting", "Counting", show_tables(rows.convention_rows(report))),
        ("certificate", "Certificate", show_definitions(_certificate(report))),
        ("runs", "Rows", show_tables(rows.run_rows(report), rows.left_out_rows(report))),
        ("settings", "Settings and provenance", show_definitions(_settings(report))),
    ]
    return make_document(
        f"{report.law} fitted to {title_of(report)}",
        "a scaling law",
        "\n".join(describe(report)),
        [section for section in sections if section[2]],
    )


def _summary(report: FitReport) -> str:
    kind = "good" if report.verdict.is_believed else "bad"
    words = [sentence(d.words) for d in report.differences]
    if report.comparison:
        words.append(sentence(report.comparison.words))
    words += notes(report)
    said = "".join(f"<p>{to_prose(line)}</p>\n" for line in words)
    verdict = to_prose(sentence(verdict_line(report)))
    return f'<p class="verdict {kind}">{verdict}</p>\n{said}{show_warnings(doubts(report))}'


def _comparison(report: FitReport) -> str:
    if report.comparison is None:
        return ""
    table = show_tables(rows.comparison_rows(report.comparison, report.law))
    return f"<p>{to_prose(sentence(report.comparison.words))}</p>\n{table}"


def _certificate(report: FitReport) -> list[tuple[str, str]]:
    c = report.certificate
    pairs = [
        ("verdict", c.verdict.words),
        ("converged", _yes(c.converged)),
        ("largest entry of the gradient", format_power(c.grad_norm, 2)),
        ("objective above the minimum, as a share of it", format_power(c.polish_gain, 2)),
        ("minima within 1 % of the best", str(c.n_minima)),
        ("condition number", format_power(c.condition_number)),
        ("parameters at a bound", ", ".join(c.at_bound) or "none"),
        ("weakly identified", ", ".join(c.weakly_identified) or "none"),
        ("the answer is where it started", _yes(c.start_equals_answer)),
    ]
    for moved, title in ((c.influence, "most influential row"), (c.outliers, "outlying rows")):
        if moved is None:
            pairs.append((title, "none"))
            continue
        shift = f"without, {moved.exponent} moves by {moved.shift:+.4f}"
        pairs.append((title, f"{', '.join(moved.run_ids)}: {shift}"))
    return pairs


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


def _settings(report: FitReport) -> list[tuple[str, str]]:
    objective, replicates = report.objective, report.bootstrap
    pairs: list[tuple[str, Any]] = [
        ("command", report.command),
        ("table", report.table),
        ("law", f"{report.law}, {report.name}: {report.formula}"),
        ("source of the law", report.reference),
        ("variables, response", f"{', '.join(report.variables)}; {report.response}"),
        ("unit of the response", report.response_unit),
        *((f"{v} is", report.columns.get(v)) for v in "NDC"),
        ("rows fitted, left out", f"{report.n}, {len(report.left_out)}"),
        ("drawn together", f"{report.n_clusters} {report.clusters}"),
        ("objective", f"{objective.name}: {objective.words} = {format_power(objective.value, 6)}"),
        ("bootstrap", f"{replicates.kind}, {replicates.n} refits, {replicates.n_failed} failed"),
        *flatten({"versions": report.versions}).items(),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "")]
