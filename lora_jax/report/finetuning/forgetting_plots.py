"""The figure of what is forgotten against what is learned."""

from typing import TYPE_CHECKING

from lora_jax.report.kit import style
from lora_jax.report.kit.figure_text import name_of
from lora_jax.report.kit.marks import name_marks
from lora_jax.report.kit.numbers import format_count, format_loss
from lora_jax.report.kit.panels import PANEL_TITLE, label_below, new_grid
from lora_jax.report.kit.thinning import spread
from lora_jax.scaling.finetuning.forgetting_results import Forgetting, ForgottenRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 6
COLUMNS = 3
FARTHEST = 1.25  # times the least loss of a base: runs beyond, whose training broke down, are not drawn


def plot_frontier(found: Forgetting, unit: str) -> "Figure | None":
    """Draw forgetting against target loss at the largest set, a panel for each base: every run.

    Runs on the frontier are filled, and joined by a line. Runs that lose far more than the best are left out.
    unit: of the loss on the target.
    """
    largest = max(run.n_train for run in found.runs)
    runs = [run for run in found.runs if run.n_train == largest]
    bases = sorted({(run.n_params, run.base) for run in runs})
    methods = list(dict.fromkeys(run.method for run in runs))
    if len(runs) < 2:
        return None
    shown = spread(bases, MOST_PANELS)
    columns = min(COLUMNS, len(shown))
    figure, axes = new_grid(len(shown), columns, 2.7 if columns > 1 else 4.4)
    for ax, (n_params, base) in zip(axes, shown, strict=True):
        of_base = [run for run in runs if run.base == base]
        least = min(run.loss for run in of_base)
        _draw_base(ax, [run for run in of_base if run.loss <= FARTHEST * least], methods)
        ax.set_title(f"N = {format_count(n_params)}", fontsize=PANEL_TITLE, loc="left")
        ax.tick_params(labelsize=8)
    label_below(axes, columns, f"loss on the target\n({unit})")
    figure.supylabel("forgotten: loss on the base's text,\nafter less before (nats per token)", fontsize=9.5)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8.5, frameon=False)
    return figure


def _draw_base(ax: "Axes", runs: list[ForgottenRun], methods: list[str]) -> None:
    frontier = sorted((run for run in runs if run.on_frontier), key=lambda run: run.loss)
    ax.plot(
        [run.loss for run in frontier],
        [run.change.value for run in frontier],
        "-",
        color=style.FAINT,
        linewidth=1.0,
        zorder=1,
    )
    for number, method in enumerate(methods):
        colour, marker = style.look_of(number)
        ax.plot([], [], marker, color=colour, markersize=5, label=name_of(method))
        for on, fill in ((True, colour), (False, "white")):
            some = [run for run in runs if run.method == method and run.on_frontier == on]
            if some:
                [marks] = ax.plot(
                    [run.loss for run in some],
                    [run.change.value for run in some],
                    marker,
                    color=colour,
                    markerfacecolor=fill,
                    markersize=4.5,
                    zorder=3,
                )
                name_marks(marks, [say_run(run) for run in some])
    ax.axhline(0, color=style.INK, linewidth=0.6, linestyle=":", zorder=1)


def say_run(run: ForgottenRun) -> str:
    """Return what a run learned and forgot, in words."""
    return (
        f"{run.method}, rate {run.learning_rate:.3g}, batch {run.batch_size}, seed {run.seed}: target"
        f" {format_loss(run.loss)}, forgotten {run.change.value:.4f}{', best rate' * run.best}"
    )
