"""Axes of the figures of one fit: of any quantity, and points that bear names."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lora_jax.report.kit import style
from lora_jax.report.kit.figure_text import Maths, name_of
from lora_jax.report.kit.numbers import format_count, format_power

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIX_ND = "6 N D"  # columns.C of a document whose C was made of its N and D
SUBJECTS = {
    "N": "parameters N",
    "D": "training tokens D",
    "C": "training compute C (FLOPs)",
    "S": "training steps S",
    "B": "batch size B",
    "U": "unique tokens U",
    "F": "fine-tuning set F",
    "P": "trainable parameters P",
    "L": "loss L",
    SIX_ND: "training compute 6 N D (FLOPs)",
}
COMPUTE = ("C", SIX_ND)
LOG_FROM = 5.0  # ratio of largest to smallest from which an axis is logarithmic
GAP = 0.07  # between names, in heights of a panel
CLOSE = 0.35  # points that share a column of names, in widths of a panel
LONGEST_NAME = 20  # letters of a run's name in a figure


def subject_of(variable: str) -> str:
    """Return what a variable of a law is, for an axis: "N" -> "parameters N"; an unknown one is its name."""
    return SUBJECTS.get(variable, variable)


def set_variable_axis(
    ax: "Axes", variable: str, values: Sequence[float], narrow: bool = False, note: str = ""
) -> None:
    """Make the logarithmic x axis of a law's variable around these values. note: how it was counted."""
    low, high = min(values) / 1.4, max(values) * 1.4
    label = f"{subject_of(variable)}, {note}" if note else subject_of(variable)
    if variable == "L":
        set_response_axis(ax, min(values) / 1.03, max(values) * 1.03, label, axis="x")
    elif narrow:
        show = _power_of_ten if variable in COMPUTE else format_count
        set_log_axis(ax, "x", low, high, label, show, most=5)
    elif variable in COMPUTE:
        style.set_flops_axis(ax, low, high, label)
    else:
        style.set_count_axis(ax, low, high, label)


def set_response_axis(ax: "Axes", low: float, high: float, label: str, axis: str = "y") -> None:
    """Make the logarithmic axis of a loss, or of a response that may span decades."""
    if high / low <= LOG_FROM:
        style.set_loss_axis(ax, low, high, label, axis)
    else:
        set_log_axis(ax, axis, low, high, label, _number)


def set_number_axis(ax: "Axes", axis: str, low: float, high: float, label: str) -> bool:
    """Make an axis of any number, logarithmic where it spans much; return whether it is."""
    logarithmic = low > 0 and high / low > LOG_FROM
    if logarithmic:
        set_log_axis(ax, axis, low, high, label, _number, most=4)
        return True
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    getattr(ax, f"set_{axis}lim")(low, high)
    getattr(ax, f"set_{axis}label")(label)
    which = getattr(ax, f"{axis}axis")
    which.set_major_locator(MaxNLocator(4))
    if not 1e-3 < max(abs(low), abs(high)) < 1e5:  # or matplotlib writes the power in a corner
        which.set_major_formatter(FuncFormatter(lambda x, _: format_power(x, 2)))
    return False


def set_log_axis(
    ax: "Axes",
    axis: str,
    low: float,
    high: float,
    label: str,
    show: Callable[[float], str] = format_count,
    most: int = 7,
) -> None:
    """Make a logarithmic axis with at most about `most` round ticks, written by `show`."""
    ticks = style.decade_ticks(low, high)
    if len(ticks) > most:
        ticks = style.decade_ticks(low, high, (1, 3))
    if len(ticks) > most:
        ticks = style.decade_ticks(low, high, (1,))
        ticks = ticks[:: math.ceil(len(ticks) / most)]
    style.set_scale(ax, axis, low, high, ticks, show, label)


def ring_points(ax: "Axes", outliers: Sequence[tuple[float, float]]) -> None:
    """Draw a ring around each outlying run (x, y)."""
    if outliers:
        ax.plot(
            [x for x, _ in outliers],
            [y for _, y in outliers],
            "o",
            markersize=10,
            markerfacecolor="none",
            markeredgecolor=style.VERMILION,
            markeredgewidth=1.3,
            zorder=6,
            label="outlying run",
        )


def name_points(ax: "Axes", points: Sequence[tuple[float, float, str]], most: int = 5) -> None:
    """Write names beside points (x, y, name), clear of each other, on axes whose limits are set."""
    to_share = ax.transData + ax.transAxes.inverted()
    shares: list[tuple[float, float, str]] = []
    for x, y, name in points[:most]:
        across, up = to_share.transform((x, y))
        shares.append((float(across), float(up), name))
    # On the right of points of the left half, and the other way round; of equals, the one next to its name
    # is highest, or the lines to the names would cross.
    shares.sort(key=lambda p: (p[1], p[0] if p[0] < 0.5 else -p[0]))
    heights = _fit_within(style.spread_labels([p[1] for p in shares], GAP), 0.03, 0.97)
    for (x, y, name), height in zip(shares, heights, strict=True):
        way = 1 if x < 0.5 else -1
        near = [p[0] for p in shares if (p[0] < 0.5) == (x < 0.5) and abs(p[0] - x) < CLOSE]
        column = max(near) if way > 0 else min(near)
        ax.annotate(
            short(name),
            (x, y),
            (column + way * 0.06, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            fontsize=8,
            va="center",
            ha="left" if way > 0 else "right",
            color=style.VERMILION,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": style.FAINT, "linewidth": 0.6},
        )


def _fit_within(heights: list[float], low: float, high: float) -> list[float]:
    """Return rising heights moved into [low, high], GAP apart where they were."""
    raised = [max(h, low + i * GAP) for i, h in enumerate(heights)]
    n = len(raised)
    return [min(h, high - (n - 1 - i) * GAP) for i, h in enumerate(raised)]


def short(name: str) -> str:
    """Return a run's name, its middle left out where it is long."""
    return name_of(name, LONGEST_NAME)


def _number(x: float) -> str:
    return format_count(x) if 1e4 <= x < 1e15 else format_power(x, 1)


def _power_of_ten(x: float) -> str:
    mantissa, exponent = f"{x:.0e}".split("e")
    power = rf"10^{{{int(exponent)}}}"
    return Maths(f"${power}$" if mantissa == "1" else rf"${mantissa}\cdot{power}$")
