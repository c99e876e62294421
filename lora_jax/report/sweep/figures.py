"""From a results folder to its figures: which runs and fits each one shows, and what it says in words."""

from collections.abc import Iterator, Sequence

import numpy as np

from lora_jax.report.fit.figures import draw_misses, named_by
from lora_jax.report.fit.one_variable import Heldout, Line, OneVariable, Prediction, plot_one_variable
from lora_jax.report.fit.plots import Unseen
from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.figure_text import Maths
from lora_jax.report.kit.numbers import format_count, format_interval, format_loss
from lora_jax.report.kit.thinning import choose_evenly, say_left_out
from lora_jax.report.sweep import curve_plots, rate_plots
from lora_jax.report.sweep.results import MOST_CURVES, Results, SweepRun
from lora_jax.report.sweep.rows import counted_by
from lora_jax.scaling.sweep_results import JOINT, SweepFit

MOST_GRIDS = 6  # of learning rates, in one figure
MOST_SIZES = 20  # each has a label in its figure
MOST_OTHERS = 500  # runs that a law was not fitted to, in its figure


def draw_figures(results: Results) -> list[Drawing]:
    """Draw every figure that the results can carry; a law that was not fitted has none."""
    drawings = [d for variable in ("N", "D", "C") if (d := _draw_law(results, variable))]
    return [*drawings, *_draw_curves(results), *_draw_residuals(results), *_draw_rates(results)]


def column_of(results: Results, variable: str) -> str:
    """Return the column of runs.csv that holds N, D or C in these fits."""
    return {"N": results.fits.n_column, "D": "n_tokens", "C": results.fits.flops_column}[variable]


def _draw_law(results: Results, variable: str) -> Drawing | None:
    fits = [fit for key in (f"L({variable})", f"L({variable}) with floor") if (fit := results.fits.fit(key))]
    if not fits:
        return None
    column = column_of(results, variable)
    lines = [Line(_label(fit, variable), fit.band) for fit in fits if fit.band is not None]
    ids = set(fits[0].run_ids)
    cell = results.fits.heldout_cell
    done = [
        (r.run_id, (r.number(column), y, _words_of(results, r)))
        for r in results.runs
        if (y := r.heldout_loss) is not None
    ]
    fitted = [point for i, point in done if i in ids and i != cell.run_id]
    unfitted = sorted(point for i, point in done if i not in ids and i != cell.run_id)
    others = choose_evenly(unfitted, MOST_OTHERS, lambda _: False)
    left_out = say_left_out(len(others), len(unfitted), "other runs", "runs.csv")
    counted = ""
    if variable == "N":
        counted = counted_by(results.fits).get(column) or column
    held = _heldout(results, variable, ids)
    caption = (
        f"{fits[0].formula}, fitted to {fits[0].slice}, with its 95 % band"
        + (" and with a floor E" if len(fits) > 1 else "")
        + ". Other runs are faint; the star is the held-out run, which no fit has seen."
        + (f" {left_out}" if left_out else "")
    )
    figure = plot_one_variable(
        OneVariable(variable, rate_plots.LOSS, fitted, lines, others=others, heldout=held, counted=counted)
    )
    names = {"N": "parameters", "D": "training tokens", "C": "training compute"}
    return Drawing(f"loss_vs_{variable}", f"L({variable}): loss against {names[variable]}", caption, figure)


def _words_of(results: Results, run: SweepRun) -> str:
    """Return what a run's point says: its name, its size, its tokens and its loss."""
    size = format_count(run.number(column_of(results, "N")))
    tokens, loss = format_count(run.n_tokens), format_loss(run.heldout_loss)
    return f"{run.run_id}: N = {size}, D = {tokens}, held-out loss {loss}"


def _label(fit: SweepFit, variable: str) -> str:
    value, interval = format_interval(fit.params[f"alpha_{variable}"])
    which = "with floor" if fit.key.endswith("floor") else "no floor"
    return Maths(f"{which}: $\\alpha_{variable}$ = {value} ({interval})")


def _heldout(results: Results, variable: str, ids: set[str]) -> Heldout:
    cell = results.fits.heldout_cell
    # L(N) and L(D) do not predict the cell where it is off their slice; L(N,D) always does.
    wanted = ("L(N,D)",) if variable != "C" else ("L(C)", "L(C) with floor", "L(N,D)")
    predictions = [
        Prediction(p.key, p.value, p.ci95, p.relative_error) for p in cell.predictions if p.key in wanted
    ]
    note = ""
    other, letter = {"N": ("n_tokens", "D"), "D": (column_of(results, "N"), "N")}.get(variable, ("", ""))
    if other:
        slice_value = float(np.median([results.run(i).number(other) for i in ids]))
        here = cell.n_tokens if letter == "D" else cell.n_params
        if abs(np.log(here / slice_value)) > 0.01:
            note = f" (at {letter} = {format_count(here)}, not {format_count(slice_value)})"
    x = {"N": cell.n_params, "D": cell.n_tokens, "C": cell.flops}[variable]
    return Heldout(x, cell.measured, predictions, note)


def _draw_curves(results: Results) -> Iterator[Drawing]:
    efficient = set(results.fits.frontier.run_ids)
    shown = [r for r in results.runs if len(results.curves.get(r.run_id, {"step": []})["step"]) > 1]
    if not any(r.heldout_loss is not None for r in shown):
        return
    column = column_of(results, "C")
    curves = [_curve(results, r, "flops", r.number(column), r.run_id in efficient) for r in shown]
    line = results.fits.fit("L(C)")
    band = None if line is None else line.band
    rows = [] if band is None else list(zip(band.x, band.loss, band.low, band.high, strict=True))
    cooldown = any(r.schedule == "wsd" for r in shown)
    n, n_efficient = len(results.runs), sum(curve.efficient for curve in curves)
    left_out = say_left_out(len(curves), n, "runs", "curves/") if n > MOST_CURVES else ""
    yield Drawing(
        "training_curves",
        "Training curves and the compute-efficient frontier",
        f"Training loss of {len(curves)} runs against compute, coloured by size, late steps averaged;"
        " dots are held-out losses,"
        f" the {n_efficient} large ones those of the compute-efficient runs, through which L(C) goes."
        + (" Where a curve bends down at its end, its learning rate cools down." if cooldown else "")
        + (f" {left_out}" if left_out else ""),
        curve_plots.plot_training_curves(curves, rows),
    )
    every = _longest_by_size(shown, column_of(results, "N"))
    longest = choose_evenly(every, MOST_SIZES, lambda _: False)
    left_out = say_left_out(len(longest), len(every), "sizes", "runs.csv")
    if len(longest) > 1:
        yield Drawing(
            "sample_efficiency",
            "Training loss against tokens seen, a line for each size",
            "Training loss against tokens seen, for each size the run with the most tokens;"
            " late steps are averaged over windows." + (f" {left_out}" if left_out else ""),
            curve_plots.plot_sample_efficiency([_curve(results, r, "n_tokens", r.n_tokens) for r in longest]),
        )


def _curve(results: Results, run: SweepRun, x: str, end: float, efficient: bool = False) -> curve_plots.Curve:
    rows = results.curves[run.run_id]
    loss = run.heldout_loss
    size = run.number(column_of(results, "N"))
    return curve_plots.Curve(size, rows[x], rows["loss"], None if loss is None else (end, loss), efficient)


def _longest_by_size(runs: Sequence[SweepRun], n_column: str) -> list[SweepRun]:
    """Of the finished runs of each size, the one with the most tokens; of those of the best learning rate."""
    longest: dict[float, SweepRun] = {}
    done = [(-r.n_tokens, y, r) for r in runs if (y := r.heldout_loss) is not None]
    for *_, run in sorted(done, key=lambda one: one[:2]):
        longest.setdefault(run.number(n_column), run)
    return [longest[size] for size in sorted(longest)]


def _draw_residuals(results: Results) -> Iterator[Drawing]:
    fit = results.fits.joint
    if fit is None:
        return
    cell = results.fits.heldout_cell
    said = cell.predicted_by(JOINT)
    at = {named_by(fit, v): x for v, x in (("N", cell.n_params), ("D", cell.n_tokens), ("C", cell.flops))}
    yield draw_misses(fit, Unseen(at, cell.measured, said.value) if said else None)


def _draw_rates(results: Results) -> Iterator[Drawing]:
    grids = [g for g in results.fits.learning_rate.grids if sum(y is not None for y in g.losses) > 1]
    if not grids:
        return
    more = (
        f" The {len(grids) - MOST_GRIDS} smaller grids are in fits.json." if len(grids) > MOST_GRIDS else ""
    )
    grids = sorted(grids, key=lambda g: len(g.rates), reverse=True)[:MOST_GRIDS]
    yield Drawing(
        "learning_rates",
        "Held-out loss against the learning rate, a line for each size",
        "Held-out loss against the base learning rate; the best of a grid is filled, a red square where it"
        f" lies at an edge. Rates that diverged or were halted are not drawn.{more}",
        rate_plots.plot_learning_rates(sorted(grids, key=lambda g: (g.n_params, g.n_tokens))),
    )
