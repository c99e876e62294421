"""Figures of a comparison of fine-tuning methods: a comparison in (and curves), a Figure out."""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lora_jax.comparison.results import MethodComparison, MethodResult
from lora_jax.report.kit import style
from lora_jax.report.kit.figure_text import name_of
from lora_jax.report.kit.label_places import place_labels
from lora_jax.report.kit.marks import name_marks
from lora_jax.report.kit.numbers import format_count, format_interval
from lora_jax.report.kit.panels import set_title
from lora_jax.report.kit.side_by_side import side_by_side

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = ("-", "--", ":", "-.")
FULL = "#707070"
GAP = 0.012  # of the axis, between two methods of one size
Look = tuple[str, str, str]  # colour, marker, dash


def plot_trade_off(found: MethodComparison) -> "Figure":
    """Draw the test score against trainable parameters with 95 % intervals, a name at each point.

    The members of a family (LoRA by rank, top layers by their number) are joined; the reference is a band
    over the whole width where it is full fine-tuning. Methods of about one size stand side by side.
    """
    figure, [ax] = style.new_figure()
    scored = scored_of(found)
    looks = find_looks(found.methods)
    sizes = [m.n_trainable for m in scored]
    low, high = score_limits(scored)
    left, right = min(sizes) / 2.2, max(sizes) * 2.2
    places = _places(scored, GAP * math.log(right / left))
    style.set_count_axis(ax, left, right, "trainable parameters, without a new head")
    ax.set_ylim(low, high)
    ax.set_ylabel(score_label(found))
    full = next((m for m in scored if m.is_full), None)
    lines: list[tuple[tuple[float, float], tuple[float, float]]] = []
    if full is not None:
        mean = full.finished_score.value
        ax.axhspan(*full.finished_score.interval, color=style.FAINT, alpha=0.28, linewidth=0, zorder=0)
        ax.axhline(mean, color="#707070", linewidth=1, linestyle="--", zorder=1)
        lines.append(((left, mean), (right, mean)))
    for members in group_by(scored, all_but_size).values():
        if len(members) > 1:
            members = sorted(members, key=lambda m: m.n_trainable)
            xs, ys = [places[m.label] for m in members], [m.finished_score.value for m in members]
            ax.plot(xs, ys, "-", color=looks[members[0].label][0], linewidth=1.3, alpha=0.7, zorder=2)
            lines += itertools.pairwise(zip(xs, ys, strict=True))
    for method in scored:
        draw_score(ax, places[method.label], method, looks[method.label])
    points = [(places[m.label], m.finished_score.value) for m in scored]
    bars = [(places[m.label], _clipped(m.finished_score.interval, low, high)) for m in scored]
    lines += [((x, bottom), (x, top)) for x, (bottom, top) in bars]
    figure.draw_without_rendering()  # names are placed in pixels
    place_labels(ax, points, [name_of(m.label) for m in scored], [looks[m.label][0] for m in scored], lines)
    return figure


def _places(scored: Sequence[MethodResult], gap: float) -> dict[str, float]:
    """Return where each method stands by its trainable parameters, at least `gap` of ln from the next."""
    inside = sorted(scored, key=lambda m: m.finished_score.value)
    moved = side_by_side([math.log(m.n_trainable) for m in inside], gap)
    near = {m.label: math.exp(x) for m, x in zip(inside, moved, strict=True)}
    return {
        m.label: m.n_trainable if math.isclose(near[m.label], m.n_trainable) else near[m.label]
        for m in inside
    }


def draw_score(ax: "Axes", x: float, method: MethodResult, look: Look) -> None:
    value, (low, high) = method.finished_score.value, method.finished_score.interval
    colour, marker, _ = look
    marks, *_ = ax.errorbar(
        [x],
        [value],
        yerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
        fmt=marker,
        color=colour,
        markersize=6,
        markeredgecolor="white",
        markeredgewidth=0.6,
        capsize=2.5,
        linewidth=1.2,
        zorder=4,
    )
    score, between = format_interval(method.finished_score)
    name_marks(marks, [f"{method.label}, {format_count(method.n_trainable)}: {score} ({between})"])


def plot_cost(found: MethodComparison) -> "Figure":
    """Draw the methods as rows, the best on top: score with interval, FLOPs of a step, optimizer's memory.

    Seconds are left to the table: they show how busy the machine was as much as the method.
    """
    ranked = found.ranked
    looks = find_looks(found.methods)
    panels: list[tuple[str, list[float]]] = [
        ("FLOPs of a step (%)\nof full fine-tuning", [100 * m.flops_share for m in ranked]),
        ("optimizer state (MB)", [m.optimizer_bytes / 1e6 for m in ranked]),
    ]
    figure, axes = style.new_figure(columns=1 + len(panels))
    figure.set_size_inches(style.SIZE[0], 1.3 + 0.3 * max(len(ranked), 4))
    for y, method in enumerate(ranked):
        value, (low, high) = method.finished_score.value, method.finished_score.interval
        colour, marker, _ = looks[method.label]
        axes[0].errorbar(
            [value],
            [y],
            xerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
            fmt=marker,
            color=colour,
            markersize=5.5,
            capsize=2.5,
            linewidth=1.2,
        )
    axes[0].set_xlabel(f"{found.metric} (test)")
    axes[0].set_yticks(range(len(ranked)), [name_of(m.label) for m in ranked])
    for ax, (name, values) in zip(axes[1:], panels, strict=True):
        for y, value in enumerate(values):
            ax.barh([y], [value], height=0.62, color=looks[ranked[y].label][0], alpha=0.8)
            ax.text(value, y, f" {value:.3g}", fontsize=8, va="center")
        ax.set_xlabel(name)
        ax.set_xlim(0, 1.32 * max(values) or 1.0)
        ax.set_yticks(range(len(ranked)), [""] * len(ranked))
    for ax in axes:
        ax.set_ylim(len(ranked) - 0.5, -0.5)
        ax.grid(False, axis="y")
        ax.locator_params(axis="x", nbins=4)
    set_title(figure, f"Test {found.metric}, and what a step of each method costs")
    return figure


def find_looks(methods: Sequence[MethodResult]) -> dict[str, Look]:
    """Return a look for each label: a family has one colour, its members other markers and dashes."""
    # The largest families first: they get the colours that are told apart best, and few have to share one.
    families = sorted(group_by(methods, _name).items(), key=lambda pair: -len(pair[1]))
    used = dict.fromkeys(style.COLOURS, 0) | {FULL: 0}
    looks: dict[str, Look] = {}
    for i, (family, members) in enumerate(families):
        colour = FULL if family == "Full" else min(style.COLOURS, key=used.__getitem__)
        for k, method in enumerate(members):
            marker = style.MARKERS[used[colour] % len(style.MARKERS)]
            dash = DASHES[(k if len(members) > 1 else i) % len(DASHES)]
            looks[method.label] = (colour, marker, dash)
            used[colour] += 1
    return looks


def group_by(
    methods: Sequence[MethodResult], key: Callable[[MethodResult], str]
) -> dict[str, list[MethodResult]]:
    groups: dict[str, list[MethodResult]] = {}
    for method in methods:
        groups.setdefault(key(method), []).append(method)
    return groups


def _name(method: MethodResult) -> str:
    return method.name


def all_but_size(method: MethodResult) -> str:
    """Return a configuration without its whole numbers (rank, layers) and alpha, which goes with rank."""
    sizes = {
        k
        for k, v in method.config.items()
        if k == "alpha" or (isinstance(v, int) and not isinstance(v, bool))
    }
    return json.dumps({k: v for k, v in method.config.items() if k not in sizes}, sort_keys=True)


def scored_of(found: MethodComparison) -> list[MethodResult]:
    return [m for m in found.methods if m.score is not None]


def score_label(found: MethodComparison) -> str:
    return f"{found.metric} on the test split"


def score_limits(scored: Sequence[MethodResult]) -> tuple[float, float]:
    """Return the ends of the score axis: every interval whole within reason, every value inside."""
    values = [m.finished_score.value for m in scored]
    ends = [end for m in scored for end in m.finished_score.interval]
    spread = max(values) - min(values)
    half = sorted((m.finished_score.interval[1] - m.finished_score.interval[0]) / 2 for m in scored)
    reach = max(spread, 3 * half[len(half) // 2], 1e-6)  # an interval of few seeds may be huge
    low, high = max(min(ends), min(values) - reach), min(max(ends), max(values) + reach)
    pad = 0.06 * (high - low) or 0.01
    return low - pad, high + pad


def _clipped(ci95: Sequence[float], low: float, high: float) -> tuple[float, float]:
    return min(max(ci95[0], low), high), min(max(ci95[1], low), high)
