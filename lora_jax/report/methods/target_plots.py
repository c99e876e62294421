"""Figures of low-rank methods by what they adapt: sets of matrices at one budget, and the score by rank."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_jax.comparison.results import Budget, MethodComparison, RankLine
from lora_jax.report.kit import style
from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.figure_text import name_of
from lora_jax.report.methods.plots import DASHES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DODGE = 1.05  # by how much of a rank the lines stand apart, so that their intervals do not hide each other
LINES = style.COLOURS[:5] + style.COLOURS[6:]  # without the light blue, which is near the blue


def draw_target_sets(found: MethodComparison) -> list[Drawing]:
    """Return the figures that `target_sets` of comparison.json can carry: none, one or two."""
    targets, metric = found.target_sets, found.metric
    drawings: list[Drawing] = []
    if targets is None:
        return drawings
    if targets.budget is not None:
        drawings.append(
            Drawing(
                "score_by_targets",
                f"Test {metric} by the matrices that LoRA adapts, at one budget of parameters",
                f"Sets of matrices from the best mean test {metric} down, each with the rank that spends the"
                " budget (beside it, with what it trains), at the learning rate of its best dev score; 95 %"
                " intervals of seeds and test examples, strokes are the seeds. Whether two sets differ is not"
                " read off their bars: the sentences pair them.",
                plot_budget(found, targets.budget),
            )
        )
    if targets.ranks:
        drawings.append(
            Drawing(
                "score_by_rank",
                f"Test {metric} against rank, a line for each set of matrices",
                f"Mean test {metric} with its 95 % interval by rank, a line for each set of matrices, at the"
                " learning rate of its best dev score.",
                plot_ranks(found, targets.ranks),
            )
        )
    return drawings


def plot_budget(found: MethodComparison, budget: Budget) -> "Figure":
    """Draw the budget's sets as rows, the best on top: mean, interval, seeds; at the right what each has."""
    sets, methods = budget.sets, found.by_label
    figure, [ax] = style.new_figure()
    figure.set_size_inches(style.SIZE[0], 1.4 + 0.36 * len(sets))
    for y, one in enumerate(sets):
        method = methods[one.label]
        score = method.finished_score
        ends = [[max(0.0, score.value - score.low)], [max(0.0, score.high - score.value)]]
        ax.errorbar(
            [score.value],
            [y],
            xerr=ends,
            fmt="o",
            color=style.BLUE,
            markersize=6,
            capsize=3,
            linewidth=1.4,
            zorder=3,
        )
        ax.plot(method.scores, [y] * len(method.scores), "|", color=style.INK, markersize=9, zorder=4)
        beside = f"rank {one.rank}, {one.n_trainable:,}"
        ax.text(1.01, y, beside, transform=ax.get_yaxis_transform(), fontsize=8.5, va="center")
    ax.set_yticks(range(len(sets)), [name_of(one.name) for one in sets])
    ax.set_ylim(len(sets) - 0.5, -0.5)
    ax.grid(False, axis="y")
    ax.set_xlabel(f"{found.metric} on the test split")
    ax.set_title("rank, trainable parameters", loc="right", fontsize=8.5)
    return figure


def plot_ranks(found: MethodComparison, lines: Sequence[RankLine]) -> "Figure":
    """Draw the score with its interval by rank, logarithmic to the base of 2; one line a set of matrices."""
    methods = found.by_label
    figure, [ax] = style.new_figure()
    for i, line in enumerate(lines):
        shift = DODGE ** (i - (len(lines) - 1) / 2)
        scores = [methods[label].finished_score for label in line.labels]
        values = [score.value for score in scores]
        ends = [
            [max(0.0, score.value - score.low) for score in scores],
            [max(0.0, score.high - score.value) for score in scores],
        ]
        ax.errorbar(
            [rank * shift for rank in line.ranks],
            values,
            yerr=ends,
            color=LINES[i % len(LINES)],
            marker=style.MARKERS[i % len(style.MARKERS)],
            linestyle=DASHES[i % len(DASHES)],
            markersize=6,
            capsize=3,
            linewidth=1.5,
            label=name_of(line.name),
        )
    ranks = sorted({rank for line in lines for rank in line.ranks})
    style.set_scale(
        ax, "x", ranks[0] / 1.25, ranks[-1] * 1.25, _far_apart(ranks), lambda x: f"{x:g}", "rank (log scale)"
    )
    ax.set_ylabel(f"{found.metric} on the test split")
    figure.legend(loc="outside lower center", ncols=6, fontsize=8.5, frameon=False)
    return figure


def _far_apart(ranks: list[int]) -> list[float]:
    """Return the ranks whose numbers have room beside each other on the axis."""
    kept: list[float] = []
    for rank in ranks:
        if not kept or rank >= 1.3 * kept[-1]:
            kept.append(float(rank))
    return kept
