"""Figures of a fitted law and its runs: the law through them, what it misses, the frontier.

Each function takes plain numbers and returns a matplotlib Figure. `response` is the label of the loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lora_jax.report.fit.axes import (
    SIX_ND,
    name_points,
    ring_points,
    set_log_axis,
    set_response_axis,
    set_variable_axis,
    subject_of,
)
from lora_jax.report.kit import style
from lora_jax.report.kit.marks import name_marks
from lora_jax.report.kit.panels import new_grid
from lora_jax.scaling.results import Band, BudgetRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


STAR = {"color": style.ORANGE, "markeredgecolor": style.INK, "zorder": 5}  # a run that was held out


@dataclass(frozen=True)
class Level:
    """The law at one value of its first variable: loss (m,) at x (m,)."""

    size: float
    x: Sequence[float]
    loss: Sequence[float]


@dataclass(frozen=True)
class Unseen:
    """A run that the law has not seen: its variables, by their names on the axes, measured and predicted."""

    at: Mapping[str, float]
    measured: float
    predicted: float


@dataclass(frozen=True)
class Rows:
    """The fitted rows (m,): what each measured, what the law says of it, and its words."""

    measured: Sequence[float]
    fitted: Sequence[float]
    words: Sequence[str]


@dataclass(frozen=True)
class Costs:
    """Runs (m,): their N, D, and FLOPs counted as 6 N D."""

    flops: Sequence[float]
    n_params: Sequence[float]
    n_tokens: Sequence[float]


def plot_levels(
    variables: tuple[str, str],
    points: Sequence[tuple[float, float, float, str]],
    outliers: Sequence[tuple[float, float]],
    levels: Sequence[Level],
    frontier: Band | None,
    response: str,
) -> "Figure":
    """Draw a law of two variables: loss against the second, or compute, coloured by the first.

    Args:
        variables: The law's first variable, and the variable of the x axis.
        points: Runs as (x, loss, size, words).
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    first, across = variables
    figure, [ax] = style.new_figure()
    x, loss, size = np.transpose([point[:3] for point in points])
    paint = ScalarMappable(LogNorm(size.min(), size.max() * 1.001), style.size_colours())
    for i, level in enumerate(levels):
        ax.plot(
            level.x,
            level.loss,
            "-",
            color=paint.to_rgba(np.asarray(level.size)),
            linewidth=1.1,
            zorder=2,
            label=f"the law at constant {first}" if i == 0 else None,
        )
    runs = ax.scatter(
        x,
        loss,
        c=paint.to_rgba(size),
        s=22,
        edgecolors="white",
        linewidths=0.4,
        zorder=3,
        label=f"runs ({len(points)})",
    )
    name_marks(runs, [words for *_, words in points])
    if frontier is not None:
        _draw_band(ax, frontier, "compute-efficient frontier", style.VERMILION, "--")
    ring_points(ax, outliers)
    set_variable_axis(ax, across, x.tolist())
    drawn = [y for level in levels for y in level.loss if y < loss.max()]
    set_response_axis(ax, min([*loss, *drawn]) / 1.03, loss.max() * 1.04, response)
    style.add_legend(figure)
    style.add_count_bar(figure, paint, ax, subject_of(first), size.min(), size.max())
    return figure


def plot_misses(
    rows: Rows,
    columns: Mapping[str, Sequence[float]],
    outliers: Sequence[int],
    response: str,
    heldout: Unseen | None = None,
) -> "Figure":
    """Draw measured against fitted loss, and the difference in percent against each variable in `columns`.

    Args:
        outliers: Indices of rows, the farthest first. If they would flatten all others, they are triangles at
            the edge with their difference beside them.
        heldout: Drawn as a star.
    """
    figure, axes = new_grid(1 + len(columns), 2, 3.0 if len(columns) > 1 else 3.6)
    measured, fitted = np.asarray(rows.measured), np.asarray(rows.fitted)
    far = np.isin(np.arange(len(measured)), outliers)
    errors = 100 * (measured / fitted - 1)
    every = [*measured, *fitted, *((heldout.measured, heldout.predicted) if heldout else ())]
    low, high = min(every) / 1.03, max(every) * 1.03
    axes[0].plot([low, high], [low, high], "-", color=style.FAINT, linewidth=1, zorder=0)
    set_response_axis(axes[0], low, high, f"measured {response}")
    set_response_axis(axes[0], low, high, f"fitted {response}", axis="x")
    unseen = 0.0 if heldout is None else 100 * (heldout.measured / heldout.predicted - 1)
    span = 1.15 * max(np.abs(errors).max(), abs(unseen), 1e-6)
    bulk = 1.6 * np.abs(errors[~far]).max(initial=0)
    if far.any() and span > 2 * bulk > 0:
        span = max(bulk, 1.15 * abs(unseen))
    shown = np.clip(errors, -0.97 * span, 0.97 * span)
    beyond = shown != errors
    for ax, variable in zip(axes[1:], columns, strict=True):
        ax.axhline(0, color=style.FAINT, linewidth=1, zorder=0)
        values = [*columns[variable], *((heldout.at[variable],) if heldout else ())]
        set_variable_axis(ax, variable, values, narrow=True)
        ax.set_ylim(-span, span)
        ax.set_ylabel("measured above fitted (%)")
    for i, (ax, x) in enumerate(zip(axes, (fitted, *columns.values()), strict=True)):
        x, y = np.asarray(x), shown if i else measured
        groups = [("o", far & ~beyond), ("^", far & (errors > shown)), ("v", far & (errors < shown))]
        near = {"color": style.BLUE, "markersize": 3.5, "alpha": 0.65, "markeredgewidth": 0}
        _draw_rows(ax, x, y, ("o", ~far, near), rows.words)
        for mark, which in groups if i else [("o", far)]:
            _draw_rows(
                ax, x, y, (mark, which, {"color": style.VERMILION, "markersize": 5, "zorder": 4}), rows.words
            )
        if i:
            name_points(
                ax, [(float(x[k]), float(y[k]), f"{errors[k]:+.0f} %") for k in outliers if beyond[k]]
            )
    if heldout is not None:
        places = [(heldout.predicted, heldout.measured), *((heldout.at[v], unseen) for v in columns)]
        for ax, (x, y) in zip(axes, places, strict=True):
            ax.plot([x], [y], "*", markersize=14, label="held out", **STAR)
        axes[0].legend(loc="upper left", fontsize=8.5, frameon=False)
    return figure


def _draw_rows(
    ax: "Axes",
    x: np.ndarray,
    y: np.ndarray,
    look: tuple[str, np.ndarray, dict[str, Any]],
    words: Sequence[str],
) -> None:
    """Draw some of the rows. look: the mark, which rows they are, and how they look."""
    mark, which, how = look
    [drawn] = ax.plot(x[which], y[which], mark, **how)
    name_marks(drawn, [words[k] for k, is_drawn in enumerate(which) if is_drawn])


def plot_frontier(rows: Sequence[BudgetRow], runs: Costs | None, largest: float | None) -> "Figure":
    """Draw N* and D* against compute, 6 N D, with their 95 % bands.

    Args:
        runs: Runs of the table, drawn faintly.
        largest: Compute of the largest run. Beyond it the frontier is extrapolated.
    """
    figure, axes = new_grid(2, 2, 3.8)
    flops = [row.flops for row in rows]
    optima = {"N": [row.n_params for row in rows], "D": [row.n_tokens for row in rows]}
    sizes = {} if runs is None else {"N": runs.n_params, "D": runs.n_tokens}
    for ax, (letter, best) in zip(axes, optima.items(), strict=True):
        low, high = np.transpose([number.interval for number in best])
        ax.plot(
            flops,
            [number.value for number in best],
            "-",
            color=style.BLUE,
            linewidth=1.8,
            label="compute-efficient" if letter == "N" else None,
        )
        ax.fill_between(
            flops,
            low,
            high,
            color=style.BLUE,
            alpha=0.16,
            linewidth=0,
            label="95 % interval" if letter == "N" else None,
        )
        drawn = [*low, *high]
        if runs is not None:
            ax.plot(
                runs.flops,
                sizes[letter],
                "o",
                color=style.FAINT,
                markersize=3,
                markeredgewidth=0,
                zorder=1,
                label=f"runs ({len(runs.flops)})" if letter == "N" else None,
            )
            drawn += sizes[letter]
        if largest is not None and largest < max(flops):
            ax.axvline(largest, color=style.INK, linestyle=":", linewidth=1)
            if letter == "N":
                ax.plot([], [], ":", color=style.INK, linewidth=1, label="largest compute of the table")
        set_variable_axis(ax, SIX_ND, [*flops, *(runs.flops if runs is not None else ())], narrow=True)
        set_log_axis(ax, "y", min(drawn) / 1.5, max(drawn) * 1.5, f"{subject_of(letter)}*")
    style.add_legend(figure)
    return figure


def _draw_band(ax: "Axes", band: Band, label: str, colour: str = style.BLUE, dash: str = "-") -> None:
    ax.plot(band.x, band.loss, dash, color=colour, linewidth=1.8, label=label, zorder=5)
    ax.fill_between(
        band.x, band.low, band.high, color=colour, alpha=0.16, linewidth=0, label="its 95 % interval"
    )
