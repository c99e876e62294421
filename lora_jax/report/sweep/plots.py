"""Figures of the fits: loss against one variable, fitted against measured, and grids of learning rates.

Each function takes plain numbers and returns a matplotlib Figure. Losses are in nats per token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_jax.estimate import Estimate
from lora_jax.report.kit import style
from lora_jax.report.kit.figure_text import Maths
from lora_jax.report.kit.numbers import format_count, format_interval, format_percent
from lora_jax.scaling.tables.cells import RateGrid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Sequence[tuple[float, float]]  # (x, loss)
LOSS = "held-out loss (nats per token)"
AXES = {"N": "parameters N", "D": "training tokens D", "C": "training compute C (FLOPs)"}


@dataclass(frozen=True)
class Line:
    """A fitted law of one variable, with its 95% band at `x`, and the exponent that is quoted."""

    label: str
    exponent: Estimate
    x: Sequence[float]
    loss: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class Prediction:
    """What a fit said about the held-out run: loss with its interval, relative error of the prediction."""

    label: str
    loss: float
    ci95: Sequence[float] | None
    relative_error: float


@dataclass(frozen=True)
class Heldout:
    """The run that no fit has seen, at `x`."""

    x: float
    measured: float
    predictions: Sequence[Prediction]
    note: str = ""  # where the run is off the slice that was fitted


def plot_power_law(
    variable: str,
    fitted: Points,
    others: Points,
    lines: Sequence[Line],
    heldout: Heldout | None,
    counted: str,
) -> "Figure":
    """Draw L(X) for X = "N", "D" or "C": the runs, each fit with its band, and the held-out run.

    fitted: runs the fits have seen. others: the other runs, faint. counted: how X was counted, for the axis.
    """
    figure, [ax] = style.new_figure()
    ax.plot(
        [x for x, _ in fitted], [y for _, y in fitted], "o", color=style.INK, markersize=5.5, zorder=4,
        label=f"runs in the fit ({len(fitted)})",
    )  # fmt: skip
    for line, (dash, colour) in zip(lines, (("-", style.BLUE), ("--", style.VERMILION)), strict=False):
        value, interval = format_interval(line.exponent)
        label = Maths(f"{line.label}: $\\alpha_{variable}$ = {value} ({interval})")
        ax.plot(line.x, line.loss, dash, color=colour, linewidth=1.8, label=label)
        ax.fill_between(line.x, line.low, line.high, color=colour, alpha=0.14, linewidth=0)
    if heldout is not None:
        _mark_heldout(ax, heldout)
    ax.plot(
        [x for x, _ in others], [y for _, y in others], "o", color=style.FAINT, markersize=3.5, alpha=0.7,
        markeredgewidth=0, zorder=1, label="other runs",
    )  # fmt: skip
    points = [*fitted, *others, *([(heldout.x, heldout.measured)] if heldout else [])]
    xs, losses = [x for x, _ in points], [y for _, y in points]
    label = f"{AXES[variable]}, {counted}" if counted else AXES[variable]
    (style.set_flops_axis if variable == "C" else style.set_count_axis)(
        ax, min(xs) / 1.5, max(xs) * 1.8, label
    )
    # A band may be very wide beyond the runs: it is shown whole within reason.
    drawn = [y for line in lines for y in (*line.loss, *line.low, *line.high)]
    if heldout is not None:
        drawn += [y for p in heldout.predictions for y in (p.loss, *(p.ci95 or ()))]
    low = max(min([*losses, *drawn]), 0.8 * min(losses))
    high = min(max([*losses, *drawn]), 1.2 * max(losses))
    style.set_loss_axis(ax, low / 1.03, high * 1.03, LOSS)
    style.add_legend(figure)
    return figure


def _mark_heldout(ax: "Axes", heldout: Heldout) -> None:
    ax.plot(
        [heldout.x], [heldout.measured], "*", color=style.ORANGE, markersize=15, markeredgecolor=style.INK,
        markeredgewidth=0.8, zorder=5, label=f"held out: measured{heldout.note}",
    )  # fmt: skip
    for i, prediction in enumerate(heldout.predictions):
        colour = style.GREEN
        if prediction.label.startswith("L(C)"):
            colour = style.VERMILION if prediction.label.endswith("floor") else style.BLUE
        x = heldout.x * 1.12**i  # side by side, or their bars would hide each other
        errors = None
        if prediction.ci95:
            low, high = prediction.ci95
            errors = [[max(0.0, prediction.loss - low)], [max(0.0, high - prediction.loss)]]
        ax.errorbar(
            [x], [prediction.loss], yerr=errors, fmt="D", color=colour, markersize=5, markerfacecolor="white",
            markeredgewidth=1.4, capsize=3, linewidth=1.2, zorder=6,
            label=f"held out: {prediction.label} is off by {format_percent(prediction.relative_error)}",
        )  # fmt: skip


def plot_residuals(
    n_params: Sequence[float],
    n_tokens: Sequence[float],
    measured: Sequence[float],
    fitted: Sequence[float],
    heldout: tuple[float, float, float] | None,
) -> "Figure":
    """Draw how L(N,D) misses: measured against fitted loss, and the error in percent against N by D.

    heldout: (N, measured, predicted) of the run that no fit has seen.
    """
    from matplotlib.colors import LogNorm

    figure, [left, right] = style.new_figure(columns=2)
    norm = LogNorm(min(n_tokens), max(n_tokens) * 1.001)
    paint = {
        "c": list(n_tokens),
        "norm": norm,
        "cmap": style.size_colours(),
        "s": 26,
        "edgecolors": "white",
        "linewidths": 0.4,
    }
    dots = left.scatter(fitted, measured, **paint)
    errors = [100 * (m / f - 1) for m, f in zip(measured, fitted, strict=True)]
    right.scatter(n_params, errors, **paint)
    every = [*measured, *fitted]
    sizes = list(n_params)
    if heldout is not None:
        size, truth, predicted = heldout
        every += [truth, predicted]
        sizes.append(size)
        star = {"color": style.ORANGE, "markersize": 14, "markeredgecolor": style.INK, "label": "held out"}
        left.plot([predicted], [truth], "*", **star)
        right.plot([size], [100 * (truth / predicted - 1)], "*", **star)
        left.legend(loc="upper left", fontsize=8.5, frameon=False)
    low, high = min(every) / 1.03, max(every) * 1.03
    left.plot([low, high], [low, high], "-", color=style.INK, linewidth=0.8, zorder=0)
    style.set_loss_axis(left, low, high, "measured loss (nats per token)")
    style.set_loss_axis(left, low, high, "loss by L(N,D) (nats per token)", axis="x")
    style.set_count_axis(right, min(sizes) / 1.5, max(sizes) * 1.5, AXES["N"], narrow=True)
    right.axhline(0, color=style.INK, linewidth=0.8, zorder=0)
    right.set_ylabel("measured above fitted (%)")
    style.add_count_bar(figure, dots, right, "tokens D", min(n_tokens), max(n_tokens))
    return figure


def plot_learning_rates(grids: Sequence[RateGrid]) -> "Figure":
    """Draw loss against base learning rate, a line per grid; the best is filled, and red at an edge."""
    figure, [ax] = style.new_figure()
    colours = (style.BLUE, style.VERMILION, style.GREEN, style.ORANGE, style.PURPLE, style.INK)
    rates, losses = [], []
    for i, grid in enumerate(grids):
        pairs = [(r, y) for r, y in zip(grid.rates, grid.losses, strict=True) if y is not None]
        colour = colours[i % len(colours)]
        label = f"N = {format_count(grid.n_params)}, D = {format_count(grid.n_tokens)}"
        ax.plot(
            [r for r, _ in pairs], [y for _, y in pairs], "o-", color=colour, markerfacecolor="white",
            linewidth=1.4, markersize=5, label=f"{label}, best at the edge" if grid.at_edge else label,
        )  # fmt: skip
        best = min(pairs, key=lambda pair: pair[1])
        ax.plot(
            *best,
            "s" if grid.at_edge else "o",
            color="#CC0000" if grid.at_edge else colour,
            markersize=8,
        )
        rates += [r for r, _ in pairs]
        losses += [y for _, y in pairs]
    style.set_rate_axis(
        ax, min(rates) / 1.3, max(rates) * 1.3, "base learning rate (the peak at N = 100,000)"
    )
    style.set_loss_axis(ax, min(losses) / 1.01, max(losses) * 1.015, LOSS)
    style.add_legend(figure)
    return figure
