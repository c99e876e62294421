"""Figures of the training curves. Each function takes plain numbers and returns a matplotlib Figure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lora_jax.report.kit import style
from lora_jax.report.kit.curves import smooth
from lora_jax.report.kit.end_labels import label_ends
from lora_jax.report.kit.numbers import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

LOSS = "loss (nats per token)"


@dataclass(frozen=True)
class Curve:
    """Training loss of one run against tokens or FLOPs, and where its held-out loss came out."""

    n_params: float
    x: Sequence[float]
    loss: Sequence[float]
    end: tuple[float, float] | None  # (x, held-out loss); None for a run that diverged or was halted
    efficient: bool = False  # on the compute-efficient frontier


def plot_training_curves(
    curves: Sequence[Curve], frontier: Sequence[tuple[float, float, float, float]]
) -> "Figure":
    """Draw loss against FLOPs, a line for each run, coloured by N, with the compute-efficient frontier.

    Args:
        frontier: Rows (FLOPs, loss, low, high) of L(C), the law of the efficient runs. May be empty.
    """
    curves = [_smoothed(curve) for curve in curves]
    figure, [ax] = style.new_figure()
    paint = _painter(curves)
    for curve in curves:
        x, y = curve.x, curve.loss
        if curve.end is None:
            ax.plot(x, y, ":", color=style.FAINT, linewidth=1.2)
            ax.plot(x[-1:], y[-1:], "x", color="#CC0000", markersize=6, zorder=4)
        else:
            ax.plot(x, y, "-", color=paint.to_rgba(np.asarray(curve.n_params)), linewidth=0.9, alpha=0.75)
    ends = [c for c in curves if c.end is not None]
    for efficient, size, label in (
        (False, 3.5, "held-out loss of a run"),
        (True, 6.5, "compute-efficient run"),
    ):
        chosen = [c for c in ends if c.efficient == efficient]
        ax.plot(
            [c.end[0] for c in chosen if c.end],
            [c.end[1] for c in chosen if c.end],
            "o",
            markersize=size,
            color=style.VERMILION if efficient else style.INK,
            markeredgecolor="white",
            markeredgewidth=0.6,
            zorder=4 + efficient,
            label=label,
        )
    if frontier:
        flops, loss, low, high = zip(*frontier, strict=True)
        ax.plot(flops, loss, "--", color=style.VERMILION, linewidth=1.8, label="frontier, L(C)", zorder=5)
        ax.fill_between(flops, low, high, color=style.VERMILION, alpha=0.15, linewidth=0)
    if any(c.end is None for c in curves):
        ax.plot([], [], "x", color="#CC0000", markersize=6, label="diverged or halted")
    _set_limits(ax, curves, [y for _, y, _, _ in frontier])
    spread = [x for c in curves for x in c.x]
    style.set_flops_axis(ax, _start(spread, 4.5), max(spread) * 1.5, "training compute C (FLOPs)")
    style.add_legend(figure)
    sizes = [c.n_params for c in curves]
    style.add_count_bar(figure, paint, ax, "parameters N", min(sizes), max(sizes))
    return figure


def plot_sample_efficiency(curves: Sequence[Curve]) -> "Figure":
    """Draw loss against tokens seen, a line per size: larger models need fewer samples for the same loss."""
    curves = [_smoothed(curve) for curve in curves]
    figure, [ax] = style.new_figure()
    paint = _painter(curves)
    for curve in curves:
        ax.plot(curve.x, curve.loss, "-", color=paint.to_rgba(np.asarray(curve.n_params)), linewidth=1.4)
    _set_limits(ax, curves, [])
    spread = [x for c in curves for x in c.x]
    style.set_count_axis(ax, _start(spread, 3.0), max(spread) * 1.03, "tokens seen")
    ends = [(curve.x[-1], curve.loss[-1]) for curve in curves]
    names = [f"N = {format_count(curve.n_params)}" for curve in curves]
    label_ends(ax, ends, names, [style.INK] * len(names))  # the lightest shades are no colour of words
    return figure


def _smoothed(curve: Curve) -> Curve:
    x, loss = smooth(curve.x, curve.loss)
    return replace(curve, x=x, loss=loss)


def _start(spread: Sequence[float], most_decades: float) -> float:
    """Where the x axis begins: the first steps are of no interest many decades before the end."""
    return max(min(spread) / 1.2, max(spread) / 10**most_decades)


def _set_limits(ax: "Axes", curves: Sequence[Curve], others: Sequence[float]) -> tuple[float, float]:
    losses = [*others, *(y for c in curves if c.end for y in (*c.loss, c.end[1]))]
    low, high = min(losses) / 1.05, max(losses) * 1.04
    style.set_loss_axis(ax, low, high, LOSS)
    return low, high


def _painter(curves: Sequence[Curve]) -> "ScalarMappable":
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    sizes = [c.n_params for c in curves]
    return ScalarMappable(LogNorm(min(sizes), max(sizes) * 1.001), style.size_colours())
