"""Figures of a design: where its runs lie in the plane of N and D, and what other budgets would promise.

A `DesignReport` in, a matplotlib Figure out.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lora_jax.report.kit import style
from lora_jax.report.kit.figure_text import Maths
from lora_jax.report.kit.numbers import format_count, format_power
from lora_jax.scaling.planning.design_report import (
    DesignReport,
    LadderPromise,
    PlannedRun,
    PlannedTarget,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALLEST, LARGEST = 14.0, 240.0  # areas of the dots, in square points


def plot_design(
    design: DesignReport,
    existing: Sequence[tuple[float, float]] = (),
    next_cell: PlannedRun | None = None,
) -> "Figure":
    """Draw the runs of a design by N and D, an area by its cost, with lines of equal 6ND.

    existing: (N, D) of the runs there are already. next_cell: one to buy.
    """
    figure, [ax] = style.new_figure()
    ladder = design.ladder.cells if design.ladder else ()
    shown = [*design.cells, *ladder, design.target, *([next_cell] if next_cell else [])]
    n = [c.n_params for c in shown] + [x for x, _ in existing]
    d = [c.n_tokens for c in shown] + [y for _, y in existing]
    x_range, y_range = (min(n) / 2, max(n) * 2.2), (min(d) / 2, max(d) * 2.2)
    style.set_count_axis(ax, *x_range, "parameters N")
    style.set_scale(ax, "y", *y_range, style.decade_ticks(*y_range), format_count, "training tokens D")
    _draw_budget_lines(ax, x_range, y_range)
    if existing:
        ax.plot(
            *zip(*existing, strict=True),
            "s",
            color=style.FAINT,
            markersize=4,
            zorder=3,
            label=f"runs there are ({len(existing)})",
        )
    if design.ladder:
        _draw_ladder(ax, design.ladder)
    _draw_plan(ax, design)
    if next_cell:
        ax.plot(
            [next_cell.n_params],
            [next_cell.n_tokens],
            "D",
            color=style.GREEN,
            markersize=8,
            zorder=5,
            markeredgecolor=style.INK,
            label="next run worth buying",
        )
    _draw_target(ax, design.target)
    figure.legend(loc="outside lower center", ncols=1, fontsize=8.5, frameon=False, markerscale=0.7)
    return figure


def plot_budgets(designs: Sequence[DesignReport]) -> "Figure":
    """Draw the interval at one target against the budget, for plans of several budgets.

    The ladder of each, where it was simulated, and the plan's own simulated interval are drawn beside it.
    """
    figure, [ax] = style.new_figure()
    designs = sorted(designs, key=lambda one: one.budget_flops)
    budgets = [one.budget_flops for one in designs]
    drawn = [one.half_width_percent for one in designs]
    ax.plot(budgets, drawn, "o-", color=style.BLUE, linewidth=1.8, label="plan, predicted to first order")
    for promises, mark, colour, label in (
        ([one.simulated for one in designs], "D", style.GREEN, "plan, simulated"),
        (
            [one.ladder for one in designs],
            "x--",
            style.VERMILION,
            "ladder of the same cost and number of runs, simulated",
        ),
    ):
        points = [
            (flops, found.half_width_percent)
            for flops, found in zip(budgets, promises, strict=True)
            if found is not None
        ]
        if points:
            ax.plot(*zip(*points, strict=True), mark, color=colour, markerfacecolor="white", label=label)
            drawn += [y for _, y in points]
    style.set_flops_axis(ax, min(budgets) / 1.5, max(budgets) * 1.5, "budget (FLOPs)")
    low, high = min(drawn) / 1.15, max(drawn) * 1.15
    ticks = style.decade_ticks(low, high, (1, 1.5, 2, 3, 4, 5, 7) if high / low < 6 else (1, 2, 5))
    target = designs[0].target
    label = (
        f"95 % interval of the loss (\u00b1 %) at\nN = {format_count(target.n_params)},"
        f" D = {format_count(target.n_tokens)}"
    )
    style.set_scale(ax, "y", low, high, ticks, lambda y: f"{y:g}", label)
    style.add_legend(figure)
    return figure


def _draw_ladder(ax: "Axes", ladder: LadderPromise) -> None:
    """Draw the runs of the ladder that costs as much, and name its simulated interval."""
    ax.plot(
        [c.n_params for c in ladder.cells],
        [c.n_tokens for c in ladder.cells],
        "x--",
        color=style.VERMILION,
        linewidth=0.8,
        markersize=5,
        zorder=3,
        label=f"ladder D = {ladder.tokens_per_parameter:g} N, same cost and number of runs:"
        f" \u00b1{ladder.half_width_percent:.2g} % (simulated)",
    )


def _draw_plan(ax: "Axes", design: DesignReport) -> None:
    """Draw the runs of the design, and name their price and what they promise at the target."""
    cells, simulated = design.cells, design.simulated
    figures = f"\u00b1{design.half_width_percent:.2g} % at the target" + (
        f" (simulated {simulated.half_width_percent:.2g} %)" if simulated else ""
    )
    ax.scatter(
        [c.n_params for c in cells],
        [c.n_tokens for c in cells],
        s=_areas(cells),
        color=style.BLUE,
        alpha=0.85,
        edgecolors="white",
        linewidths=0.6,
        zorder=4,
        label=f"plan, {len(cells)} runs, {format_power(design.spent_flops)} FLOPs: {figures}",
    )


def _draw_target(ax: "Axes", target: PlannedTarget) -> None:
    ax.plot(
        [target.n_params],
        [target.n_tokens],
        "*",
        color=style.ORANGE,
        markersize=15,
        zorder=5,
        markeredgecolor=style.INK,
        markeredgewidth=0.8,
        label=f"target, {format_power(target.flops)} FLOPs",
    )


def _areas(cells: Sequence[PlannedRun]) -> list[float]:
    """Return areas by the logarithm of the cost: by the cost itself all but the dearest would vanish."""
    logs = np.log([c.flops for c in cells])
    span = float(np.ptp(logs)) or 1.0
    return (SMALLEST + (LARGEST - SMALLEST) * ((logs - logs.min()) / span) ** 2).tolist()


def _draw_budget_lines(ax: "Axes", x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
    """Draw lines of equal C = 6ND, one to each decade or two, named where they leave the plot on the left."""
    budgets = style.decade_ticks(6 * x_range[0] * y_range[0], 6 * x_range[1] * y_range[1], (1,))
    for i, flops in enumerate(budgets[:: max(1, len(budgets) // 7)]):
        n = np.array(x_range)
        label = "runs of equal cost 6ND, in FLOPs" if i == 0 else None
        ax.plot(n, flops / (6 * n), "-", color="#D0D0D0", linewidth=0.7, zorder=1, label=label)
        left = max(x_range[0], flops / (6 * y_range[1])) * 1.08
        d = flops / (6 * left)
        if y_range[0] * 1.5 < d and left < x_range[1] / 3:
            power = f"{flops:.0e}".split("e")[1]
            ax.annotate(
                Maths(f"$10^{{{int(power)}}}$"),
                (left, d),
                fontsize=7.5,
                color="#707070",
                ha="left",
                va="top",
                zorder=2,
            )
