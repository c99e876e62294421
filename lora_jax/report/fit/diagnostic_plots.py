"""Figures of how far a fit is to be believed: profiles, contours of the bootstrap, influence of single rows.

Each function takes plain numbers and returns a matplotlib Figure.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lora_jax.report.fit.axes import LOG_FROM, set_number_axis, set_variable_axis, short
from lora_jax.report.kit import style
from lora_jax.report.kit.figure_text import name_of
from lora_jax.report.kit.numbers import format_power
from lora_jax.report.kit.panels import new_grid
from lora_jax.scaling.results import ProfileCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HIGHEST = 3.0  # of a profile's panel, in rises that end the interval
MOST_BARS = 12  # rows in the figure of influence
SHARES = (0.5, 0.95)  # of the replicates inside the contours
FARTHEST = 1.0  # how far beyond the replicates a panel reaches for a published constant, in their width
SMOOTHING = 1.2  # of the density, in Scott's bandwidths: a few replicates are no island
GRID = 120  # points of the density along each axis
COLOURS = (style.VERMILION, style.GREEN, style.ORANGE, style.PURPLE, style.INK)


def plot_profiles(profiles: Mapping[str, ProfileCurve]) -> "Figure":
    """Draw the least objective at each value of each parameter, above the minimum.

    All panels share one scale, so that a flat profile looks flat. Raises ValueError for a threshold that is
    not above `best`, such as a mere rise.
    """
    columns = min(3, len(profiles))
    figure, axes = new_grid(len(profiles), columns, 2.5 if len(profiles) > columns else 3.4)
    for i, (ax, (name, profile)) in enumerate(zip(axes, profiles.items(), strict=True)):
        x, objective = np.asarray(profile.value), np.asarray(profile.objective)
        order = np.argsort(x)
        x, objective = x[order], objective[order]
        if not profile.threshold > profile.best:
            raise ValueError(f"profile of {name}: threshold {profile.threshold} is not above the least")
        rise = (objective - profile.best) / (profile.threshold - profile.best)
        low, high = _reach(x, rise)
        set_number_axis(ax, "x", low, high, name)
        left, right = profile.ci95
        ax.axvspan(
            low if left is None else left,
            high if right is None else right,
            color=style.BLUE,
            alpha=0.1,
            linewidth=0,
        )
        ax.axhline(1, color=style.VERMILION, linestyle="--", linewidth=1)
        ax.plot(x, rise, "-", color=style.BLUE, linewidth=1.8)
        at = rise.argmin()
        ax.plot(
            x[at : at + 1], rise[at : at + 1], "o", color=style.INK, markersize=5, clip_on=False, zorder=4
        )
        ax.set_ylim(0, HIGHEST)
        ax.set_yticks([0, 1, 2, 3])
        ends = [f"{'open' if end is None else format_power(end)}" for end in (left, right)]
        ax.set_title(f"95 %: {ends[0]} to {ends[1]}", fontsize=9)
        if i % columns == 0:
            ax.set_ylabel("rise of the objective\n(1 ends the interval)", fontsize=9)
    return figure


def _reach(x: np.ndarray, rise: np.ndarray) -> tuple[float, float]:
    """Return the part of a profile that its panel shows: to where it leaves the panel, or the whole."""
    inside = np.flatnonzero(rise <= HIGHEST)
    first, last = max(inside.min() - 1, 0), min(inside.max() + 1, len(x) - 1)
    return float(x[first]), float(x[last])


def plot_contours(
    samples: Mapping[str, Sequence[float] | np.ndarray],
    pairs: Sequence[tuple[str, str]],
    best: Mapping[str, float],
    published: Mapping[str, Mapping[str, float]],
) -> "Figure":
    """Draw bootstrap replicates for pairs of parameters, with contours that hold 50 and 95 % of them.

    Args:
        published: Constants by name and parameter, drawn as crosses. One that is too far away has a ring at
            the panel's edge.
    """
    figure, axes = new_grid(len(pairs), 2 if len(pairs) > 1 else 1, 3.0 if len(pairs) > 2 else 3.8)
    for ax, pair in zip(axes, pairs, strict=True):
        points = [np.asarray(samples[name], np.float64) for name in pair]
        limits, logs = [], []
        for axis, name, values in zip("xy", pair, points, strict=True):
            marks = [constants[name] for constants in published.values() if name in constants]
            limits.append(_limits(values, [best[name]], marks))
            low, high = limits[-1]
            logs.append(set_number_axis(ax, axis, low, high, name))
        ax.plot(
            points[0],
            points[1],
            "o",
            color=style.FAINT,
            markersize=2.5,
            markeredgewidth=0,
            alpha=0.7,
            zorder=1,
        )
        _contour(ax, points, logs)
        ax.plot([best[pair[0]]], [best[pair[1]]], "o", color=style.INK, markersize=6, zorder=5)
        for (_, constants), colour in zip(published.items(), COLOURS * len(published), strict=False):
            if all(name in constants for name in pair):
                _cross(ax, [constants[name] for name in pair], limits, colour)
    _explain(axes[0], published)
    style.add_legend(figure)
    return figure


def _limits(values: np.ndarray, near: list[float], marks: list[float]) -> tuple[float, float]:
    """Return an axis around the replicates but for the last half percent of either side, and the marks."""
    low, high = np.quantile(values, [0.005, 0.995])
    low, high = min(low, *near), max(high, *near)
    logarithmic = low > 0 and high / low > LOG_FROM
    if low > 0 and not logarithmic:  # the marks may make it one
        reached = [m for m in marks if m > 0]
        logarithmic = max([high, *reached]) / min([low, *reached]) > LOG_FROM
    if logarithmic:
        low, high, marks = np.log(low), np.log(high), [float(np.log(m)) for m in marks if m > 0]
    width = max(high - low, 1e-3 * abs(high), 1e-12)
    ends = [low, high, *(m for m in marks if low - FARTHEST * width <= m <= high + FARTHEST * width)]
    low, high = min(ends) - 0.08 * width, max(ends) + 0.08 * width
    return (float(np.exp(low)), float(np.exp(high))) if logarithmic else (float(low), float(high))


def _contour(ax: "Axes", points: list[np.ndarray], logs: list[bool]) -> None:
    """Draw the contours of highest density; none where the replicates lie on one line or point.

    The density is taken along the cloud's own axes: a narrow slanting one is nothing on an upright grid.
    """
    from scipy.stats import gaussian_kde

    cloud = np.stack([np.log(p) if log else p for p, log in zip(points, logs, strict=True)])
    middle, spread = cloud.mean(axis=1, keepdims=True), cloud.std(axis=1, keepdims=True)
    if (spread <= 1e-9 * np.abs(middle)).any():
        return
    variance, turn = np.linalg.eigh(np.corrcoef(cloud))
    if variance.min() < 1e-10:
        return
    to_data = spread * turn * np.sqrt(variance)  # (2, 2): cloud = middle + to_data @ round
    round_cloud = np.linalg.solve(to_data, cloud - middle)
    density = gaussian_kde(round_cloud, SMOOTHING * cloud.shape[1] ** (-1 / 6))
    reach = np.abs(round_cloud).max() + 1
    along = np.linspace(-reach, reach, GRID)
    x, y = np.meshgrid(along, along)
    grid = np.stack([x.ravel(), y.ravel()])
    levels = np.quantile(density(round_cloud), [1 - share for share in sorted(SHARES, reverse=True)])
    if not levels[0] < levels[1]:
        return
    shown = [
        (np.exp(g) if log else g).reshape(GRID, GRID)
        for g, log in zip(middle + to_data @ grid, logs, strict=True)
    ]
    height = density(grid).reshape(GRID, GRID)
    ax.contour(shown[0], shown[1], height, levels=levels, colors=style.BLUE, linewidths=(1.0, 1.8), zorder=3)


def _cross(ax: "Axes", at: list[float], limits: list[tuple[float, float]], colour: str) -> None:
    inside = [min(max(v, low), high) for v, (low, high) in zip(at, limits, strict=True)]
    ax.plot(
        *([v] for v in inside), "x", color=colour, markersize=9, markeredgewidth=2.2, zorder=6, clip_on=False
    )
    if inside != at:
        ax.plot(
            *([v] for v in inside),
            "o",
            color=colour,
            markersize=14,
            markerfacecolor="none",
            zorder=6,
            clip_on=False,
        )


def _explain(ax: "Axes", published: Mapping[str, object]) -> None:
    ax.plot([], [], "o", color=style.FAINT, markersize=4, label="a replicate of the bootstrap")
    ax.plot([], [], "-", color=style.BLUE, linewidth=1.8, label="holds 50 % (thin: 95 %)")
    ax.plot([], [], "o", color=style.INK, markersize=6, label="this fit")
    for name, colour in zip(published, COLOURS * len(published), strict=False):
        ax.plot([], [], "x", color=colour, markersize=8, markeredgewidth=2.2, label=name_of(name))


def plot_influence(
    exponent: str,
    shifts: Sequence[float],
    names: Sequence[str],
    variable: str,
    x: Sequence[float],
) -> "Figure":
    """Draw how far the leading exponent moves without each row.

    The first panel names the most influential rows. The second has all.

    Args:
        shifts, names, x: One for each row. x is the variable against which it is drawn.
    """
    figure, [bars, all_rows] = new_grid(2, 2, 4.0)
    order = sorted(range(len(shifts)), key=lambda i: -abs(shifts[i]))[:MOST_BARS]
    places = list(range(len(order)))[::-1]
    colours = [style.VERMILION if shifts[i] < 0 else style.BLUE for i in order]
    bars.barh(places, [shifts[i] for i in order], color=colours, height=0.7, zorder=2)
    bars.set_yticks(places, [short(names[i]) for i in order], fontsize=8)
    bars.set_xlabel(f"{exponent} moves by, without it")
    bars.grid(False, axis="y")
    all_rows.plot(
        x, shifts, "o", color=style.BLUE, markersize=3.5, alpha=0.7, markeredgewidth=0, label="a row"
    )
    all_rows.plot(
        [x[i] for i in order[:1]],
        [shifts[i] for i in order[:1]],
        "o",
        color=style.VERMILION,
        markersize=6,
        label=f"the worst: {short(names[order[0]])}",
    )
    set_variable_axis(all_rows, variable, x, narrow=True)
    all_rows.set_ylabel(f"{exponent} moves by")
    far = 1.2 * max(*(abs(s) for s in shifts), 1e-12)
    for ax, axis, line in ((bars, "x", bars.axvline), (all_rows, "y", all_rows.axhline)):
        line(0, color=style.FAINT, linewidth=1, zorder=0)
        set_number_axis(ax, axis, -far, far, getattr(ax, f"get_{axis}label")())
    style.add_legend(figure)
    return figure
