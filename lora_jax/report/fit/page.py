"""report.html of one law fitted to one table: figures, tables, every setting, in one file."""

from pathlib import Path
from typing import Any

from lora_jax.identity import flatten
from lora_jax.report.fit import rows
from lora_jax.report.fit.certificate import certificate_pairs
from lora_jax.report.fit.conclusions import (
    describe,
    doubts,
    notes,
    sentence,
    title_of,
)
from lora_jax.report.fit.figures import draw_fit_figures
from lora_jax.report.fit.section import show_count, show_verdict
from lora_jax.report.kit.numbers import format_power
from lora_jax.report.kit.page_files import refuse_results_folder, write_page
from lora_jax.report.kit.page_shell import (
    make_document,
    show_definitions,
    show_tables,
    show_warnings,
)
from lora_jax.report.kit.sources import show_sources
from lora_jax.report.kit.tables import to_prose
from lora_jax.scaling.results import FitReport


def write_fit_report(report: FitReport, folder: str | Path) -> Path:
    """Write folder/figures/*.png, *.svg and folder/report.html of one fit; return the page's path.

    Raises LoraJaxError for a results folder, whose report.html is that of its sweep.
    """
    refuse_results_folder(Path(folder))
    sources = show_sources(Path(folder), report.command or "", "docs/fit-laboratory.md")
    drawings = draw_fit_figures(report)
    return write_page(Path(folder), drawings, lambda figures: make_fit_page(report, figures, sources))


def make_fit_page(report: FitReport, figures: str, sources: str) -> str:
    """Make the page of a fit; `figures` and `sources` are HTML."""
    sections = [
        ("summary", "Summary", _summary(report)),
        ("parameters", "Parameters", show_tables(rows.parameter_rows(report))),
        ("figures", "Figures", figures),
        ("predictions", "Predictions", show_tables(rows.prediction_rows(report))),
        ("published", "Published constants", show_tables(rows.difference_rows(report))),
        ("forms", "Which form?", _comparison(report)),
        ("frontier", "Frontier", show_tables(rows.frontier_rows(report))),
        ("counting", "Counting", show_tables(rows.convention_rows(report))),
        ("certificate", "Certificate", show_definitions(certificate_pairs(report))),
        ("runs", "Rows", show_tables(rows.run_rows(report), rows.left_out_rows(report))),
        ("settings", "Settings and provenance", show_definitions(_settings(report))),
    ]
    return make_document(
        f"{report.law} fitted to {title_of(report)}",
        "a scaling law",
        "\n".join(describe(report)),
        sections,
        sources,
    )


def _summary(report: FitReport) -> str:
    words = [sentence(d.words) for d in report.differences]
    if report.comparison:
        words.append(sentence(report.comparison.words))
    words += notes(report)
    said = "".join(f"<p>{to_prose(line)}</p>\n" for line in words)
    told = doubts(report)
    if report.verdict.is_believed:
        return f"{show_verdict(report)}\n{said}{show_warnings(told)}"
    counted = show_count(report.verdict, len(told))
    return f"{counted}\n{show_warnings(told)}\n{said}"


def _comparison(report: FitReport) -> str:
    if report.comparison is None:
        return ""
    table = show_tables(rows.comparison_rows(report.comparison, report.law))
    return f"<p>{to_prose(sentence(report.comparison.words))}</p>\n{table}"


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
        ("drawn together", "" if report.n_clusters is None else f"{report.n_clusters} {report.clusters}"),
        ("objective", f"{objective.name}: {objective.words} = {format_power(objective.value, 6)}"),
        ("bootstrap", f"{replicates.kind}, {replicates.n} refits, {replicates.n_failed} failed"),
        *flatten({"versions": report.versions}).items(),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "")]
