"""Figures of surfaces: contours of each size, and the best pairs against N and D."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lora_jax.percent import percent
from lora_jax.report.kit import style
from lora_jax.report.kit.figure_text import name_of
from lora_jax.report.kit.marks import name_marks
from lora_jax.report.kit.numbers import format_count, format_loss
from lora_jax.report.kit.panels import PANEL_TITLE, new_grid
from lora_jax.report.kit.thinning import spread
from lora_jax.report.surface.conclusions import NAMES, name_size
from lora_jax.scaling.surfaces.results import BestPair, PowerLaws, Surface, SurfaceReport, SurfaceSeries

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 18
COLUMNS = 3
TITLE_WIDTH = 30  # letters of a panel's title that fit over it
LEVELS = (0.0025, 0.005, 0.01, 0.02, 0.04)  # above the least loss, at which contours are drawn
TOP = 0.05  # above the least loss of a run: what lies higher is drawn pale
FEWEST_TICKS = 3
POINTS = 60  # of a drawn contour or band, along each axis


def draws_all(report: SurfaceReport) -> bool:
    """Return whether every size has a panel."""
    return sum(len(series.surfaces) for series in report.series) <= MOST_PANELS


def plot_contours(report: SurfaceReport) -> "Figure":
    """Draw runs and contours over rate and batch size: a panel for each size."""
    panels = [(series, surface) for series in report.series for surface in series.surfaces]
    panels = spread(panels, MOST_PANELS)
    columns = min(COLUMNS, len(panels))
    figure, axes = new_grid(len(panels), columns, 2.5 if columns > 1 else 4.4)
    rates, batches = (_ends(getattr(s, name) for _, s in panels) for name in ("rates", "batches"))
    for number, (ax, (series, surface)) in enumerate(zip(axes, panels, strict=True)):
        style.set_scale(ax, "x", *batches, _ticks(*batches), lambda x: f"{x:g}", "")
        style.set_scale(ax, "y", *rates, _ticks(*rates), lambda x: f"{x:g}", "")
        _draw_surface(ax, surface)
        ax.tick_params(
            labelsize=8, labelbottom=number + columns >= len(panels), labelleft=number % columns == 0
        )
        label = f"{name_of(series.label, TITLE_WIDTH)}\n" if len(report.series) > 1 else ""
        size = textwrap.fill(name_size(surface, series), TITLE_WIDTH)
        ax.set_title(f"{label}{size}", fontsize=PANEL_TITLE, loc="left")
    figure.supxlabel(name_of(f"batch size, {report.batch_name}", 60), fontsize=9.5)
    figure.supylabel(name_of(f"learning rate, {report.rate_name}", 50), fontsize=9.5)
    return figure


def _ends(values: "Iterable[Sequence[float]]") -> tuple[float, float]:
    flat = [x for some in values for x in some]
    return min(flat) / 1.4, max(flat) * 1.4


def _ticks(low: float, high: float) -> list[float]:
    return style.decade_ticks(low, high, (1,) if high / low > 200 else (1, 3))


def _draw_surface(ax: "Axes", surface: Surface) -> None:
    trio = zip(surface.rates, surface.batches, surface.losses, strict=True)
    done = [(rate, batch, loss) for rate, batch, loss in trio if loss is not None]
    if done:
        least = min(loss for _, _, loss in done)
        shades = [min(1.0, math.log(loss / least) / TOP) for _, _, loss in done]
        marks = ax.scatter(
            [batch for _, batch, _ in done],
            [rate for rate, _, _ in done],
            c=shades,
            s=16,
            zorder=3,
            cmap=style.size_colours(),
            vmin=0,
            vmax=1.15,
            edgecolors="white",
            linewidths=0.4,
        )
        name_marks(marks, [f"rate {r:.3g}, batch {b:.3g}, loss {format_loss(y)}" for r, b, y in done])
    for rate, batch, loss in zip(surface.rates, surface.batches, surface.losses, strict=True):
        if loss is None:
            ax.plot([batch], [rate], "x", color=style.INK, markersize=5, zorder=3)
    if surface.best is None:
        words = "no best pair" if surface.refusal is None else surface.refusal.kind
        ax.text(0.03, 0.04, words, transform=ax.transAxes, fontsize=8, color=style.VERMILION, zorder=5)
        return
    _draw_best(ax, surface.best)


def _draw_best(ax: "Axes", best: BestPair) -> None:
    shape = best.shape
    rates = np.geomspace(*shape.rates, POINTS)
    batches = np.geomspace(*shape.batches, POINTS)
    x, y = np.log(rates / shape.centre[0])[:, None], np.log(batches / shape.centre[1])[None, :]
    xx, xy, yy = shape.hessian
    ln_loss = (
        shape.height
        + shape.gradient[0] * x
        + shape.gradient[1] * y
        + xx * x * x / 2
        + xy * x * y
        + yy * y * y / 2
    )
    lines = ax.contour(
        batches,
        rates,
        np.exp(ln_loss) / best.loss - 1,
        levels=LEVELS,
        colors=style.INK,
        linewidths=0.7,
        zorder=2,
    )
    ax.clabel(lines, fmt=lambda level: percent(level, digits=6), fontsize=6.5)
    ridge = [best.rate.value * (b / best.batch.value) ** best.ridge.value for b in shape.batches]
    ax.plot(shape.batches, ridge, "--", color=style.BLUE, linewidth=1.1, zorder=2)
    ax.plot([best.batch.value] * 2, best.rate.interval, color=style.VERMILION, linewidth=2, zorder=4)
    ax.plot(best.batch.interval, [best.rate.value] * 2, color=style.VERMILION, linewidth=2, zorder=4)


def plot_optima(report: SurfaceReport) -> "Figure | None":
    """Draw the best rate and the best batch size against each letter of the laws, a panel each."""
    found = [(series, series.laws) for series in report.series if series.laws is not None]
    letters = [v for v in ("N", "D") if any(v in laws.letters for _, laws in found)]
    if not letters:
        return None
    figure, axes = new_grid(2 * len(letters), len(letters), 2.9)
    for i, what in enumerate(("rate", "batch")):
        for j, letter in enumerate(letters):
            ax = axes[i * len(letters) + j]
            ends, sizes = [], []
            for number, (series, laws) in enumerate(found):
                if letter in laws.letters:
                    ends += _draw_law(
                        ax, series, laws, (what, letter), style.COLOURS[number % len(style.COLOURS)]
                    )
                    sizes += [laws.low[letter], laws.high[letter]]
            style.set_count_axis(ax, min(sizes) / 1.4, max(sizes) * 1.4, letter, narrow=True)
            low, high = min(ends) / 1.2, max(ends) * 1.2
            ticks = style.decade_ticks(low, high)
            if len(ticks) < FEWEST_TICKS:
                ticks = style.loss_ticks(low, high)  # even steps
            style.set_scale(ax, "y", low, high, ticks, lambda x: f"{x:g}", f"best {NAMES[what]}")
            _name_reference(ax, found[0][1], letter, letters)
    if len(found) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8.5, frameon=False)
    return figure


def _name_reference(ax: "Axes", laws: PowerLaws, letter: str, letters: Sequence[str]) -> None:
    others = [
        f"{v} = {format_count(laws.reference[v])}" for v in letters if v != letter and v in laws.reference
    ]
    if others:
        ax.set_title(f"at {', '.join(others)}", fontsize=PANEL_TITLE, loc="left")


def _draw_law(
    ax: "Axes", series: SurfaceSeries, laws: PowerLaws, axis: tuple[str, str], colour: str
) -> list[float]:
    """Draw points, law and band of one quantity along one letter; return the ends of what was drawn."""
    what, letter = axis
    law, k = (laws.rate, 0) if what == "rate" else (laws.batch, 1)
    others = [v for v in laws.letters if v != letter]
    xs, values, lows, highs, words = [], [], [], [], []
    for surface in series.surfaces:
        if surface.best is None:
            continue
        found = surface.best.rate if what == "rate" else surface.best.batch
        back = math.prod((_size(surface, v) / laws.reference[v]) ** -law.exponents[v].value for v in others)
        xs.append(_size(surface, letter))
        values.append(found.value * back)
        lows.append(found.low * back)
        highs.append(found.high * back)
        words.append(f"{name_size(surface, series)}: {found.value:.3g}")
    bars = [np.subtract(values, lows), np.subtract(highs, values)]
    ax.errorbar(xs, values, yerr=bars, fmt="none", ecolor=colour, elinewidth=1.1, capsize=2.5, zorder=2)
    [marks] = ax.plot(xs, values, "o", color=colour, markersize=4.5, zorder=3, label=name_of(series.label))
    name_marks(marks, words)
    size = np.geomspace(laws.low[letter], laws.high[letter], POINTS)
    x = np.zeros((POINTS, 1 + len(laws.letters)))
    x[:, 0], x[:, 1 + laws.letters.index(letter)] = 1, np.log(size / laws.reference[letter])
    powers = np.array([math.log(law.at_reference.value), *(law.exponents[v].value for v in laws.letters)])
    covariance = np.array(laws.covariance)[k::2, k::2]
    half = laws.widening[k] * np.sqrt(np.einsum("ni,ij,nj->n", x, covariance, x))
    middle = x @ powers
    ax.plot(size, np.exp(middle), color=colour, linewidth=1.2, zorder=2)
    ax.fill_between(size, np.exp(middle - half), np.exp(middle + half), color=colour, alpha=0.15, linewidth=0)
    return [*lows, *highs]


def _size(surface: Surface, letter: str) -> float:
    value = surface.n_params if letter == "N" else surface.n_tokens
    assert value is not None
    return value
