"""The figure of the grids of learning rates."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_jax.report.kit import style
from lora_jax.report.kit.numbers import format_count
from lora_jax.scaling.tables.cells import RateGrid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSS = "held-out loss (nats per token)"


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
            [r for r, _ in pairs],
            [y for _, y in pairs],
            "o-",
            color=colour,
            markerfacecolor="white",
            linewidth=1.4,
            markersize=5,
            label=f"{label}, best at the edge" if grid.at_edge else label,
        )
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
