"""report.html of a fine-tuning sweep: which method, how sure, at what cost; one file that opens offline."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.report import method_plots, method_rows
from lora_jax.report.figures import Drawing, save_figures
from lora_jax.report.numbers import format_power, format_seconds
from lora_jax.report.page_shell import (
    make_document,
    show_definitions,
    show_figures,
    show_tables,
    show_warnings,
)
from lora_jax.report.results import read_curve, read_json
from lora_jax.report.settings import flatten, split_settings
from lora_jax.report.target_plots import draw_target_sets
from lora_jax.report.target_rows import target_rows
from lora_jax.scaling.methods.comparison import KIND
from lora_jax.scaling.methods.folder import read_records


@dataclass(frozen=True)
class MethodResults:
    """What the page is made from."""

    folder: Path
    sweep: Mapping[str, Any]  # sweep.json
    found: Mapping[str, Any]  # comparison.json
    records: Sequence[Mapping[str, Any]]  # in the order of the sweep
    curves: Mapping[str, Mapping[str, Sequence[float]]]  # of the runs that the learning curves show


def write_method_report(folder: Path) -> Path:
    """Write figures/*.png, figures/*.svg and report.html into a fine-tuning folder; return the page's path.

    Reads sweep.json, comparison.json, runs/ and curves/. Raises LoraJaxError naming a file that is missing or
    cannot be read.
    """
    results = read_method_results(Path(folder))
    drawings = list(draw_methods(results.found, results.curves))
    paths = save_figures(drawings, results.folder / "figures")
    page = results.folder / "report.html"
    write_atomically(page, make_method_page(results, drawings, paths))
    return page


def read_method_results(folder: Path) -> MethodResults:
    """Read a folder of fine-tuning runs with its comparison; raises LoraJaxError."""
    if not folder.is_dir():
        raise LoraJaxError(f"{folder} is not a folder: give a results folder, such as results/peft_sst2.")
    sweep = read_json(folder / "sweep.json", "run the sweep first")
    found = read_json(folder / "comparison.json", "run `lora-jax fit` first")
    if found.get("kind") != KIND:
        raise LoraJaxError(
            f"{folder / 'comparison.json'} is of the kind {found.get('kind')!r}, wanted {KIND!r}: run"
            " `lora-jax fit` again."
        )
    for key in ("name", "question", "command"):
        if key not in sweep:
            raise LoraJaxError(f"{folder / 'sweep.json'} has no {key!r}: run the sweep again.")
    first = [m["run_ids"][0] for m in found["methods"] if m["run_ids"]]
    paths = {run_id: folder / "curves" / f"{run_id}.csv" for run_id in first}
    curves = {run_id: read_curve(path) for run_id, path in paths.items() if path.exists()}
    return MethodResults(folder, sweep, found, read_records(folder), curves)


def draw_methods(
    found: Mapping[str, Any], curves: Mapping[str, Mapping[str, Sequence[float]]]
) -> Iterator[Drawing]:
    """Draw every figure that the comparison can carry; without a score there is none."""
    if not found["ranking"]:
        return
    metric = found["metric"]
    yield from draw_target_sets(found)
    full = any(m["method"]["method"] == "Full" and m["score"] for m in found["methods"])
    band = " The grey band is full fine-tuning." if full else ""
    yield Drawing(
        "score_vs_trainable", f"{metric[0].upper()}{metric[1:]} against trainable parameters",
        f"Mean test {metric} over seeds with its 95 % interval of seeds and test examples, each method at the"
        f" learning rate of its best dev score; the sizes of one method are joined.{band} An interval that"
        " leaves the axis is cut. Whether two methods differ is not read off their bars: the table pairs"
        " them.",
        method_plots.plot_trade_off(found),
    )  # fmt: skip
    yield Drawing(
        "score_vs_rate", f"Dev {metric} against the learning rate",
        f"Each method at every rate, with seed {found['first_seed']}; the best is filled, a square with a red"
        " border where it lies at an end of the grid. A cross: diverged.",
        method_plots.plot_rates(found),
    )  # fmt: skip
    if any(len(rows["step"]) > 1 for rows in curves.values()):
        yield Drawing(
            "learning_curves", "Learning curves",
            "Training loss of each method at its best rate, of the first of its seeds, averaged over"
            " windows.",
            method_plots.plot_learning_curves(found, curves),
        )  # fmt: skip
    yield Drawing(
        "cost", "What a step costs",
        f"Methods from the best test {metric} down: the score with its interval, and what a step of training"
        " costs.",
        method_plots.plot_cost(found),
    )  # fmt: skip


def make_method_page(results: MethodResults, drawings: Sequence[Drawing], paths: Sequence[Path]) -> str:
    """Return the page. paths: the saved figures, a PNG and an SVG for each drawing in turn."""
    found, sweep = results.found, results.sweep
    sections = [
        ("verdict", "Verdict", _verdict(results)),
        *_targets(found),
        ("methods", "Methods", show_tables(method_rows.method_rows(found))),
        ("figures", "Figures", show_figures(drawings, paths) if drawings else "<p>No score to draw.</p>"),
        ("costs", "Costs", show_tables(method_rows.cost_rows(found))),
        ("rates", "Learning rates", show_tables(method_rows.rate_rows(found))),
        ("seeds", "Seeds", show_tables(method_rows.seed_rows(found))),
        ("runs", "Runs", show_tables(method_rows.run_rows(found, results.records))),
        ("settings", "Settings", _settings(results)),
        ("provenance", "Provenance", _provenance(results)),
    ]  # fmt: skip
    return make_document(sweep["name"], "fine-tuning methods", sweep["question"].strip(), sections)


def _verdict(results: MethodResults) -> str:
    first, *others = results.found["verdict"]
    kind = "good" if results.found["ranking"] else "bad"
    words = "".join(f"<p>{escape(line)}</p>\n" for line in others)
    lines = list(results.found["warnings"])
    if len(results.records) != results.found["n_runs"]:
        lines.insert(
            0,
            f"comparison.json was made from {results.found['n_runs']} runs and runs/ has"
            f" {len(results.records)}: run `lora-jax fit` again.",
        )
    return f'<p class="verdict {kind}">{escape(first)}</p>\n{words}{show_warnings(lines)}'


def _targets(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the section on which matrices are adapted, where the sweep asks for it."""
    if (targets := found.get("target_sets")) is None:
        return []
    words = "".join(f"<p>{escape(line)}</p>\n" for line in targets["sentences"])
    return [("targets", "Which matrices", words + show_tables(target_rows(found)))]


def _settings(results: MethodResults) -> str:
    common, _ = split_settings({r["run_id"]: r["config"] for r in results.records})
    data, _ = split_settings({r["run_id"]: r["data"] for r in results.records})
    shared = {name: value for name, value in common.items() if not name.startswith("method.")}
    methods = {
        m["label"]: ", ".join(f"{name} {value}" for name, value in flatten(m["method"]).items())
        for m in results.found["methods"]
    }
    return "\n".join([
        "<h3>The methods</h3>", show_definitions(methods.items()),
        "<h3>The same in every run</h3>", show_definitions(shared.items()),
        "<h3>The data</h3>", show_definitions(data.items()),
    ])  # fmt: skip


def _provenance(results: MethodResults) -> str:
    records, sweep, found = results.records, results.sweep, results.found
    seen: dict[str, list[str]] = {}
    for record in records:
        facts = {"device": record["device"], "git commit": record["git_commit"] or "not in a repository"}
        for name, value in {**facts, **flatten(record["versions"])}.items():
            if value not in seen.setdefault(name, []):
                seen[name].append(value)
    dates = sorted(record["created_at"] for record in records)
    facts = {
        "command": sweep["command"], **flatten({"overrides": sweep.get("overrides") or "none"}),
        "base": f"{found['base']}, fingerprint {found['base_fingerprint']}", "task": found["task"],
        "runs": f"{len(records)}, of which {found['n_diverged']} diverged",
        "compute spent": f"{format_power(sum(r['flops_exact'] for r in records))} FLOPs",
        "wall time of the runs": format_seconds(sum(r["wall_seconds"] for r in records)),
        "first and last run": f"{dates[0]}, {dates[-1]}",
        **{name: ", ".join(values) for name, values in seen.items()},
    }  # fmt: skip
    return show_definitions(facts.items())
