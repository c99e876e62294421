"""Small multiples of methods: a panel each, true to the comparison, one title and one name for each axis."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from lora_jax.comparison.folder import write_comparison
from lora_jax.report.methods.method_panels import plot_learning_curves, plot_rates
from lora_jax.report.methods.page import read_method_results
from lora_jax.report.methods.plots import plot_cost
from tests.report.method_folder import make_records, write_folder


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("panels"), make_records(60))
    write_comparison(folder)
    return read_method_results(folder)


def across(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_xdata())


def bars(ax: Axes) -> list[Rectangle]:
    return [bar for bar in ax.patches if isinstance(bar, Rectangle)]


def own_points(ax) -> np.ndarray:
    """Return the points of the one line of a panel that is not grey and has more than one point."""
    [line] = [x for x in ax.lines if x.get_linewidth() == 1.6]
    return np.asarray(line.get_xydata())


def test_each_method_has_a_panel_with_its_own_scores_before_those_of_the_others(results):
    found = results.found
    figure = plot_rates(found)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [m.label for m in found.methods]
    for ax, method in zip(figure.axes, found.methods, strict=True):
        expected = [(r.learning_rate, r.dev.value) for r in method.rates if r.dev]
        np.testing.assert_allclose(own_points(ax), expected)
        assert len([x for x in ax.lines if x.get_linewidth() == 0.6]) == len(found.methods)
        best = [x for x in ax.lines if len(across(x)) == 1 and x.get_markersize() >= 7]
        assert [across(x)[0] for x in best] == [method.best_rate]
        assert [x.get_marker() for x in best] == ["s" if method.at_edge else "o"]
        crosses = [x for x in ax.lines if x.get_marker() == "x"]
        assert sum(len(across(x)) for x in crosses) == sum(r.diverged for r in method.rates)
    assert (
        figure.get_suptitle()
        == f"Dev {found.metric} of each method at every learning rate; the others are grey"
    )


def test_learning_curves_share_their_axes(results):
    figure = plot_learning_curves(results.found, results.curves)
    assert len({ax.get_ylim() for ax in figure.axes}) == len({ax.get_xlim() for ax in figure.axes}) == 1
    assert len(figure.axes) == len(results.curves)
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("step", "training loss (nats)")
    assert figure.legends == []
    for ax, run_id in zip(figure.axes, results.curves, strict=True):
        losses = results.curves[run_id]["loss"]
        points = own_points(ax)
        assert min(losses) <= points[:, 1].min() <= points[:, 1].max() <= max(losses)


def test_costs_are_of_the_method_and_not_of_the_machine(results):
    ranked = results.found.ranked
    score, flops, memory = plot_cost(results.found).axes
    assert [bar.get_width() for bar in bars(flops)] == pytest.approx([100 * m.flops_share for m in ranked])
    assert [bar.get_width() for bar in bars(memory)] == pytest.approx(
        [m.optimizer_bytes / 1e6 for m in ranked]
    )
    assert "second" not in " ".join(ax.get_xlabel() for ax in (score, flops, memory))
