"""Figures of the latency table."""

from typing import TYPE_CHECKING

from lora_jax.report.kit import style
from lora_jax.report.kit.figure_text import name_of
from lora_jax.report.kit.marks import name_marks
from lora_jax.report.kit.panels import PANEL_TITLE, new_grid, set_title, share_labels
from lora_jax.report.latency.results import LatencyTable
from lora_jax.report.latency.rows import show_overhead

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of each variant but the base: colour and marker
LOOKS = {
    "merged LoRA": (style.GREEN, "o"),
    "AdapterL": (style.BLUE, "s"),
    "AdapterH": (style.VERMILION, "^"),
    "unmerged LoRA": (style.PURPLE, "D"),
}
BASE = "#707070"
SPREAD = 0.14  # between two variants of one size
LEAST_QUANTILE = 0.01  # of the trials that the axis of their figure leaves outside, on each side


def plot_overhead(table: LatencyTable) -> "Figure":
    """Draw the overhead of each variant at each size, with its 95 % interval and the paper's in faint."""
    figure, [ax] = style.new_figure()
    for place, (name, (colour, marker)) in enumerate(LOOKS.items()):
        shift = SPREAD * (place - (len(LOOKS) - 1) / 2)
        found = [size.overhead(name) for size in table.sizes]
        values = [100 * overhead.value for overhead in found]
        ends = [[100 * end for end in overhead.ci95] for overhead in found]
        bars = [[v - low for v, (low, _) in zip(values, ends, strict=True)]]
        bars.append([high - v for v, (_, high) in zip(values, ends, strict=True)])
        marks, *_ = ax.errorbar(
            [x + shift for x in range(len(found))],
            values,
            yerr=bars,
            fmt=marker,
            color=colour,
            label=name_of(name),
            markersize=6,
            capsize=3,
            linewidth=1.3,
            zorder=4,
        )
        words = [
            f"{name}, {size.label}: {show_overhead(overhead)}"
            for size, overhead in zip(table.sizes, found, strict=True)
        ]
        name_marks(marks, words)
        published = [
            (x + shift, 100 * overhead)
            for x, size in enumerate(table.sizes)
            if (overhead := size[name].paper_overhead) is not None
        ]
        if published:
            ax.plot(
                *zip(*published, strict=True),
                marker,
                color=colour,
                markerfacecolor="none",
                markersize=8,
                alpha=0.5,
                zorder=3,
            )
    ax.plot([], [], "o", color=BASE, markerfacecolor="none", markersize=8, label="the paper")
    ax.axhline(0, color=BASE, linewidth=1, linestyle="--", zorder=1)
    ax.set_xticks(
        range(len(table.sizes)),
        [f"{size.label}\nbase {1e3 * size.base.time.value:.3g} ms" for size in table.sizes],
    )
    ax.set_xlabel("batch x sequence")
    ax.set_ylabel("time over the base (%)")
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: [*LOOKS, "the paper"].index(labels[i]))
    figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="outside lower center",
        ncols=5,
        fontsize=8.5,
        frameon=False,
    )
    return figure


def plot_trials(table: LatencyTable) -> "Figure":
    """Draw every trial's time over the base's median: a row for each size, a panel for each variant.

    Each panel bears the median of its trials, as a line and in digits.
    """
    import numpy as np

    sizes, names = table.sizes, list(dict.fromkeys(v.name for size in table.sizes for v in size.variants))
    columns = len(names)
    figure, axes = new_grid(len(sizes) * columns, columns, 1.7)
    for row, size in enumerate(sizes):
        ratios = {v.name: np.asarray(v.seconds) / size.base.time.value for v in size.variants}
        low, high = np.quantile(np.concatenate(list(ratios.values())), [LEAST_QUANTILE, 1 - LEAST_QUANTILE])
        pad = 0.15 * (high - low) or 0.01
        panels = axes[row * columns : (row + 1) * columns]
        for ax, name in zip(panels, names, strict=True):
            ax.set_ylim(low - pad, high + pad)
            ax.axhline(1, color=BASE, linewidth=0.8, linestyle="--", zorder=1)
            if name in ratios:
                _draw_trials(ax, ratios[name], LOOKS.get(name, (BASE, "o"))[0])
            if row == 0:
                ax.set_title(name_of(name, 16), fontsize=PANEL_TITLE, loc="left")
        panels[0].set_ylabel(name_of(size.label), fontsize=9)
    share_labels(figure, axes, columns, "trial", "time over the base's median, by batch x sequence")
    set_title(figure, "Time of every trial over the base's median, and its median for each variant")
    return figure


def _draw_trials(ax: "Axes", ratios: "np.ndarray", colour: str) -> None:
    import numpy as np

    median = float(np.median(ratios))
    ax.plot(
        np.arange(1, 1 + len(ratios)), ratios, "o", color=colour, markersize=1.8, markeredgewidth=0, alpha=0.5
    )
    ax.axhline(median, color=colour, linewidth=1.6, zorder=3)
    ax.text(
        0.97,
        0.95,
        f"median {median:.3f}",
        transform=ax.transAxes,
        ha="right",
        va="top",
        fontsize=8,
        color=style.INK,
        bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
    )
    ax.locator_params(axis="both", nbins=4)
