"""The figures of accuracy against what it takes, in tokens or seconds: a panel for each way to learn."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from lora_jax.comparison.incontext_results import InContextComparison, Line, Point
from lora_jax.report.incontext.plots import find_looks, list_panels, say_point, score_limits
from lora_jax.report.kit import style
from lora_jax.report.kit.figure_text import name_of
from lora_jax.report.kit.label_places import place_labels
from lora_jax.report.kit.marks import name_marks
from lora_jax.report.kit.numbers import format_count
from lora_jax.report.kit.panels import PANEL_TITLE, new_grid, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST_NAME = 20  # letters above a panel
WIDER = 1.3  # than a figure of one panel
NUMBER_SIZE = 7.5  # points, of the numbers beside the points
Costed = list[tuple[float, Point]]  # what a point takes, and the point


def plot_cost(found: InContextComparison, unit: str) -> "Figure":
    """Draw accuracy against what learning and answering the test set take, in "tokens" or "seconds".

    A row for each task and base, a panel for each way to learn with the others in grey; beside each point how
    many examples it learned from. The dotted line is chance.
    """
    rows, looks = list_panels(found), find_looks(found)
    columns = max(len(lines) for _, _, lines in rows)
    figure, axes = new_grid(len(rows) * columns, columns, 1.75)
    figure.set_size_inches(style.SIZE[0] * WIDER, figure.get_size_inches()[1])
    order = {label: i for i, label in enumerate(looks)}  # the same in every row
    limits = score_limits([line for _, _, lines in rows for line in lines], found)
    drawn: list[tuple[Axes, Costed]] = []
    for row, (task, base, lines) in enumerate(rows):
        panels = axes[row * columns : (row + 1) * columns]
        lines = sorted(lines, key=lambda line: order[line.label])
        costed = [_cost_points(line, unit) for line in lines]
        for ax in panels[len(lines) :]:
            ax.remove()
        for i, (ax, line) in enumerate(zip(panels, lines, strict=False)):
            ax.set_title(name_of(line.label, LONGEST_NAME), fontsize=PANEL_TITLE, loc="left")
            ax.axhline(task.chance, color=style.INK, linewidth=0.8, linestyle=":", zorder=1)
            _draw_panel(ax, costed, i, line, looks[line.label][0])
            drawn.append((ax, costed[i]))
            ax.set_ylim(*limits)
            ax.tick_params(labelsize=8, labelleft=i == 0)
        panels[0].set_ylabel(f"{name_of(task.task)}, {name_of(base)}", fontsize=9)
    figure.supxlabel(f"{unit} to learn and to answer", fontsize=9.5)
    figure.supylabel("accuracy (test)", fontsize=9.5)
    set_title(figure, f"Accuracy against {unit}; the numbers count the examples that were learned from")
    figure.draw_without_rendering()  # the numbers are placed in pixels
    for ax, points in drawn:
        _number(ax, points)
    return figure


def cost_of(point: Point, unit: str) -> float | None:
    """Return what a point takes to learn and to answer; None where a part was not timed."""
    if unit == "tokens":
        return point.learn.tokens + point.answer.tokens
    if point.learn.seconds is None:
        return None
    return point.learn.seconds + (point.answer.seconds or 0.0)


def _cost_points(line: Line, unit: str) -> Costed:
    found = [(cost_of(point, unit), point) for point in line.points]
    return [(x, point) for x, point in found if x is not None]


def _draw_panel(ax: "Axes", costed: Sequence[Costed], own: int, line: Line, colour: str) -> None:
    """Draw the points of one way in colour, before those of all ways."""
    every = [x for points in costed for x, _ in points]
    if not every:
        ax.text(0.5, 0.5, "not timed", transform=ax.transAxes, fontsize=8, ha="center")
        ax.set_xticks([])
        return
    for points in costed:
        ax.plot(
            [x for x, _ in points],
            [p.score.value for _, p in points],
            "o-",
            color=style.FAINT,
            linewidth=0.6,
            markersize=2,
            alpha=0.6,
            zorder=1,
        )
    xs, scores = [x for x, _ in costed[own]], [p.score for _, p in costed[own]]
    ax.vlines(xs, [s.low for s in scores], [s.high for s in scores], color=colour, linewidth=0.8, alpha=0.5)
    [marks] = ax.plot(
        xs, [s.value for s in scores], "o-", color=colour, linewidth=1.4, markersize=4, zorder=3
    )
    name_marks(marks, [say_point(line, point) for _, point in costed[own]])
    low, high = min(every) / 1.4, max(every) * 1.4
    ticks = style.decade_ticks(low, high, (1, 3) if high / low > 12 else (1, 2, 5))
    style.set_scale(ax, "x", low, high, ticks[:: max(1, -(-len(ticks) // 4))], format_count, "")


def _number(ax: "Axes", costed: Costed) -> None:
    """Write beside each point how many examples it learned from."""
    places = [(x, point.score.value) for x, point in costed]
    bars = [((x, point.score.low), (x, point.score.high)) for x, point in costed]
    names = [format_count(point.n) for _, point in costed]
    joined = list(pairwise(places))
    place_labels(ax, places, names, [style.INK] * len(names), [*bars, *joined], NUMBER_SIZE)
