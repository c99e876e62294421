"""Figures of a transfer of learning rates."""

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_jax.report.kit import style
from lora_jax.report.kit.figure_text import name_of
from lora_jax.report.kit.marks import name_marks
from lora_jax.report.kit.numbers import format_count, format_difference, format_loss
from lora_jax.report.kit.panels import PANEL_TITLE, new_grid
from lora_jax.report.kit.side_by_side import side_by_side
from lora_jax.report.kit.thinning import spread
from lora_jax.report.transfer.conclusions import name_size
from lora_jax.scaling.rates.bowls import evaluate
from lora_jax.scaling.rates.results import Bowl, Drift, Series, TransferReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 24
MOST_COLUMNS = 4
MOST_TICKS = 8
HEADROOM = 3.0  # above the highest interval, a factor: the power of the line stands there
TITLE_WIDTH = 24  # letters of a panel's title that fit over it
POINTS = 80  # of a drawn parabola
GAP = 0.025  # of the axis, between two points at one size
ONE_SIZE = 1.05  # a factor within which two sizes have one tick, such as counts of N of one shape
SHARE = 0.5  # of the way to the next size that the points of a size may fill
TOP = 1.3  # times the least loss: what is higher is a cross at the top


def draws_all(report: TransferReport) -> bool:
    """Return whether every grid has a panel in the figure of grids."""
    return sum(len(series.bowls) for series in report.series) <= MOST_PANELS


def plot_bowls(report: TransferReport) -> "Figure":
    """Draw the loss against the rate for each size: a panel each, with its parabola and the best rate."""
    panels = [
        (i, series, bowl)
        for i, series in enumerate(report.series)
        for bowl in series.bowls
        if any(loss is not None for loss in bowl.losses)
    ]
    panels = spread(panels, MOST_PANELS)  # of sizes that alternate, such as two lengths, both
    columns = min(4, len(panels))
    figure, axes = new_grid(len(panels), columns, 1.9)
    low, high = (f(r for _, _, b in panels for r in b.rates) for f in (min, max))
    for number, (ax, (i, series, bowl)) in enumerate(zip(axes, panels, strict=True)):
        _draw_bowl(ax, bowl, style.COLOURS[i % len(style.COLOURS)])
        ends, ticks = (low / 1.3, high * 1.3), (1, 3) if high / low < 200 else (1,)
        style.set_scale(ax, "x", *ends, style.decade_ticks(*ends, ticks), lambda x: f"{x:g}", "")
        ax.tick_params(labelsize=7.5, labelbottom=number + columns >= len(panels))
        label = f"{name_of(series.label, TITLE_WIDTH)}\n" if len(report.series) > 1 else ""
        size = textwrap.fill(name_size(bowl, series), TITLE_WIDTH)  # or it would run into its neighbour's
        ax.set_title(f"{label}{size}", fontsize=PANEL_TITLE, loc="left")
    figure.supxlabel(name_of(f"learning rate, {report.rate_name}", 60), fontsize=9.5)
    figure.supylabel(report.loss_name, fontsize=9.5)
    return figure


def _draw_bowl(ax: "Axes", bowl: Bowl, colour: str) -> None:
    pairs = [(r, y) for r, y in zip(bowl.rates, bowl.losses, strict=True) if y is not None]
    least = min(y for _, y in pairs)
    top = least * TOP  # what lies far above would flatten the rest
    shown = [(r, y) for r, y in pairs if y <= top]
    [marks] = ax.plot(
        *zip(*shown, strict=True), "o", color=colour, markerfacecolor="white", markersize=4.5, zorder=3
    )
    name_marks(marks, [f"rate {r:.3g}, loss {format_loss(y)}" for r, y in shown])
    above = [r for r, y in pairs if y > top]
    edge, bottom = max(y for _, y in shown), least
    if bowl.best is not None:
        parabola, best = bowl.best.parabola, bowl.best.rate
        step = math.log(parabola.high / parabola.low) / POINTS
        xs = [parabola.low * math.exp(k * step) for k in range(POINTS + 1)]
        # the curve's height is a mean over seeds, as the points are
        ys = evaluate(parabola, xs)
        bottom = min(least, *map(float, ys))
        ax.plot(xs, ys, color=colour, linewidth=1.3, zorder=2)
        ax.axvspan(best.low, best.high, color=colour, alpha=0.15, linewidth=0, zorder=1)
        ax.axvline(best.value, color=colour, linewidth=1, linestyle="--", zorder=1)
    pad = 0.08 * (edge - least) or 0.01 * least
    for rate in [*above, *(r for r, y in zip(bowl.rates, bowl.losses, strict=True) if y is None)]:
        ax.plot([rate], [edge + pad], "x", color=style.INK, markersize=5, zorder=3)
    style.set_loss_axis(ax, bottom - 1.5 * pad, edge + 2 * pad, "")


def plot_drifts(report: TransferReport) -> "Figure | None":
    """Draw the best rate against width, depth, batch and tokens.

    A row for each axis that varies and a panel for each series, or two axes in a row where there is one
    series. The number in a panel is the power of its line with its 95 % interval.
    """
    across = list(dict.fromkeys(d.axis for s in report.series for d in s.drifts))
    bowls = [bowl for series in report.series for bowl in series.bowls if bowl.best is not None]
    if not across or not bowls:
        return None
    several = len(report.series) > 1
    columns = min(MOST_COLUMNS, len(report.series)) if several else min(2, len(across))
    panels = [(axis, number, series) for axis in across for number, series in enumerate(report.series)]
    figure, axes = new_grid(len(panels), columns, 2.0 if several else 3.0)
    ends = [end for bowl in bowls if bowl.best is not None for end in bowl.best.rate.interval]
    low, high = min(ends) / 1.3, max(ends) * HEADROOM
    ticks = style.decade_ticks(low, high, (1,) if several else ())
    for i, (ax, (axis, number, series)) in enumerate(zip(axes, panels, strict=True)):
        sizes = sorted({size for s in report.series for b in s.bowls if (size := _size(b, axis))})
        _draw_drift(ax, series, axis, number, _places(series, axis, sizes))
        style.set_count_axis(ax, sizes[0] / 1.3, sizes[-1] * 1.3, axis, narrow=True)
        _set_size_ticks(ax, sizes, 0.2 if several else 0.1)
        ax.set_xlabel(axis, fontsize=9)
        style.set_scale(ax, "y", low, high, ticks, lambda x: f"{x:g}", "")
        ax.tick_params(labelsize=7.5, labelleft=i % columns == 0)
        if several:
            ax.set_title(name_of(series.label, TITLE_WIDTH), fontsize=PANEL_TITLE, loc="left")
    figure.supylabel("best learning rate", fontsize=9.5)
    return figure


def _set_size_ticks(ax: "Axes", sizes: Sequence[float], least: float) -> None:
    """Write the sizes themselves below the axis, where they are few.

    least: The share of the axis between two of them, for their numbers to have room.
    """
    from matplotlib.ticker import FixedLocator

    apart = _apart(sizes)
    if len(apart) > MOST_TICKS:
        return
    low, high = map(math.log, ax.get_xlim())
    ticks = apart[:1]
    for size in apart[1:]:
        if math.log(size / ticks[-1]) >= least * (high - low):
            ticks.append(size)
    ax.xaxis.set_major_locator(FixedLocator(ticks))


def _apart(sizes: Sequence[float]) -> list[float]:
    """Return sizes in rising order without those that are within 5 % of the one before."""
    return [*sizes[:1], *(high for low, high in itertools.pairwise(sizes) if high > ONE_SIZE * low)]


def _size(bowl: Bowl, axis: str) -> float | None:
    return bowl.sizes.get(axis, bowl.n_params if axis == "N" else None)


def _best_of(series: Series, axis: str) -> list[tuple[float, Bowl]]:
    """Return the grids of a series that have a best rate and a size on this axis, with that size."""
    return [(size, b) for b in series.bowls if b.best is not None and (size := _size(b, axis)) is not None]


def _places(series: Series, axis: str, sizes: Sequence[float]) -> list[float]:
    """Return where the points of a series stand: at their size, side by side where that is one."""
    places = [math.log(size) for size, _ in _best_of(series, axis)]
    gap = GAP * math.log(1.3**2 * sizes[-1] / sizes[0])
    apart = [math.log(size) for size in _apart(sizes)]
    if len(apart) > 1 and places:
        nearest = [min(apart, key=lambda size: abs(size - place)) for place in places]
        most = max(nearest.count(size) for size in apart)
        gap = min(gap, SHARE * min(high - low for low, high in itertools.pairwise(apart)) / most)
    return [math.exp(place) for place in side_by_side(places, gap)]


def _draw_drift(ax: "Axes", series: Series, axis: str, number: int, xs: Sequence[float]) -> None:
    colour, marker = style.COLOURS[number % len(style.COLOURS)], style.MARKERS[number % len(style.MARKERS)]
    points = _best_of(series, axis)
    if not points:
        return
    values = [b.best.rate.value for _, b in points if b.best is not None]
    ends = [b.best.rate.interval for _, b in points if b.best is not None]
    bars = [[v - low for v, (low, _) in zip(values, ends, strict=True)]]
    bars.append([high - v for v, (_, high) in zip(values, ends, strict=True)])
    ax.errorbar(xs, values, yerr=bars, fmt="none", ecolor=colour, elinewidth=1, capsize=0, zorder=2)
    [marks] = ax.plot(xs, values, marker, color=colour, markersize=4.5, zorder=3, label=name_of(series.label))
    words = [f"{name_size(b, series)}: {v:.3g}" for (_, b), v in zip(points, values, strict=True)]
    name_marks(marks, words)
    drift = next((d for d in series.drifts if d.axis == axis), None)
    if drift is not None and drift.slope is not None:
        _draw_line(ax, drift, drift.slope.value, points, colour)
        value, between = format_difference(drift.slope)
        ax.text(
            0.98,
            0.97,
            f"{value} ({between})",
            transform=ax.transAxes,
            fontsize=7.5,
            ha="right",
            va="top",
        )


def _draw_line(
    ax: "Axes", drift: Drift, slope: float, points: Sequence[tuple[float, Bowl]], colour: str
) -> None:
    """Draw the slope through the weighted middle of the points."""
    pairs = [(math.log(s), math.log(b.best.rate.value), b.best.rate.se or 1) for s, b in points if b.best]
    total = sum(se**-2 for _, _, se in pairs)
    x, y = (sum(pair[k] * pair[2] ** -2 for pair in pairs) / total for k in (0, 1))
    ends = (drift.low, drift.high)
    ax.plot(
        ends,
        [math.exp(y + slope * (math.log(end) - x)) for end in ends],
        color=colour,
        linewidth=1,
        alpha=0.8,
    )


def count_of(series: Series) -> str:
    """Return how many grids of a series have a best rate."""
    return f"{sum(b.best is not None for b in series.bowls)} of {format_count(len(series.bowls))}"
