"""Figures of a comparison of recipes."""

from typing import TYPE_CHECKING

from lora_jax.report.kit import style
from lora_jax.report.kit.end_labels import LINE, label_ends
from lora_jax.report.kit.figure_text import name_of
from lora_jax.report.kit.marks import name_marks
from lora_jax.report.kit.numbers import format_count, format_percent
from lora_jax.report.kit.panels import PANEL_TITLE, label_below, new_grid, share_labels
from lora_jax.report.kit.thinning import spread
from lora_jax.scaling.recipes.results import CUTS_OF, AblationReport, Cut, CutFit, RecipeFit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 0.42  # inches a recipe
LABEL = 34  # letters of a recipe's name beside an axis
MOST_PANELS = 12
MOST_TICKS = 6
LEAST_HEIGHT = 2.6  # inches of a panel of ranges


def plot_misfits(report: AblationReport) -> "Figure | None":
    """Draw how far the runs of each recipe lie off the law, with intervals, beside the noise of seeds."""
    shown = [recipe for recipe in report.recipes if recipe.misfit is not None]
    if not shown:
        return None
    figure, [ax] = style.new_figure()
    figure.set_size_inches(style.SIZE[0], 1.3 + ROW * len(shown))
    ys = range(len(shown) - 1, -1, -1)
    for y, recipe in zip(ys, shown, strict=True):
        _draw_misfit(ax, y, recipe)
    ends = [e for r in shown if r.misfit for e in (r.misfit.off.low, r.misfit.off.high)]
    ends += [r.misfit.noise.value for r in shown if r.misfit and r.misfit.noise]
    low, high = 100 * min(ends) / 1.15, 100 * max(ends) * 1.15
    style.set_scale(
        ax,
        "x",
        low,
        high,
        style.decade_ticks(low, high, (1, 2, 3, 5)),
        lambda x: f"{x:g} %",
        "standard deviation of ln loss",
    )
    ax.set_yticks(list(ys), [name_of(recipe.label, LABEL) for recipe in shown])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(-0.6, len(shown) - 0.4)
    handles, labels = ax.get_legend_handles_labels()
    chosen = dict(zip(labels, handles, strict=True))
    figure.legend(
        list(chosen.values()), list(chosen), loc="outside lower center", ncols=2, fontsize=8.5, frameon=False
    )
    return figure


def _draw_misfit(ax: "Axes", y: int, recipe: RecipeFit) -> None:
    assert recipe.misfit is not None
    off, noise = recipe.misfit.off, recipe.misfit.noise
    believed = recipe.verdict is not None and recipe.verdict.is_believed
    ax.plot([100 * off.low, 100 * off.high], [y, y], color=style.BLUE, linewidth=1.6, zorder=2)
    [mark] = ax.plot(
        [100 * off.value],
        [y],
        "o",
        color=style.BLUE,
        markersize=6,
        zorder=3,
        markerfacecolor=style.BLUE if believed else "white",
        label="off the law: a fit to believe" if believed else "off the law: a fit with doubts",
    )
    name_marks(mark, [f"{recipe.label}: {format_percent(off.value, signed=False)} off the law"])
    if noise is not None:
        [tick] = ax.plot(
            [100 * noise.value],
            [y],
            "|",
            color=style.VERMILION,
            markersize=13,
            markeredgewidth=2,
            zorder=4,
            label="seeds of a cell",
        )
        name_marks(tick, [f"{recipe.label}: seeds differ by {format_percent(noise.value, signed=False)}"])


def plot_cuts(report: AblationReport) -> "Figure | None":
    """Draw the misfit against the least D, and the least N, that is kept: a line for each recipe.

    A kind of cut of which only the whole range could be fitted shows nothing, and has no panel.
    """
    cuts: list[Cut] = [cut for cut in CUTS_OF if len(_leasts_of(report, cut)) > 1]
    if not cuts:
        return None
    height = max(LEAST_HEIGHT, LINE * len(report.recipes) + 1.0)  # for a name each, beside its line
    figure, axes = new_grid(len(cuts), 1, height)
    offs = [100 * fit.misfit.off.value for recipe in report.recipes for fit in recipe.cuts]
    low, high = min(offs) / 1.2, max(offs) * 1.2
    for ax, cut in zip(axes, cuts, strict=True):
        leasts = _leasts_of(report, cut)
        name = "least D kept (tokens)" if cut == "tokens" else "least N kept (parameters)"
        ticks = spread(leasts, MOST_TICKS)  # the ranges that were cut, not round numbers
        style.set_scale(ax, "x", leasts[0] / 1.1, leasts[-1] * 1.05, ticks, format_count, name)
        marks = style.decade_ticks(low, high, (1, 2, 3, 5))
        style.set_scale(ax, "y", low, high, marks, lambda x: f"{x:g} %", "off the law (sd of ln loss)")
        ax.set_title(f"Without the {CUTS_OF[cut]}", fontsize=PANEL_TITLE + 1, loc="left")
        _draw_cuts(ax, report, cut)
    return figure


def _draw_cuts(ax: "Axes", report: AblationReport, cut: Cut) -> None:
    ends, names, colours = [], [], []
    for i, recipe in enumerate(report.recipes):
        fits = sorted(_of(recipe, cut), key=lambda fit: fit.least)
        if not fits:
            continue
        xs, ys = [fit.least for fit in fits], [100 * fit.misfit.off.value for fit in fits]
        colour, marker = style.look_of(i)
        [marks] = ax.plot(xs, ys, marker + "-", color=colour, markersize=4.5, linewidth=1.2)
        words = [f"{recipe.label}, from {format_count(x)}: {y:.2g} %" for x, y in zip(xs, ys, strict=True)]
        name_marks(marks, words)
        ends.append((xs[-1], ys[-1]))
        names.append(name_of(recipe.label, LABEL))
        colours.append(colour)
    label_ends(ax, ends, names, colours)


def _leasts_of(report: AblationReport, cut: Cut) -> list[float]:
    return sorted({fit.least for recipe in report.recipes for fit in _of(recipe, cut)})


def _of(recipe: RecipeFit, cut: Cut) -> list[CutFit]:
    return [fit for fit in recipe.cuts if fit.cut == cut]


def plot_residuals(report: AblationReport) -> "Figure | None":
    """Draw the residuals of each recipe against D: a panel for each, a line for each size."""
    shown = [recipe for recipe in report.recipes if recipe.residuals][:MOST_PANELS]
    if not shown:
        return None
    columns = min(3, len(shown))
    figure, axes = new_grid(len(shown), columns, 1.9 if len(shown) > columns else 3.0)
    sizes = sorted({n for recipe in shown for n, _, _ in recipe.residuals})
    tokens = [d for recipe in shown for _, d, _ in recipe.residuals]
    most = 110 * max(abs(e) for recipe in shown for _, _, e in recipe.residuals)
    colours = style.size_colours()
    for ax, recipe in zip(axes, shown, strict=True):
        for n in sorted({n for n, _, _ in recipe.residuals}):
            points = sorted((d, 100 * e) for size, d, e in recipe.residuals if size == n)
            colour = colours(sizes.index(n) / max(1, len(sizes) - 1))
            [marks] = ax.plot(
                *zip(*points, strict=True),
                "o-",
                color=colour,
                markersize=3,
                linewidth=1,
                label=f"N = {format_count(n)}",
            )
            name_marks(marks, [f"N {format_count(n)}, D {format_count(d)}: {e:+.2g} %" for d, e in points])
        ax.axhline(0, color=style.INK, linewidth=0.8)
        style.set_count_axis(ax, min(tokens) / 1.2, max(tokens) * 1.2, "", narrow=True)
        ax.set_ylim(-most, most)
        ax.set_title(name_of(recipe.label, LABEL), fontsize=PANEL_TITLE, loc="left")
    share_labels(figure, axes, columns, "", "ln measured \u2212 ln fitted (%)")
    label_below(axes, columns, "training tokens D")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure
