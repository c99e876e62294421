"""Figures of the latency table."""

from typing import TYPE_CHECKING

from lora_jax.report.kit import style
from lora_jax.report.kit.figure_text import name_of
from lora_jax.report.latency.results import LatencyTable

if TYPE_CHECKING:
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
        ax.errorbar(
            [x + shift for x in range(len(found))], values, yerr=bars, fmt=marker, color=colour,
            label=name_of(name), markersize=6, capsize=3, linewidth=1.3, zorder=4,
        )  # fmt: skip
        published = [
            (x + shift, 100 * overhead)
            for x, size in enumerate(table.sizes)
            if (overhead := size[name].paper_overhead) is not None
        ]
        if published:
            ax.plot(
                *zip(*published, strict=True), marker, color=colour, markerfacecolor="none", markersize=8,
                alpha=0.5, zorder=3,
            )  # fmt: skip
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
        [handles[i] for i in order], [labels[i] for i in order],
        loc="outside lower center", ncols=5, fontsize=8.5, frameon=False,
    )  # fmt: skip
    return figure


def plot_trials(table: LatencyTable) -> "Figure":
    """Draw every trial's time over the base's median, a panel for each size: how noisy the machine was."""
    import numpy as np

    sizes = table.sizes
    figure, axes = style.new_figure(len(sizes))
    for ax, size in zip(axes, sizes, strict=True):
        base = size.base.time.value
        everything = []
        for variant in size.variants:
            colour, marker = LOOKS.get(variant.name, (BASE, "x"))
            ratios = np.asarray(variant.seconds) / base
            everything.append(ratios)
            ax.plot(
                np.arange(1, 1 + len(ratios)), ratios, marker, color=colour, markersize=2.6, linestyle="none",
                label=name_of(variant.name) if ax is axes[0] else None, alpha=0.75,
            )  # fmt: skip
        low, high = np.quantile(everything, [LEAST_QUANTILE, 1 - LEAST_QUANTILE])
        pad = 0.15 * (high - low) or 0.01
        ax.set_ylim(low - pad, high + pad)
        ax.set_title(name_of(size.label), fontsize=10)
        ax.set_xlabel("trial")
    axes[0].set_ylabel("time over the base's median")
    figure.legend(loc="outside lower center", ncols=5, fontsize=8.5, frameon=False, markerscale=2)
    return figure
