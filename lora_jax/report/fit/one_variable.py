"""The figure of laws of one variable: the runs, each law with its band, and a run that no law has seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_jax.report.fit.axes import ring_points, set_response_axis, set_variable_axis
from lora_jax.report.kit import style
from lora_jax.report.kit.marks import name_marks
from lora_jax.report.kit.numbers import format_percent
from lora_jax.scaling.results import Band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDEST = 1.25  # how far beyond the runs' losses a band may stretch the axis
LOOKS = (("-", style.BLUE), ("--", style.VERMILION))  # of the laws
Points = Sequence[tuple[float, float, str]]  # (x, response, the words of the run)


@dataclass(frozen=True)
class Line:
    """A fitted law with its 95 % band. `label` is for the legend."""

    label: str
    band: Band


@dataclass(frozen=True)
class Prediction:
    """What a law said of the held-out run: with its interval, and the relative error of the prediction."""

    label: str
    value: float
    ci95: tuple[float, float] | None
    relative_error: float


@dataclass(frozen=True)
class Heldout:
    """The run at x that no law has seen. `note` says if it lies off the slice that was fitted."""

    x: float
    measured: float
    predictions: Sequence[Prediction]
    note: str = ""


@dataclass(frozen=True)
class OneVariable:
    """What the figure shows.

    Attributes:
        others: Runs that were not fitted.
        counted: How x was counted, for its axis.
    """

    variable: str
    response: str
    points: Points
    lines: Sequence[Line]
    outliers: Sequence[tuple[float, float]] = ()
    others: Points = ()
    heldout: Heldout | None = None
    counted: str = ""


def plot_one_variable(shown: OneVariable) -> "Figure":
    """Draw the runs, the laws through them with their bands, and the held-out run; outliers are ringed."""
    figure, [ax] = style.new_figure()
    _draw_runs(ax, shown)
    for line, (dash, colour) in zip(shown.lines, LOOKS, strict=False):
        band = line.band
        ax.plot(band.x, band.loss, dash, color=colour, linewidth=1.8, label=line.label, zorder=5)
        ax.fill_between(
            band.x,
            band.low,
            band.high,
            color=colour,
            alpha=0.15,
            linewidth=0,
            label="its 95 % interval" if len(shown.lines) == 1 else None,
        )
    ring_points(ax, shown.outliers)
    if shown.heldout is not None:
        _mark_heldout(ax, shown.heldout)
    _set_axes(ax, shown)
    style.add_legend(figure)
    return figure


def _draw_runs(ax: "Axes", shown: OneVariable) -> None:
    [runs] = ax.plot(
        [x for x, *_ in shown.points],
        [y for _, y, _ in shown.points],
        "o",
        color=style.INK,
        markersize=5,
        alpha=0.85,
        zorder=4,
        label=f"runs in the fit ({len(shown.points)})",
    )
    name_marks(runs, [words for *_, words in shown.points])
    if shown.others:
        [others] = ax.plot(
            [x for x, *_ in shown.others],
            [y for _, y, _ in shown.others],
            "o",
            color=style.FAINT,
            markersize=3.5,
            alpha=0.7,
            markeredgewidth=0,
            zorder=1,
            label="other runs",
        )
        name_marks(others, [words for *_, words in shown.others])


def _set_axes(ax: "Axes", shown: OneVariable) -> None:
    """Set axes around all runs; a band that is very wide beyond them is shown whole within reason."""
    seen = [(x, y) for x, y, _ in (*shown.points, *shown.others)]
    drawn = [y for line in shown.lines for y in (*line.band.low, *line.band.high)]
    curves = [y for line in shown.lines for y in line.band.loss]
    across = [*(x for x, _ in seen), *(x for line in shown.lines for x in line.band.x)]
    if (heldout := shown.heldout) is not None:
        seen.append((heldout.x, heldout.measured))
        across.append(heldout.x)
        drawn += [y for p in heldout.predictions for y in (p.value, *(p.ci95 or ()))]
    set_variable_axis(ax, shown.variable, across, note=shown.counted)
    losses = [y for _, y in seen]
    low = max(min([*losses, *drawn]), min([*losses, *curves]) / WIDEST)
    high = min(max([*losses, *drawn]), max([*losses, *curves]) * WIDEST)
    set_response_axis(ax, low / 1.02, high * 1.02, shown.response)


def _mark_heldout(ax: "Axes", heldout: Heldout) -> None:
    ax.plot(
        [heldout.x],
        [heldout.measured],
        "*",
        color=style.ORANGE,
        markersize=15,
        markeredgecolor=style.INK,
        markeredgewidth=0.8,
        zorder=7,
        label=f"held out: measured{heldout.note}",
    )
    for i, prediction in enumerate(heldout.predictions):
        colour = style.GREEN
        if prediction.label.startswith("L(C)"):
            colour = style.VERMILION if prediction.label.endswith("floor") else style.BLUE
        x = heldout.x * 1.12**i  # side by side, or their bars would hide each other
        errors = None
        if prediction.ci95:
            low, high = prediction.ci95
            errors = [[max(0.0, prediction.value - low)], [max(0.0, high - prediction.value)]]
        ax.errorbar(
            [x],
            [prediction.value],
            yerr=errors,
            fmt="D",
            color=colour,
            markersize=5,
            markerfacecolor="white",
            markeredgewidth=1.4,
            capsize=3,
            linewidth=1.2,
            zorder=8,
            label=f"held out: {prediction.label} is off by {format_percent(prediction.relative_error)}",
        )
