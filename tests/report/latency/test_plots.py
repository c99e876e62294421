"""The figure of trials: a panel for each size and variant, with the median of what was timed."""

from pathlib import Path

import numpy as np

from lora_jax.report.latency.documents import load_latency
from lora_jax.report.latency.plots import plot_trials

PUBLISHED = Path(__file__).parents[3] / "results" / "published" / "latency"


def test_each_panel_shows_its_trials_and_their_median():
    table = load_latency(PUBLISHED)
    figure = plot_trials(table)
    axes = iter(figure.axes)
    for size in table.sizes:
        for variant in size.variants:
            ax = next(axes)
            ratios = np.asarray(variant.seconds) / size.base.time.value
            assert any(np.array_equal(np.asarray(line.get_ydata()), ratios) for line in ax.lines)
            [text] = [text.get_text() for text in ax.texts]
            assert text == f"median {np.median(ratios):.3f}"
    assert next(axes, None) is None
    assert figure.legends == []
    assert "every trial" in figure.get_suptitle()
