"""From a results folder to its figures: which runs and fits each one shows, and what it says in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lora_jax.report import curve_plots, plots, style
from lora_jax.report.numbers import format_count, format_percent
from lora_jax.report.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COUNTED = {
    "n_params": "without embeddings", "n_params_with_head": "with the output head",
    "n_params_total": "all weights",
}  # fmt: skip
MOST_GRIDS = 6  # of learning rates, in one figure


@dataclass(frozen=True)
class Drawing:
    """One figure with the name of its files, its title, and the words under it, also its alternative text."""

    name: str
    title: str
    caption: str
    figure: "Figure"


def draw_figures(results: Results) -> list[Drawing]:
    """Draw every figure that the results can carry; a law that was not fitted has none."""
    drawings = [d for variable in ("N", "D", "C") if (d := _draw_law(results, variable))]
    return [*drawings, *_draw_curves(results), *_draw_residuals(results), *_draw_rates(results)]


def save_figures(drawings: list[Drawing], folder: Path) -> list[Path]:
    """Write each drawing to folder/NAME.png and folder/NAME.svg; return the paths, PNG and SVG in turn."""
    return [path for d in drawings for path in style.save_figure(d.figure, folder, d.name)]


def column_of(results: Results, variable: str) -> str:
    """Return the column of runs.csv that holds N, D or C in these fits."""
    return {"N": results.fits["n_column"], "D": "n_tokens", "C": results.fits["flops_column"]}[variable]


def _draw_law(results: Results, variable: str) -> Drawing | None:
    fits = [fit for key in (f"L({variable})", f"L({variable}) with floor") if (fit := results.fit(key))]
    if not fits:
        return None
    column = column_of(results, variable)
    lines = [
        plots.Line(
            label="with floor" if fit["key"].endswith("floor") else "no floor",
            exponent=fit["params"][f"alpha_{variable}"],
            x=fit["band"]["x"], loss=fit["band"]["loss"], low=fit["band"]["lo"], high=fit["band"]["hi"],
        )
        for fit in fits
    ]  # fmt: skip
    ids = set(fits[0]["run_ids"])
    cell = results.fits["heldout_cell"]
    done = [r for r in results.runs if r["heldout_loss"] is not None and r["run_id"] != cell["run_id"]]
    fitted = [(r[column], r["heldout_loss"]) for r in done if r["run_id"] in ids]
    others = [(r[column], r["heldout_loss"]) for r in done if r["run_id"] not in ids]
    counted = COUNTED.get(column, column) if variable == "N" else ""
    held = _heldout(results, variable, ids)
    caption = (
        f"{fits[0]['formula']}, fitted to {fits[0]['slice']}, with its 95 % band"
        + (" and with a floor E" if len(fits) > 1 else "")
        + ". Other runs are faint; the star is the held-out run, which no fit has seen."
    )
    figure = plots.plot_power_law(variable, fitted, others, lines, held, counted)
    names = {"N": "parameters", "D": "training tokens", "C": "training compute"}
    return Drawing(f"loss_vs_{variable}", f"L({variable}): loss against {names[variable]}", caption, figure)


def _heldout(results: Results, variable: str, ids: set[str]) -> plots.Heldout:
    cell = results.fits["heldout_cell"]
    # L(N) and L(D) do not predict the cell where it is off their slice; L(N,D) always does.
    wanted = ("L(N,D)",) if variable != "C" else ("L(C)", "L(C) with floor", "L(N,D)")
    predictions = [
        plots.Prediction(p["key"], p["value"], p["ci95"], p["relative_error"])
        for p in cell["predictions"]
        if p["key"] in wanted
    ]
    note = ""
    other, letter = {"N": ("n_tokens", "D"), "D": (column_of(results, "N"), "N")}.get(variable, ("", ""))
    if other:
        slice_value = float(np.median([results.run(i)[other] for i in ids]))
        here = cell["n_tokens" if letter == "D" else "n_params"]
        if abs(np.log(here / slice_value)) > 0.01:
            note = f" (at {letter} = {format_count(here)}, not {format_count(slice_value)})"
    x = {"N": cell["n_params"], "D": cell["n_tokens"], "C": cell["flops"]}[variable]
    return plots.Heldout(x, cell["measured"], predictions, note)


def _draw_curves(results: Results) -> Iterator[Drawing]:
    efficient = set(results.fits["frontier"]["run_ids"])
    shown = [r for r in results.runs if len(results.curves.get(r["run_id"], {"step": []})["step"]) > 1]
    if not any(r["heldout_loss"] is not None for r in shown):
        return
    column = column_of(results, "C")
    curves = [_curve(results, r, "flops", r[column], r["run_id"] in efficient) for r in shown]
    line = results.fit("L(C)")
    band = line["band"] if line else {"x": [], "loss": [], "lo": [], "hi": []}
    rows = list(zip(band["x"], band["loss"], band["lo"], band["hi"], strict=True))
    cooldown = any(r.get("schedule") == "wsd" for r in shown)
    yield Drawing(
        "training_curves", "Training curves and the compute-efficient frontier",
        f"Training loss of {len(curves)} runs against compute, coloured by size, late steps averaged;"
        " dots are held-out losses,"
        f" the {len(efficient)} large ones those of the compute-efficient runs, through which L(C) goes."
        + (" Where a curve bends down at its end, its learning rate cools down." if cooldown else ""),
        curve_plots.plot_training_curves(curves, rows),
    )  # fmt: skip
    longest = _longest_by_size(shown, column_of(results, "N"))
    if len(longest) > 1:
        yield Drawing(
            "sample_efficiency", "Larger models need fewer samples",
            "Training loss against tokens seen, for each size the run with the most tokens;"
            " late steps are averaged over windows.",
            curve_plots.plot_sample_efficiency(
                [_curve(results, r, "n_tokens", r["n_tokens"]) for r in longest]
            ),
        )  # fmt: skip


def _curve(
    results: Results, run: dict[str, Any], x: str, end: float, efficient: bool = False
) -> curve_plots.Curve:
    rows = results.curves[run["run_id"]]
    loss = run["heldout_loss"]
    size = run[column_of(results, "N")]
    return curve_plots.Curve(size, rows[x], rows["loss"], None if loss is None else (end, loss), efficient)


def _longest_by_size(runs: list[dict[str, Any]], n_column: str) -> list[dict[str, Any]]:
    """Of the finished runs of each size, the one with the most tokens; of those of the best learning rate."""
    longest: dict[float, dict[str, Any]] = {}
    for run in sorted(
        (r for r in runs if r["heldout_loss"] is not None), key=lambda r: (-r["n_tokens"], r["heldout_loss"])
    ):
        longest.setdefault(run[n_column], run)
    return [longest[size] for size in sorted(longest)]


def _draw_residuals(results: Results) -> Iterator[Drawing]:
    fit = results.fit("L(N,D)")
    if fit is None:
        return
    runs = [results.run(i) for i in fit["run_ids"]]
    measured = [r["heldout_loss"] for r in runs]
    fitted = [m / float(np.exp(e)) for m, e in zip(measured, fit["residuals"], strict=True)]
    cell = results.fits["heldout_cell"]
    said = next((p for p in cell["predictions"] if p["key"] == "L(N,D)"), None)
    spread = float(np.sqrt(np.mean(np.square(fit["residuals"]))))
    n_column = column_of(results, "N")
    yield Drawing(
        "residuals", "What L(N,D) misses",
        f"Left: measured against fitted loss, on the line where they agree. Right: the difference by size,"
        f" coloured by tokens; root mean square {format_percent(spread, signed=False)}.",
        plots.plot_residuals(
            [r[n_column] for r in runs], [r["n_tokens"] for r in runs], measured, fitted,
            (cell["n_params"], cell["measured"], said["value"]) if said else None,
        ),
    )  # fmt: skip


def _draw_rates(results: Results) -> Iterator[Drawing]:
    grids = [g for g in results.fits["learning_rate"]["grids"] if sum(y is not None for y in g["losses"]) > 1]
    if not grids:
        return
    more = (
        f" The {len(grids) - MOST_GRIDS} smaller grids are in fits.json." if len(grids) > MOST_GRIDS else ""
    )
    grids = sorted(grids, key=lambda g: len(g["rates"]), reverse=True)[:MOST_GRIDS]
    yield Drawing(
        "learning_rates", "Grids of learning rates",
        "Held-out loss against the base learning rate; the best of a grid is filled, a red square where it"
        f" lies at an edge. Rates that diverged or were halted are not drawn.{more}",
        plots.plot_learning_rates(sorted(grids, key=lambda g: (g["n_params"], g["n_tokens"]))),
    )  # fmt: skip
