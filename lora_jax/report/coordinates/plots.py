"""The figure of a coordinate check: each quantity against width or depth, a line for each step."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lora_jax.report.kit import style
from lora_jax.report.kit.panels import new_grid, set_title
from lora_jax.scaling.coordinates import Axis, Coordinate, CoordinateReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3


def plot_coordinates(report: CoordinateReport, axis: Axis) -> "Figure":
    """Draw every quantity of every site against width or depth, on logarithmic axes.

    Args:
        report: The check.
        axis: What is drawn across.
    """
    kinds = list(dict.fromkeys((s.site, s.quantity) for s in report.slopes if s.axis == axis))
    figure, axes = new_grid(len(kinds), COLUMNS, 2.0)
    set_title(figure, f"{report.model}: sizes inside the model against {axis}")
    colours = _colour_steps(report)
    for ax, (site, quantity) in zip(axes, kinds, strict=True):
        rows = [
            row
            for row in report.along(axis)
            if (row.site, row.quantity) == (site, quantity)
            and (row.step > 0 or quantity == "size")  # nothing has changed at step 0
        ]
        _draw_panel(ax, rows, axis, colours, has_log=quantity != "growth")
        what = f"ln growth by step {report.late}" if quantity == "growth" else quantity
        ax.set_title(f"{site}: {what}", fontsize=8.5)
    for ax in axes[-COLUMNS:]:
        ax.set_xlabel(axis, fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    return figure


def _colour_steps(report: CoordinateReport) -> dict[int, Any]:
    """Return a colour for each step, the same in every panel."""
    from matplotlib import colormaps

    steps = sorted({row.step for row in report.coordinates})
    return dict(zip(steps, colormaps["viridis"](np.linspace(0.0, 0.85, len(steps))), strict=True))


def _draw_panel(
    ax: "Axes", rows: list[Coordinate], axis: Axis, colours: dict[int, Any], has_log: bool
) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    sizes = sorted({getattr(row, axis) for row in rows})
    for step in sorted({row.step for row in rows}):
        colour = colours[step]
        means = []
        for size in sizes:
            values = [row.value for row in rows if row.step == step and getattr(row, axis) == size]
            ax.plot([size] * len(values), values, ".", color=colour, markersize=3, alpha=0.6)
            means.append(float(np.exp(np.mean(np.log(values)))) if has_log else float(np.mean(values)))
        ax.plot(sizes, means, "-", color=colour, linewidth=1.2, label=f"step {step}")
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(sizes))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.tick_params(labelsize=7.5)
    if not has_log:
        return
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    middle = math.sqrt(low * high)
    ax.set_ylim(min(low, middle / 2), max(high, middle * 2))  # so that a flat line looks flat
    ax.yaxis.set_major_locator(FixedLocator(style.decade_ticks(*ax.get_ylim(), (1, 2, 5))))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    ax.yaxis.set_minor_locator(NullLocator())
