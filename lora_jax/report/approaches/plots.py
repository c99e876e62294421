"""Figures of Chinchilla's approaches 1 and 2: IsoFLOP curves, their optima over compute, and the envelope.

Each function takes an `IsoFlopResult` or an `EnvelopeResult` and returns a matplotlib Figure. Losses are in
nats per token unless `unit` says otherwise.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lora_jax.estimate import Estimate
from lora_jax.report.kit import style
from lora_jax.report.kit.figure_text import Maths
from lora_jax.report.kit.numbers import format_count, format_interval, format_power
from lora_jax.scaling.optima.approach_report import BudgetMinimum, EnvelopeResult, IsoFlopResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ABOVE = 1.3  # of the largest minimum: a run far from its optimum would flatten every curve
NAMES = {"parabola": "parabola", "akima": "Akima interpolation"}
COMPUTE = "training compute C (FLOPs)"


def plot_isoflop_curves(result: IsoFlopResult, unit: str = "nats per token") -> "Figure":
    """Draw loss against N, a colour per budget: the runs, their curve, the minimum with its interval.

    Refused budgets are grey and crossed. Runs more than 30 % above the largest minimum are not shown.
    """
    figure, [ax] = style.new_figure()
    rows, refused = result.rows, result.refused
    colours = style.size_colours()(np.linspace(0, 1, max(len(rows), 2)))
    highest = ABOVE * max(row.loss.value for row in rows)
    for i, (row, colour) in enumerate(zip(rows, colours, strict=False)):
        _draw_budget(ax, row, colour, NAMES[result.method] if i == 0 else None)
        _draw_minimum(ax, row, is_first=i == 0)
    for i, row in enumerate(refused):
        ax.plot(
            row.sizes,
            row.losses,
            "x:",
            color=style.FAINT,
            markersize=5,
            linewidth=1.0,
            zorder=1,
            label=f"refused budget ({len(refused)})" if i == 0 else None,
        )
    every = [row for row in (*rows, *refused) if row.sizes]
    sizes = [n for row in every for n in row.sizes]
    losses = [y for row in every for y in row.losses]
    style.set_count_axis(ax, min(sizes) / 1.4, max(sizes) * 1.4, "parameters N")
    style.set_loss_axis(ax, min(losses) / 1.07, min(max(losses) * 1.02, highest), f"loss ({unit})")
    style.add_legend(figure)
    return figure


def _draw_budget(ax: "Axes", row: BudgetMinimum, colour: np.ndarray, curve: str | None) -> None:
    """Draw the runs of a budget and their curve, in an RGBA colour (4,).

    curve: name of the curve in the legend. If it is None, the legend names neither the curve nor the runs.
    """
    ax.plot(
        row.sizes,
        row.losses,
        "o",
        color=colour,
        markersize=3.5,
        markeredgewidth=0,
        label="run, coloured by budget" if curve else None,
    )
    ax.plot(row.curve_sizes, row.curve_losses, "-", color=colour, linewidth=1.2, label=curve)


def _draw_minimum(ax: "Axes", row: BudgetMinimum, is_first: bool) -> None:
    """Draw the minimum of a budget with its intervals and its FLOPs; the first has an entry in the legend."""
    n, loss = row.n_params, row.loss
    ax.errorbar(
        [n.value],
        [loss.value],
        xerr=_bars([n]),
        yerr=_bars([loss]),
        fmt="D",
        color=style.VERMILION,
        markersize=4.5,
        markeredgecolor="white",
        markeredgewidth=0.6,
        linewidth=1.1,
        capsize=2,
        zorder=5,
        label="minimum and 95 % interval, with its FLOPs" if is_first else None,
    )
    ax.annotate(
        format_power(row.flops, 2),
        (n.value, loss.value),
        (0, -14),
        textcoords="offset points",
        ha="center",
        fontsize=7.5,
        color=style.INK,
        zorder=6,
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
    )


def plot_optima(result: IsoFlopResult | EnvelopeResult) -> "Figure":
    """Draw N* and D* against C: each budget's minimum with its interval, the power law and its 95 % band.

    Of approach 1 the points are the stretches of the envelope won by one run; those not fitted are hollow.
    """
    from matplotlib.ticker import FixedLocator

    figure, axes = style.new_figure(columns=2)
    bands = result.bands
    for ax, band, letter, exponent, colour, label in (
        (axes[0], bands.n_params, "N", "a", style.BLUE, "N*, parameters"),
        (axes[1], bands.n_tokens, "D", "b", style.GREEN, "D*, tokens"),
    ):
        flops, values = _points(ax, result, letter == "N")
        value, interval = format_interval(result.exponents[exponent])
        law = Maths(f"${letter}^* \\propto C^{{{value}}}$ ({interval})")
        ax.plot(bands.flops, band.value, "-", color=colour, linewidth=1.6, label=law)
        ax.fill_between(bands.flops, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
        low, high = min(flops) / 1.6, max(flops) * 1.6
        style.set_flops_axis(ax, low, high, COMPUTE)
        decades = style.decade_ticks(low, high, (1,))
        if len(decades) > 1:  # half an axis has no room for more
            ax.xaxis.set_major_locator(FixedLocator(decades))
        drawn = [*values, *band.value]
        low, high = min(drawn) / 2, max(drawn) * 2
        style.set_scale(ax, "y", low, high, style.decade_ticks(low, high), format_count, label)
    style.add_legend(figure)
    return figure


def plot_envelope(
    curves: Sequence[tuple[float, Sequence[float], Sequence[float]]],
    result: EnvelopeResult,
    unit: str = "nats per token",
) -> "Figure":
    """Draw the training curves (N, FLOPs (k,), loss (k,)), coloured by N, and approach 1's envelope.

    The stretches that the exponent is fitted to are solid; those won by the smallest or the largest size that
    got so far are dashed.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    figure, [ax] = style.new_figure()
    sizes = [n for n, _, _ in curves]
    paint = ScalarMappable(LogNorm(min(sizes), max(sizes) * 1.001), style.size_colours())
    for n, flops, loss in curves:
        ax.plot(flops, loss, "-", color=paint.to_rgba(np.asarray(n)), linewidth=0.8, alpha=0.6)
    seen: set[bool] = set()
    for row in result.stretches:
        fitted = row.fitted
        label = None
        if fitted not in seen:
            label = "envelope, fitted" if fitted else "envelope won by an edge size, not fitted"
            seen.add(fitted)
        ax.plot(
            row.flops,
            row.loss,
            "-" if fitted else ":",
            color=style.VERMILION,
            linewidth=2.4,
            zorder=4,
            solid_capstyle="butt",
            label=label,
        )
    flops = [x for row in result.stretches for x in row.flops]
    losses = [y for row in result.stretches for y in row.loss]
    style.set_flops_axis(ax, min(flops) / 1.2, max(flops) * 1.2, COMPUTE)
    style.set_loss_axis(ax, min(losses) / 1.04, max(losses) * 1.04, f"loss ({unit})")
    style.add_legend(figure)
    style.add_count_bar(figure, paint, ax, "parameters N", min(sizes), max(sizes))
    return figure


def _points(
    ax: "Axes", result: IsoFlopResult | EnvelopeResult, is_size: bool
) -> tuple[list[float], list[float]]:
    """Draw the optima of either approach and return what was drawn."""
    if isinstance(result, IsoFlopResult):
        flops = [row.flops for row in result.rows]
        numbers = [row.n_params if is_size else row.n_tokens for row in result.rows]
        values = [number.value for number in numbers]
        ax.errorbar(
            flops,
            values,
            yerr=_bars(numbers),
            fmt="o",
            color=style.INK,
            markersize=4.5,
            linewidth=1,
            capsize=2,
            zorder=4,
            label="minima of the budgets" if is_size else None,
        )
        return flops, values
    drawn: tuple[list[float], list[float]] = ([], [])
    for fitted, face, label in ((True, style.INK, "envelope, fitted"), (False, "white", "not fitted")):
        rows = [row for row in result.stretches if row.fitted == fitted]
        x = [_middle(row.flops) for row in rows]
        y = [row.n_params if is_size else _middle(row.n_tokens) for row in rows]
        ax.plot(
            x,
            y,
            "o",
            color=style.INK,
            markerfacecolor=face,
            markersize=4,
            markeredgewidth=0.8,
            zorder=4,
            label=label if is_size else None,
        )
        drawn[0].extend(x)
        drawn[1].extend(y)
    return drawn


def _middle(ends: Sequence[float]) -> float:
    return float(np.sqrt(ends[0] * ends[1]))


def _bars(numbers: Sequence[Estimate]) -> list[list[float]] | None:
    """Return the lengths of error bars below and above; None where a number has no interval."""
    ends = [number.ci95 for number in numbers if number.ci95 is not None]
    if len(ends) < len(numbers):
        return None
    # a percentile interval may lie beside the value: a bar has no negative length
    return [
        [max(0.0, n.value - low) for n, (low, _) in zip(numbers, ends, strict=True)],
        [max(0.0, high - n.value) for n, (_, high) in zip(numbers, ends, strict=True)],
    ]
