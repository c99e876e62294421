"""Figures of in-context learning beside fine-tuning: results in, a Figure out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lora_jax.comparison.gradient_results import GradientCosts
from lora_jax.comparison.incontext_results import InContextComparison, Line, Point, TaskComparison
from lora_jax.report.kit import style
from lora_jax.report.kit.figure_text import name_of
from lora_jax.report.kit.marks import name_marks
from lora_jax.report.kit.numbers import format_interval
from lora_jax.report.kit.panels import set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PROMPTS = ((style.BLUE, "o", "-"), ("#56B4E9", "s", "--"))  # plain, calibrated
FULL = ("#606060", "D", "-")
OTHERS = (
    (style.VERMILION, "^", "-"),
    (style.GREEN, "v", "-"),
    (style.PURPLE, "P", "-"),
    (style.ORANGE, "X", "-"),
)
ZERO = 0.5  # where no example stands on the logarithmic axis
DODGE = 1.07  # between two lines at the same n
LECTURE = 3.0  # what a gradient is said to cost over a forward pass
Look = tuple[str, str, str]  # colour, marker, dash


def find_looks(found: InContextComparison) -> dict[str, Look]:
    """Return a look for each label, the same in every panel."""
    lines = [line for task in found.tasks for line in task.lines]
    prompts = dict.fromkeys(line.label for line in lines if line.is_prompt)
    methods = dict.fromkeys(line.label for line in lines if not line.is_prompt)
    looks = {label: PROMPTS[i % len(PROMPTS)] for i, label in enumerate(prompts)}
    others = [label for label in methods if label.lower() != "full"]
    looks |= {label: FULL for label in methods if label.lower() == "full"}
    return looks | {label: OTHERS[i % len(OTHERS)] for i, label in enumerate(others)}


def list_panels(found: InContextComparison) -> list[tuple[TaskComparison, str, list[Line]]]:
    """Return (task, base, its lines) of every panel, bases below each other and tasks side by side."""
    bases = dict.fromkeys(line.base for task in found.tasks for line in task.lines)
    return [
        (task, base, lines)
        for base in bases
        for task in found.tasks
        if (lines := [line for line in task.lines if line.base == base])
    ]


def plot_accuracy(found: InContextComparison) -> "Figure":
    """Draw accuracy against the number of examples: a panel a task and base, a line a way, with intervals.

    Where a base has no prompts the best prompt of the task is a band over the whole width. The dotted line is
    chance.
    """
    panels, looks = list_panels(found), find_looks(found)
    figure, axes = _grid(panels, len(found.tasks), 3.6)
    ns = [point.n for _, _, lines in panels for line in lines for point in line.points]
    low, high = score_limits([line for _, _, lines in panels for line in lines], found)
    for ax, (task, base, lines) in zip(axes, panels, strict=True):
        for i, line in enumerate(lines):
            _draw_line(ax, line, looks[line.label], DODGE ** (i - (len(lines) - 1) / 2))
        if task.best_prompt is not None and not any(line.is_prompt for line in lines):
            score = task.best_prompt.score
            ax.axhspan(*score.interval, color=style.BLUE, alpha=0.12, linewidth=0, zorder=0)
            ax.axhline(score.value, color=style.BLUE, linewidth=1, linestyle="-.", label="best prompt")
        ax.axhline(task.chance, color=style.INK, linewidth=0.8, linestyle=":", zorder=1)
        _set_examples(ax, ns)
        ax.set_ylim(low, high)
        ax.set_ylabel("accuracy (test)")
        head = " with a head" if any(line.head for line in lines) else ""
        ax.set_title(f"{name_of(task.task)}, {name_of(base)}{head}", fontsize=10, loc="left")
    _share_legend(figure, axes)
    set_title(figure, "Accuracy against the number of examples, by task and model")
    return figure


def plot_backward(costs: GradientCosts) -> "Figure":
    """Draw a gradient over a forward pass: time with its interval, temporary memory; LECTURE is dashed."""
    methods = costs.methods
    figure, axes = style.new_figure(columns=2)
    figure.set_size_inches(style.SIZE[0], 1.7 + 0.42 * len(methods))
    places = range(len(methods))
    for ax, name in zip(axes, ("time", "memory"), strict=True):
        values = [m.time_ratio.value if name == "time" else m.memory_ratio for m in methods]
        for y, value in zip(places, values, strict=True):
            if value is None:
                ax.text(0.1, y, "not told by this backend", fontsize=8, va="center")
                continue
            ax.barh([y], [value], height=0.6, color=style.BLUE if name == "time" else style.GREEN, alpha=0.8)
            ax.text(0.06, y, f"{value:.2f}", fontsize=8.5, va="center", color="white", fontweight="bold")
        if name == "time":
            for y, m in zip(places, methods, strict=True):
                value, (low, high) = m.time_ratio.value, m.time_ratio.ci95
                ax.errorbar([value], [y], xerr=[[value - low], [high - value]], color=style.INK, capsize=2.5)
        ax.axvline(LECTURE, color=style.VERMILION, linestyle="--", linewidth=1, label="3, as is usually said")
        ax.set_yticks(
            list(places), [name_of(m.label) for m in methods] if name == "time" else [""] * len(methods)
        )
        ax.set_ylim(len(methods) - 0.5, -0.5)
        ax.set_xlim(0, None)
        ax.grid(False, axis="y")
        ax.set_xlabel(f"{name}, gradient / forward")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize=8.5, frameon=False)
    return figure


def _grid(panels: Sequence[Any], n_tasks: int, height: float) -> "tuple[Figure, list[Axes]]":
    from lora_jax.report.kit.plain_figure import PlainFigure

    n_rows = -(-len(panels) // max(1, n_tasks))
    figure = PlainFigure(
        figsize=(style.SIZE[0] * (1.3 if n_tasks > 1 else 1), 0.5 + height * n_rows),
        layout="constrained",
        facecolor="white",
    )
    axes = [figure.add_subplot(n_rows, max(1, n_tasks), i + 1) for i in range(len(panels))]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(True, which="major", color="#E6E6E6", linewidth=0.7)
        ax.set_axisbelow(True)
    return figure, axes


def _draw_line(ax: "Axes", line: Line, look: Look, dodge: float) -> None:
    points = line.points
    xs = [max(p.n, ZERO) * dodge for p in points]
    _draw_points(ax, xs, points, line, look, (1.4, 0.9, 0.6))


def _draw_points(
    ax: "Axes",
    xs: Sequence[float],
    points: Sequence[Point],
    line: Line,
    look: Look,
    weight: tuple[float, float, float],
) -> None:
    """Draw scores and their intervals at xs; weight: widths of the line and of an interval, its opacity."""
    colour, marker, dash = look
    wide, thin, alpha = weight
    [marks] = ax.plot(
        xs,
        [p.score.value for p in points],
        dash,
        marker=marker,
        color=colour,
        markersize=5,
        linewidth=wide,
        label=name_of(line.label),
        zorder=3,
    )
    name_marks(marks, [say_point(line, point) for point in points])
    lows, highs = ([p.score.interval[end] for p in points] for end in (0, 1))
    ax.vlines(xs, lows, highs, color=colour, linewidth=thin, alpha=alpha, zorder=2)


def say_point(line: Line, point: Point) -> str:
    """Return what a point is, in words."""
    score, between = format_interval(point.score)
    return f"{line.label}, {point.n:,} examples: {score} ({between})"


def _set_examples(ax: "Axes", ns: Sequence[int]) -> None:
    """Make a logarithmic axis of examples on which none has a place of its own."""
    low, high = max(min(ns), ZERO), max(ns)
    tried = sorted({n for n in ns if n > 0})
    wide = [t for t in (1, 2, 4, 8, 16, 32, 128, 512, 2048, 8192, 32768) if low <= t <= high * 1.1]
    ticks = [*([ZERO] if 0 in ns else []), *(wide or tried)]
    style.set_scale(
        ax, "x", low / 1.3, high * 1.3, ticks, lambda x: "0" if x <= ZERO else f"{x:,.0f}", "examples"
    )


def score_limits(lines: Sequence[Line], found: InContextComparison) -> tuple[float, float]:
    """Return the ends of the accuracy axis: every value inside, intervals whole within reason."""
    points = [p.score for line in lines for p in line.points]
    values = [p.value for p in points] + [task.chance for task in found.tasks]
    low, high = min(p.low for p in points), max(p.high for p in points)
    return max(0.0, max(low, min(values) - 0.18)), min(1.0, max(high, max(values) + 0.05))


def _share_legend(figure: "Figure", axes: "Sequence[Axes]") -> None:
    handles = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=4,
        fontsize=8.5,
        frameon=False,
    )
