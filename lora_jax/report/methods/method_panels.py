"""Small multiples of a comparison: a panel for each method, in colour, the others grey behind it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lora_jax.comparison.results import MethodComparison, MethodResult
from lora_jax.report.kit import style
from lora_jax.report.kit.curves import smooth
from lora_jax.report.kit.figure_text import name_of
from lora_jax.report.kit.marks import name_marks
from lora_jax.report.kit.numbers import format_count, format_power
from lora_jax.report.kit.panels import PANEL_TITLE, new_grid, set_title, share_labels
from lora_jax.report.methods import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
HEIGHT, TALL = 1.45, 1.8  # inches of a panel, and of one with intervals
LONGEST_NAME = 22  # letters above a panel
MOST_TICKS = 4  # of the rates that were tried
FAINT: dict[str, Any] = {"color": style.FAINT, "linewidth": 0.6, "alpha": 0.6, "zorder": 1}
EDGE: dict[str, Any] = {"markersize": 8, "markeredgecolor": "#CC0000", "markeredgewidth": 2}
Points = tuple[list[float], list[float]]  # x, y


def plot_families(found: MethodComparison) -> "Figure":
    """Draw the test score against trainable parameters, a panel for each family, each point at its place.

    A family is one method at several sizes, such as ranks; they stand in its title from left to right. For
    comparisons of more methods than one panel can name.
    """
    scored, looks = plots.scored_of(found), plots.find_looks(found.methods)
    families = [
        sorted(members, key=lambda m: m.n_trainable)
        for members in plots.group_by(scored, plots.all_but_size).values()
    ]
    families.sort(key=lambda members: -len(members))
    columns = min((COLUMNS, COLUMNS - 1), key=lambda n: -len(families) % n)  # with the fewer empty places
    figure, axes = new_grid(len(families), columns, TALL)
    sizes = [float(m.n_trainable) for m in scored]
    low, high = plots.score_limits(scored)
    for ax, members in zip(axes, families, strict=True):
        for others in families:
            ax.plot(*_scores_of(others), "o-", markersize=2, **FAINT)
        colour = looks[members[0].label][0]
        ax.plot(*_scores_of(members), "-", color=colour, linewidth=1.3, zorder=2)
        for method in members:
            plots.draw_score(ax, method.n_trainable, method, (colour, "o", "-"))
        ends = (min(sizes) / 2.2, max(sizes) * 2.2)
        ticks = style.decade_ticks(*ends, (1,)) or sizes[:1]
        style.set_scale(ax, "x", *ends, ticks, format_count, "")
        ax.set_ylim(low, high)
        ax.set_title(name_of(_name_family(members), LONGEST_NAME), fontsize=PANEL_TITLE, loc="left")
    share_labels(figure, axes, columns, "trainable parameters, without a new head", plots.score_label(found))
    set_title(figure, f"Test {found.metric} against trainable parameters; the other methods are grey")
    return figure


def _scores_of(members: Sequence[MethodResult]) -> Points:
    return [float(m.n_trainable) for m in members], [m.finished_score.value for m in members]


def _name_family(members: Sequence[MethodResult]) -> str:
    """Return such as "q r 1, 4, 36": what the labels share, and then what each has of its own."""
    labels = [method.label.split(" ") for method in members]
    n = len([words for words in zip(*labels, strict=False) if len(set(words)) == 1])
    return " ".join([*labels[0][:n], ", ".join(" ".join(label[n:]) for label in labels)]).rstrip()


def plot_rates(found: MethodComparison) -> "Figure":
    """Draw each method's dev score (first seed) against the learning rate, a panel each.

    The best is filled and bears its rate, a square with a red border where it lies at an edge. A rate that
    diverged is a cross on the lower border (the upper one, where a smaller score is better).
    """
    methods, looks = found.methods, plots.find_looks(found.methods)
    grids: list[Points] = [_grid_of(method) for method in methods]
    rates = [r.learning_rate for m in methods for r in m.rates]
    values = [y for _, ys in grids for y in ys]
    pad = 0.1 * (max(values) - min(values)) or 0.05 * abs(values[0]) or 1.0
    border = min(values) - pad if found.larger_is_better else max(values) + pad
    figure, axes, columns = _panels(methods)
    tried, low, high = sorted(set(rates)), min(rates) / 1.6, max(rates) * 1.6
    ticks = tried if len(tried) <= MOST_TICKS else style.decade_ticks(low, high, (1,)) or tried[:1]
    for ax, method, own in zip(axes, methods, grids, strict=True):
        for x, y in grids:
            ax.plot(x, y, "-", **FAINT)
        _draw_grid(ax, method, own, looks[method.label][0], border)
        style.set_scale(ax, "x", low, high, ticks, lambda x: f"{x:g}", "")
        ax.set_ylim(min(values) - 1.8 * pad, max(values) + 1.8 * pad)
    up = f"{found.metric} (dev split, seed {found.first_seed})"
    share_labels(figure, axes, columns, "learning rate (the peak)", up)
    set_title(figure, f"Dev {found.metric} of each method at every learning rate; the others are grey")
    return figure


def _grid_of(method: MethodResult) -> Points:
    pairs = [(r.learning_rate, r.dev.value) for r in method.rates if r.dev]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _draw_grid(ax: "Axes", method: MethodResult, own: Points, colour: str, border: float) -> None:
    [marks] = ax.plot(
        *own, "o-", color=colour, markerfacecolor="white", markersize=4.5, linewidth=1.6, zorder=3
    )
    words = [f"{method.label}, rate {x:.3g}: {format_power(y)}" for x, y in zip(*own, strict=True)]
    name_marks(marks, words)
    crosses = [r.learning_rate for r in method.rates if r.diverged]
    ax.plot(
        crosses, [border] * len(crosses), "x", color="#CC0000", markersize=6, markeredgewidth=1.6, zorder=5
    )
    for x, y in zip(*own, strict=True):
        if x == method.best_rate:
            frame: dict[str, Any] = EDGE if method.at_edge is not None else {"markersize": 7}
            [best] = ax.plot([x], [y], "s" if method.at_edge else "o", color=colour, zorder=4, **frame)
            name_marks(best, [f"{method.label}, best rate {x:.3g}: {format_power(y)}"])


def plot_learning_curves(
    found: MethodComparison, curves: Mapping[str, Mapping[str, Sequence[float]]]
) -> "Figure":
    """Draw the training loss of each method at its best rate (first of its seeds), averaged, a panel each.

    curves: columns of curves/RUN_ID.csv by run_id; a method without one is left out.
    """
    drawn: list[tuple[MethodResult, Points]] = []
    for method in found.methods:
        rows = curves.get(method.run_ids[0]) if method.run_ids else None
        if rows is not None and len(rows["step"]) > 1:
            drawn.append((method, _smooth_evenly(rows["step"], rows["loss"])))
    looks = plots.find_looks(found.methods)
    # The first steps are far above the rest, on which the eye should be.
    low = min(min(y) for _, (_, y) in drawn) / 1.05
    high = max(max(y[len(y) // 20 :]) for _, (_, y) in drawn) * 1.05
    figure, axes, columns = _panels([method for method, _ in drawn])
    for ax, (method, own) in zip(axes, drawn, strict=True):
        for _, (x, y) in drawn:
            ax.plot(x, y, "-", **FAINT)
        ax.plot(*own, "-", color=looks[method.label][0], linewidth=1.6, zorder=3)
        style.set_scale(ax, "y", low, high, style.loss_ticks(low, high)[::2], lambda x: f"{x:g}", "")
        ax.set_xlim(0, max(x[-1] for _, (x, _) in drawn) * 1.02)
        ax.locator_params(axis="x", nbins=4)
    share_labels(figure, axes, columns, "step", "training loss (nats)")
    set_title(figure, "Training loss of each method at its best learning rate; the others are grey")
    return figure


def _panels(methods: Sequence[MethodResult]) -> "tuple[Figure, list[Axes], int]":
    columns = min(COLUMNS, len(methods))
    figure, axes = new_grid(len(methods), columns, HEIGHT if len(methods) > columns else 2.4)
    for ax, method in zip(axes, methods, strict=True):
        ax.set_title(name_of(method.label, LONGEST_NAME), fontsize=PANEL_TITLE, loc="left")
    return figure, axes, columns


def _smooth_evenly(x: Sequence[float], y: Sequence[float], most: int = 24) -> Points:
    """Return means over at most `most` windows of equal width: the axis is linear, and batches are noisy."""
    width = -(-len(x) // most)
    if width <= 1:
        return smooth(x, y)
    starts = range(0, len(x), width)
    ends = [min(i + width, len(x)) for i in starts]
    means = [sum(y[i:j]) / (j - i) for i, j in zip(starts, ends, strict=True)]
    return [(x[i] + x[j - 1]) / 2 for i, j in zip(starts, ends, strict=True)], means
