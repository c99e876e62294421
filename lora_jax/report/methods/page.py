"""report.html of a fine-tuning sweep: which method, how sure, at what cost; one file that opens offline."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_jax.comparison.documents import read_comparison
from lora_jax.comparison.folder import read_runs
from lora_jax.comparison.results import MethodComparison
from lora_jax.comparison.tuned_runs import TunedRun
from lora_jax.errors import LoraJaxError
from lora_jax.identity import flatten
from lora_jax.names import inside
from lora_jax.report.kit.curves import read_curve
from lora_jax.report.kit.drawing import Drawing
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
from lora_jax.report.kit.sweep_file import SweepFile, read_sweep_file
from lora_jax.report.kit.tables import to_prose
from lora_jax.report.methods import method_panels, plots, rows
from lora_jax.report.methods.target_plots import draw_target_sets
from lora_jax.report.methods.target_rows import target_rows

MOST_NAMED = 12  # methods whose names one panel has room for


@dataclass(frozen=True)
class MethodResults:
    """What the page is made from."""

    folder: Path
    sweep: SweepFile
    found: MethodComparison  # comparison.json
    runs: Sequence[TunedRun]  # in the order of the sweep
    curves: Mapping[str, Mapping[str, Sequence[float]]]  # of the runs that the learning curves show


def write_method_report(folder: Path) -> Path:
    """Write figures/*.png, figures/*.svg and report.html into a fine-tuning folder; return the page's path.

    Reads sweep.json, comparison.json, runs/ and curves/. Raises LoraJaxError naming a file that is missing or
    cannot be read.
    """
    results = read_method_results(Path(folder))
    drawings = list(draw_methods(results.found, results.curves))
    return write_page(results.folder, drawings, lambda figures: make_method_page(results, figures))


def read_method_results(folder: Path) -> MethodResults:
    """Read a folder of fine-tuning runs with its comparison; raises LoraJaxError."""
    if not folder.is_dir():
        raise LoraJaxError(f"{folder} is not a folder: give a results folder, such as results/peft_sst2.")
    found = read_comparison(folder / "comparison.json")  # first: a folder of another kind has none of methods
    sweep = read_sweep_file(folder)
    first = [m.run_ids[0] for m in found.methods if m.run_ids]
    said_by = str(folder / "comparison.json")
    paths = {run_id: inside(folder / "curves", f"{run_id}.csv", said_by) for run_id in first}
    curves = {run_id: read_curve(path) for run_id, path in paths.items() if path.exists()}
    return MethodResults(folder, sweep, found, read_runs(folder), curves)


def draw_methods(
    found: MethodComparison, curves: Mapping[str, Mapping[str, Sequence[float]]]
) -> Iterator[Drawing]:
    """Draw every figure that the comparison can carry; without a score there is none."""
    if not found.ranking:
        return
    metric = found.metric
    yield from draw_target_sets(found)
    yield _draw_trade_off(found)
    yield Drawing(
        "score_vs_rate",
        f"Dev {metric} of each method at every learning rate",
        f"A panel for each method, with seed {found.first_seed}; the others are grey. The best rate is"
        " filled, a square with a red border where it lies at an end of the grid. A cross: diverged.",
        method_panels.plot_rates(found),
    )
    if any(len(curve["step"]) > 1 for curve in curves.values()):
        yield Drawing(
            "learning_curves",
            "Training loss of each method at its best learning rate",
            "A panel for each method, with the first of its seeds, averaged over windows; the others are"
            " grey.",
            method_panels.plot_learning_curves(found, curves),
        )
    yield Drawing(
        "cost",
        f"Test {metric}, and what a step of each method costs",
        f"Methods from the best test {metric} down: the score with its interval, the FLOPs of a step of"
        " training as a share of full fine-tuning, and the optimizer's memory. Seconds are in the table: they"
        " depend on how busy the machine was.",
        plots.plot_cost(found),
    )


def _draw_trade_off(found: MethodComparison) -> Drawing:
    """Draw the score against the size: in one panel, or in many where one cannot name all methods."""
    title = f"Test {found.metric} against trainable parameters"
    said = (
        f"Mean test {found.metric} over seeds with its 95 % interval of seeds and test examples, each method"
        " at the learning rate of its best dev score; the sizes of one method are joined."
    )
    apart = (
        " An interval that leaves the axis is cut. Whether two methods differ is not read off their bars: the"
        " table pairs them."
    )
    if len(found.ranking) > MOST_NAMED:
        panels = " A panel for each method, with its sizes from left to right; the others are grey."
        return Drawing("score_vs_trainable", title, said + panels + apart, method_panels.plot_families(found))
    full = any(m.is_full and m.score for m in found.methods)
    band = " The grey band is full fine-tuning." if full else ""
    names = " Methods of about one size stand side by side. A name that finds no free place is left out."
    return Drawing("score_vs_trainable", title, said + band + names + apart, plots.plot_trade_off(found))


def make_method_page(results: MethodResults, figures: str) -> str:
    """Return the page. figures: as HTML."""
    found, sweep = results.found, results.sweep
    sections = [
        ("verdict", "Verdict", _verdict(results)),
        *_targets(found),
        ("methods", "Methods", show_tables(rows.method_rows(found))),
        ("figures", "Figures", figures if results.found.ranking else "<p>No score to draw.</p>"),
        ("costs", "Costs", show_tables(rows.cost_rows(found))),
        ("rates", "Learning rates", show_tables(rows.rate_rows(found))),
        ("seeds", "Seeds", show_tables(rows.seed_rows(found))),
        ("runs", "Runs", show_tables(rows.run_rows(found, results.runs))),
        ("settings", "Settings", _settings(results)),
        ("provenance", "Provenance", _provenance(results)),
    ]
    guide = "docs/fine-tuning.md" if found.target_sets is None else "docs/lora-targets.md"
    sources = show_sources(results.folder, sweep.command, guide)
    return make_document(sweep.name, "fine-tuning methods", unwrap(sweep.question), sections, sources)


def _verdict(results: MethodResults) -> str:
    first, *others = results.found.verdict
    kind = "good" if results.found.ranking else "bad"
    words = "".join(f"<p>{to_prose(line)}</p>\n" for line in others)
    lines = list(results.found.warnings)
    if len(results.runs) != results.found.n_runs:
        lines.insert(
            0,
            f"comparison.json was made from {results.found.n_runs} runs and runs/ has"
            f" {len(results.runs)}: run `lora-jax fit` again.",
        )
    return f'<p class="verdict {kind}">{to_prose(first)}</p>\n{words}{show_warnings(lines)}'


def _targets(found: MethodComparison) -> list[tuple[str, str, str]]:
    """Return the section on which matrices are adapted, where the sweep asks for it."""
    if (targets := found.target_sets) is None:
        return []
    words = "".join(f"<p>{to_prose(line)}</p>\n" for line in targets.sentences)
    return [("targets", "Which matrices", words + show_tables(target_rows(found)))]


def _settings(results: MethodResults) -> str:
    common, _ = split_settings({r.run_id: r.config for r in results.runs})
    data, _ = split_settings({r.run_id: r.data for r in results.runs})
    shared = {name: value for name, value in common.items() if not name.startswith("method.")}
    methods = {
        m.label: ", ".join(f"{name} {value}" for name, value in flatten(m.config).items())
        for m in results.found.methods
    }
    return "\n".join(
        [
            "<h3>The methods</h3>",
            show_definitions(methods.items()),
            "<h3>The same in every run</h3>",
            show_definitions(shared.items()),
            "<h3>The data</h3>",
            show_definitions(data.items()),
        ]
    )


def _provenance(results: MethodResults) -> str:
    runs, sweep, found = results.runs, results.sweep, results.found
    dates = sorted(run.created_at for run in runs)
    facts = {
        "command": sweep.command,
        **flatten({"overrides": sweep.overrides or "none"}),
        "base": f"{found.base}, fingerprint {found.base_fingerprint}",
        "task": found.task,
        "runs": f"{len(runs)}, of which {found.n_diverged} diverged",
        "compute spent": f"{format_power(sum(r.flops_exact for r in runs))} FLOPs",
        "wall time of the runs": format_seconds(sum(r.wall_seconds for r in runs)),
        "first and last run": f"{dates[0]}, {dates[-1]}",
        **list_provenance(runs),
    }
    return show_definitions(facts.items())
