"""report.html: one file that opens offline and shows what a sweep found, and every setting behind it."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from lora_jax.identity import flatten
from lora_jax.report.fit.section import show_count, show_fit
from lora_jax.report.kit.markup import to_markup
from lora_jax.report.kit.numbers import format_power, format_seconds
from lora_jax.report.kit.page_files import write_page
from lora_jax.report.kit.page_shell import (
    make_document,
    show_definitions,
    show_tables,
    show_warnings,
    unwrap,
)
from lora_jax.report.kit.settings import list_provenance, split_settings
from lora_jax.report.kit.sources import show_sources
from lora_jax.report.kit.tables import to_prose
from lora_jax.report.sweep import rows
from lora_jax.report.sweep.conclusions import headline, summarise
from lora_jax.report.sweep.doubts import doubts_of
from lora_jax.report.sweep.figures import draw_figures
from lora_jax.report.sweep.results import Results, read_results
from lora_jax.scaling.sweep_results import SweepReport


def write_report(results_dir: Path) -> Path:
    """Write figures/*.png, figures/*.svg and report.html into a results folder; return the page's path.

    Reads sweep.json, runs.csv, runs/, curves/ and fits.json. Raises LoraJaxError naming a file that is
    missing or cannot be read.
    """
    results = read_results(Path(results_dir))
    return write_page(results.folder, draw_figures(results), lambda figures: make_page(results, figures))


def make_page(results: Results, figures: str) -> str:
    """Return the page. figures: as HTML."""
    fits = results.fits
    sections = [
        ("summary", "Summary", _summary(results)),
        ("exponents", "Exponents", _exponents(fits)),
        ("figures", "Figures", figures),
        ("heldout", "Held-out cell", show_tables(rows.heldout_rows(fits))),
        ("frontier", "Frontier", show_tables(rows.frontier_rows(fits))),
        ("conventions", "Counting", show_tables(rows.convention_rows(fits))),
        ("rates", "Learning rates", show_tables(rows.rate_rows(fits))),
        ("fits", "Fits", _fits(fits)),
        ("runs", "Runs", show_tables(rows.run_rows(results, rows.swept_settings(results)))),
        ("settings", "Settings", _settings(results)),
        ("provenance", "Provenance", _provenance(results)),
    ]
    sweep = results.sweep
    sources = show_sources(results.folder, sweep.command, "docs/scaling-results.md")
    return make_document(sweep.name, "scaling laws", unwrap(sweep.question), sections, sources)


def _summary(results: Results) -> str:
    fits = results.fits
    words = "".join(f"<p>{to_prose(paragraph)}</p>\n" for paragraph in summarise(fits))
    lines = doubts_of(fits)
    if len(results.runs) != fits.n_runs:
        lines.insert(
            0,
            f"fits.json was made from {fits.n_runs} runs and runs.csv has {len(results.runs)}:"
            " run `lora-jax fit` again.",
        )
    return f"{_verdict(fits, len(lines))}\n{show_warnings(lines)}\n{words}"


def _verdict(fits: SweepReport, n_doubts: int) -> str:
    """Return the verdict on all fits; the doubts behind it follow on the page, and are only counted."""
    verdict, first = fits.verdict, headline(fits)
    if verdict is None:
        return '<p class="verdict bad">No law can be fitted to so few runs.</p>'
    if verdict.is_believed:
        return f'<p class="verdict good">{to_prose(first[0].upper() + first[1:])}.</p>'
    return show_count(verdict, n_doubts, first.partition(": ")[2] if fits.unconverged else "")


def _exponents(fits: SweepReport) -> str:
    """Return the exponents, and links to what is said of each law below."""
    if not fits.fits:
        return ""
    links = ", ".join(f'<a href="#fit-{i}">{to_markup(fit.key)}</a>' for i, fit in enumerate(fits.fits))
    below = f'<p class="note">The doubts about each law are below: {links}.</p>'
    return f"{show_tables(rows.exponent_rows(fits))}\n{below}\n{show_tables(rows.published_rows(fits))}"


def _fits(fits: SweepReport) -> str:
    shown = (show_fit(fit, f"{fit.key}: {fit.slice}", f"fit-{i}") for i, fit in enumerate(fits.fits))
    return "\n".join(shown)


def _settings(results: Results) -> str:
    common, swept = results.settings
    data, other_data = split_settings({i: r.data for i, r in results.records.items() if r.data})
    differing = ", ".join(f"{name} ({_values(values)})" for name, values in swept.items())
    differ = f"These differ between the runs, and are listed run by run above: {differing}." if swept else ""
    parts = [
        f"<p>{to_markup(differ)}</p>",
        "<h3>The same in every run</h3>",
        show_definitions(common.items()),
        "<h3>The text, as it was tokenized</h3>" if data or other_data else "",
        show_definitions([*data.items(), *((name, _values(values)) for name, values in other_data.items())]),
    ]
    return "\n".join(part for part in parts if part)


def _values(by_run: Mapping[str, str], most: int = 12) -> str:
    """Return the different values: numbers by size, words in the order of the runs."""
    different = list(dict.fromkeys(by_run.values()))
    with contextlib.suppress(ValueError):  # not numbers, then
        different.sort(key=float)
    more = f" and {len(different) - most} more" if len(different) > most else ""
    return ", ".join(different[:most]) + more


def _provenance(results: Results) -> str:
    records = list(results.records.values())
    # A branch takes its first steps from its trunk: only its own steps were paid for.
    spent = sum(r.flops_exact * r.trained_tokens / r.n_tokens for r in records)
    dates = sorted(r.created_at for r in records)
    n_diverged, n_halted = (sum(r.status == status for r in records) for status in ("diverged", "halted"))
    ended = f"{n_diverged} diverged" + (f", {n_halted} halted" if n_halted else "")
    sweep = results.sweep
    overrides = flatten({"overrides": sweep.overrides or "none"})
    facts = {
        "command": sweep.command,
        **overrides,
        "runs": f"{len(records)}, of which {ended}, {results.fits.n_fitted} fitted",
        "compute spent": f"{format_power(spent)} FLOPs",
        "wall time of the runs": format_seconds(sum(r.wall_seconds for r in records)),
        "first and last run": f"{dates[0]}, {dates[-1]}",
        "N in the fits": results.fits.n_column,
        "C in the fits": results.fits.flops_column,
        **list_provenance(records),
    }
    return show_definitions(facts.items())
