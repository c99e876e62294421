"""Figures of a comparison of recipes."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_jax.report.kit import style
from lora_jax.report.kit.marks import name_marks
from lora_jax.report.kit.numbers import format_count, format_power
from lora_jax.report.kit.panels import new_grid
from lora_jax.report.speedup.rows import UNITS, say_place
from lora_jax.scaling.speedups.results import Point, RecipeSpeedup, SpeedupReport, spell_ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_RECIPES = 6
SPREAD = 1.02  # between two recipes at one place, a factor
NAMES = {"N": "parameters N", "D": "training tokens D"}
FARTHEST = 8.0  # from 1, a factor: what lies beyond is drawn at the edge, its mark hollow


def plot_speedups(report: SpeedupReport) -> "Figure | None":
    """Draw the speed-ups against scale: a panel for each quantity that is saved, and each size that was
    measured. None without any.
    """
    recipes = report.recipes[:MOST_RECIPES]
    kinds = list(dict.fromkeys(_panel_of(point) for recipe in recipes for point in drawn(recipe)))
    if not kinds:
        return None
    figure, axes = new_grid(len(kinds), min(2, len(kinds)), 3.4 if len(kinds) < 3 else 2.6)
    for ax, kind in zip(axes, kinds, strict=True):
        points = [p for recipe in recipes for p in drawn(recipe) if _panel_of(p) == kind]
        varying = [name for name in points[0].at if len({p.at[name] for p in points}) > 1]
        _draw_panel(ax, report, kind, varying[0] if varying else next(iter(points[0].at)))
    if len(recipes) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8.5, frameon=False)
    return figure


def _panel_of(point: Point) -> str:
    """Return the title of a point's panel. Runs that were measured at several sizes have one for each."""
    what = UNITS.get(point.of, point.of)
    if not point.measured or "N" not in point.at or point.of == "N":
        return what
    return f"{what}, N = {format_count(point.at['N'])}"


def drawn(recipe: RecipeSpeedup) -> list[Point]:
    """Return the points that a figure can show."""
    return [point for point in recipe.points if math.isfinite(point.speedup.value)]


def _draw_panel(ax: "Axes", report: SpeedupReport, kind: str, across: str) -> None:
    values, places = [1.0], []
    for number, recipe in enumerate(report.recipes[:MOST_RECIPES]):
        points = [point for point in drawn(recipe) if _panel_of(point) == kind]
        shift = SPREAD**number
        xs = [point.at[across] * shift for point in points]
        ys = [_shown(point.speedup.value) for point in points]
        ends = [(point.speedup.low, point.speedup.high) for point in points]
        colour, marker = style.COLOURS[number], style.MARKERS[number]
        _draw_bars(ax, xs, ends, colour)
        [marks] = ax.plot(xs, ys, marker, color=colour, markersize=5, zorder=3, label=recipe.name)
        name_marks(marks, [f"{recipe.name}, {say_place(p)}: {spell_ratio(p.speedup.value)}" for p in points])
        beyond = [(x, y) for x, y, p in zip(xs, ys, points, strict=True) if y != p.speedup.value]
        if beyond:
            ax.plot(*zip(*beyond, strict=True), marker, color="white", markersize=2.5, zorder=4)
        values += [*ys, *(_shown(end) for pair in ends for end in pair if not math.isnan(end))]
        places += xs
    ax.axhline(1, color=style.INK, linewidth=0.8, linestyle="--", zorder=1)
    low, high = min(places) / 1.2, max(places) * 1.2
    if across == "C":
        style.set_flops_axis(ax, low, high, "compute 6ND of the recipe (FLOPs)")
    else:
        ticks = sorted(set(style.decade_ticks(low, high)))
        style.set_scale(ax, "x", low, high, ticks, format_count, NAMES.get(across, across))
    bottom, top = min(values) / 1.05, max(values) * 1.05
    style.set_scale(ax, "y", bottom, top, style.loss_ticks(bottom, top), format_power, "speed-up")
    ax.set_title(kind, fontsize=9, loc="left")


def _draw_bars(ax: "Axes", xs: Sequence[float], ends: Sequence[tuple[float, float]], colour: str) -> None:
    """Draw intervals. One that goes on beyond the edge has no stroke there: it does not end."""
    if not ends:
        return
    beyond = 2 * FARTHEST  # outside the axes, which cut it
    bars = [(max(low, 1 / beyond), min(high, beyond)) for low, high in ends]
    ax.vlines(xs, *zip(*bars, strict=True), color=colour, linewidth=1.2, zorder=2)
    strokes = [(x, end) for x, pair in zip(xs, ends, strict=True) for end in pair if end == _shown(end)]
    if strokes:
        ax.plot(*zip(*strokes, strict=True), "_", color=colour, markersize=5, zorder=2)


def _shown(ratio: float) -> float:
    """Return where a ratio is drawn."""
    return min(max(ratio, 1 / FARTHEST), FARTHEST)
