"""Figures of a comparison of laws: their errors on larger runs, ranked, and how these grow with the distance.

A `ComparisonReport` in, a matplotlib Figure out.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lora_jax.percent import percent
from lora_jax.report.fit.axes import set_log_axis
from lora_jax.report.kit import style
from lora_jax.report.kit.figure_text import name_of
from lora_jax.report.kit.panels import new_grid
from lora_jax.scaling.comparing.comparison_report import ComparisonReport, Noise, RankedLaw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

COLOURS = {
    "best": style.GREEN,
    "exact": style.BLUE,
    "tied": style.BLUE,
    "worse": style.VERMILION,
    "unresolved": style.ORANGE,
}
MEANINGS = {
    "best": "least error",
    "exact": "not distinguishable from that",
    "tied": "not distinguishable from that",
    "worse": "worse than that",
    "unresolved": "too few runs to tell",
}
LEAST = 1e-4  # percent of the response: smaller errors are drawn there
WIDEST = 1.25  # as a share of the measured: half a panel's height at most, unless the best law errs more
FEWEST_LAWS = 4  # a figure of so few has room for two lines of a law


def plot_ranking(comparison: ComparisonReport) -> "Figure":
    """Draw each law's error on larger runs with its 95 % interval, best on top.

    Beside it the error on the runs it was fitted to, and on the largest held out; the noise as a line. Laws
    that could not be fitted at every origin are named below, without a mark.
    """
    rows = comparison.rows
    figure, [ax] = style.new_figure()
    figure.set_size_inches(style.SIZE[0], 1.9 + 0.36 * max(len(rows), FEWEST_LAWS))
    shown: list[float] = []
    named: set[str] = set()
    for i, row in enumerate(rows):
        shown += _draw_law(ax, i, row, named)
    if comparison.noise is not None:
        sd = _drawn(comparison.noise.sd)
        label = f"noise of one run, {comparison.noise.source}"
        ax.axvline(sd, color=style.INK, linewidth=1, linestyle=":", label=label)
        shown.append(sd)
    low, high = min(shown) / 1.3, max(shown) * 1.3
    what = f"error of ln {comparison.response} (root mean square, %)"
    set_log_axis(ax, "x", low, high, what, lambda x: f"{x:g}")
    ax.set_yticks(range(len(rows)), [_name(row) for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_ylabel("law (number of parameters)")
    ax.grid(False, axis="y")
    style.add_legend(figure)
    return figure


def _draw_law(ax: "Axes", y: int, row: RankedLaw, named: set[str]) -> list[float]:
    """Draw one law and return what was drawn; `named` has the labels that the legend has already."""

    def once(label: str) -> str | None:
        first = label not in named
        named.add(label)
        return label if first else None

    shown = [_drawn(row.insample_rms)]
    ax.plot(shown, [y], "|", color="#707070", markersize=11, label=once("on the runs fitted"), zorder=2)
    if row.heldout_rms is not None:
        x = _drawn(row.heldout_rms)
        ax.plot(
            [x],
            [y],
            "D",
            color="#707070",
            markerfacecolor="white",
            markersize=5,
            zorder=2,
            label=once("on the largest runs, the rest fitted"),
        )
        shown.append(x)
    if row.rolling_rms is None:
        return shown
    x, colour = _drawn(row.rolling_rms), COLOURS[row.status]
    if row.rolling_ci95 is not None:
        ends = [_drawn(end) for end in row.rolling_ci95]
        ax.plot(ends, [y, y], "-", color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
        shown += ends
    label = once(f"on larger runs, from all origins: {MEANINGS[row.status]}")
    ax.plot([x], [y], "o", color=colour, markersize=7, label=label, zorder=4)
    return [*shown, x]


def _drawn(share: float) -> float:
    return max(100 * share, LEAST)


def _name(row: RankedLaw) -> str:
    return f"{name_of(row.name)} ({row.n_params})" + ("" if row.rolling_rms is not None else " \u2020")


def plot_reach(comparison: ComparisonReport, names: Sequence[str] | None = None, most: int = 6) -> "Figure":
    """Draw predicted over measured loss against the reach of each prediction, a panel for each law.

    The reach is the compute of the predicted run over the largest that was fitted. Colours are origins. The
    grey band is two standard deviations of a run's noise either way. A prediction beyond the panel is an open
    triangle at its edge.

    Args:
        names: The laws to draw. None takes the first `most` of the ranking.
    """
    from matplotlib.colors import BoundaryNorm

    fitted = [row for row in comparison.rows if row.errors is not None]
    chosen = fitted[:most] if names is None else [row for row in fitted if row.name in names]
    reach = np.array([p.reach for p in comparison.predicted])
    origin = np.array([p.origin for p in comparison.predicted])
    origins = comparison.origins
    columns = min(len(chosen), 3)
    figure, axes = new_grid(len(chosen), columns, 2.7)
    limit = _limit(chosen, comparison.noise)
    colours = style.size_colours()
    norm = BoundaryNorm(np.arange(len(origins) + 1) - 0.5, colours.N) if len(origins) > 1 else None
    dots = None
    for i, (ax, row) in enumerate(zip(axes, chosen, strict=True)):
        ratio = 100 * np.expm1(np.array(row.errors))
        dots = _draw_reach(ax, (reach, ratio, origin), limit, colours, norm)
        if comparison.noise is not None:
            band = 200 * comparison.noise.sd
            ax.axhspan(-band, band, color="#DDDDDD", linewidth=0, zorder=1)
        ax.axhline(0, color=style.INK, linewidth=0.8, zorder=2)
        ax.set_title(name_of(row.name), fontsize=9.5)
        below = i + columns >= len(chosen)  # no panel is
        # panels are narrow: "6ND", "NxDxF"
        measure = f"{comparison.measure.replace(' ', '')} over the largest fitted" if below else ""
        set_log_axis(ax, "x", 0.9, float(reach.max()) * 1.3, measure, lambda x: f"{x:g}", most=4)
        ax.set_ylim(-limit, limit)
    figure.supylabel("predicted / measured \u2212 1 (%)", fontsize="medium")
    if norm is not None and dots is not None:
        bar = figure.colorbar(
            dots,
            ax=axes,
            location="bottom",
            aspect=45,
            shrink=0.7,
            label=f"share of the {comparison.units} that was fitted",
        )
        bar.set_ticks(range(len(origins)), labels=[percent(o.share) for o in origins])
        bar.ax.minorticks_off()
    return figure


def _draw_reach(
    ax: "Axes",
    points: "tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int_]]",
    limit: float,
    colours: "Colormap",
    norm: "Normalize | None",
) -> "PathCollection":
    """Draw one law's predictions; those beyond the limit at the edge, as open triangles.

    points: Reach, predicted over measured less one in percent, and number of the origin of each.
    """
    reach, ratio, origin = points
    inside = np.abs(ratio) <= limit
    dots = ax.scatter(
        reach[inside],
        ratio[inside],
        c=origin[inside],
        cmap=colours,
        norm=norm,
        s=13,
        alpha=0.85,
        linewidths=0,
        zorder=3,
    )
    for mark, beyond in (("^", ratio > limit), ("v", ratio < -limit)):
        if beyond.any():
            edge = np.full(beyond.sum(), 0.96 * math.copysign(limit, 1 if mark == "^" else -1))
            ax.plot(
                reach[beyond],
                edge,
                mark,
                color=style.VERMILION,
                markerfacecolor="white",
                markersize=5,
                linestyle="none",
                zorder=4,
            )
    return dots


def _limit(rows: Sequence[RankedLaw], noise: Noise | None) -> float:
    """Return half the height of a panel, in percent: all of the best law, most of the others."""
    best = np.abs(np.expm1(np.array(rows[0].errors))).max()
    others = [np.quantile(np.abs(np.expm1(np.array(r.errors))), 0.95) for r in rows]
    floor = 3 * noise.sd if noise is not None else LEAST / 100
    return 110 * float(min(max(best, *others, floor), max(WIDEST, best)))
