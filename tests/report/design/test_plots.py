"""The figures of a design show its runs, its target and the intervals it names, legibly."""

import itertools

import numpy as np
import pytest

from lora_jax.report.design.plots import plot_budgets, plot_design
from lora_jax.report.kit.style import save_figure
from lora_jax.scaling.planning.next_run import next_run
from lora_jax.scaling.planning.plan_design import plan_design
from lora_jax.scaling.tables.table import make_table

HOFFMANN = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}


@pytest.fixture(scope="module")
def designs():
    """Plans of three budgets for one target; the last without a ladder."""
    return [
        plan_design(HOFFMANN, budget, target_flops=1e20, max_runs=12, n_simulated=n).report()
        for budget, n in ((1e17, 20), (1e18, 20), (1e19, 0))
    ]


@pytest.fixture(scope="module")
def owned(designs):
    """(N, D) of runs there are, and the next one to buy."""
    n, ratio = (x.ravel() for x in np.meshgrid(np.geomspace(1e5, 1e7, 4), [5.0, 20.0, 80.0]))
    table = make_table("synthetic", n_params=n, n_tokens=n * ratio, loss=np.full(12, 3.0))
    bought = next_run(table, HOFFMANN, 1e18, target_flops=1e20).report().choice
    return list(zip(n, n * ratio, strict=True)), bought


def points(ax) -> list[np.ndarray]:
    drawn = [np.asarray(line.get_xydata()) for line in ax.lines]
    return drawn + [np.asarray(dots.get_offsets()) for dots in ax.collections]


def test_the_runs_the_ladder_the_target_and_what_is_owned_are_drawn(designs, owned):
    existing, bought = owned
    design = designs[1]
    figure = plot_design(design, existing, bought)
    [ax] = figure.axes
    for wanted in (design.cells, design.ladder.cells, [design.target], [bought]):
        xy = np.array([[c.n_params, c.n_tokens] for c in wanted])
        assert any(p.shape == xy.shape and np.allclose(p, xy) for p in points(ax))
    assert any(p.shape == (12, 2) and np.allclose(p, existing) for p in points(ax))
    x, y = ax.get_xlim(), ax.get_ylim()
    for c in (*design.cells, *design.ladder.cells, design.target, bought):
        assert x[0] < c.n_params < x[1]
        assert y[0] < c.n_tokens < y[1]
    text = "\n".join(t.get_text() for t in figure.legends[0].get_texts())
    assert f"\u00b1{design.half_width_percent:.2g} % at the target" in text
    assert f"\u00b1{design.ladder.half_width_percent:.2g} % (simulated)" in text


def test_a_dearer_run_has_the_larger_dot(designs):
    [ax] = plot_design(designs[1]).axes
    [dots] = ax.collections
    order = np.argsort([c.flops for c in designs[1].cells])
    areas = np.asarray(dots.get_sizes())[order]  # pyright: ignore[reportAttributeAccessIssue] - a PathCollection
    assert (np.diff(areas) >= 0).all()
    assert areas[-1] > 10 * areas[0]


def test_grey_lines_are_of_equal_cost_and_named_so(designs):
    [ax] = plot_design(designs[1]).axes
    costs = [6 * np.prod(p, axis=1) for p in points(ax) if p.shape == (2, 2)]
    assert len(costs) >= 3
    for cost in costs:
        assert cost[0] == pytest.approx(cost[1])
        assert np.log10(cost[0]) == pytest.approx(round(np.log10(cost[0])))
    for note in ax.texts:
        n, d = note.xy  # pyright: ignore[reportAttributeAccessIssue] - an Annotation
        assert f"10^{{{round(np.log10(6 * n * d))}}}" in note.get_text()


def test_the_budgets_carry_their_intervals(designs):
    figure = plot_budgets(designs[::-1])
    drawn = points(figure.axes[0])
    plan = np.array([[d.budget_flops, d.half_width_percent] for d in designs])
    ladder = np.array([[d.budget_flops, d.ladder.half_width_percent] for d in designs[:2]])
    for wanted in (plan, ladder):
        assert any(p.shape == wanted.shape and np.allclose(p, wanted) for p in drawn)
    assert "D = " in figure.axes[0].get_ylabel()


def test_figures_are_legible_and_written_twice(designs, owned, tmp_path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figures = {
        "plan": plot_design(designs[1]),
        "bare": plot_design(designs[2]),
        "next": plot_design(designs[1], *owned),
        "budgets": plot_budgets(designs),
        "one": plot_budgets(designs[2:]),
    }
    for name, figure in figures.items():
        FigureCanvasAgg(figure).draw()
        [ax], [legend] = figure.axes, figure.legends
        axes_box = ax.get_tightbbox()
        assert axes_box is not None
        assert not legend.get_window_extent().overlaps(axes_box), name
        for axis, side in ((ax.xaxis, "x"), (ax.yaxis, "y")):
            low, high = sorted(axis.get_view_interval())
            labels = zip(axis.get_ticklabels(), axis.get_majorticklocs(), strict=True)
            boxes = [t.get_window_extent() for t, at in labels if t.get_text() and low <= at <= high]
            assert boxes, (name, side)
            ends = sorted((getattr(b, f"{side}0"), getattr(b, f"{side}1")) for b in boxes)
            assert all(b[0] > a[1] for a, b in itertools.pairwise(ends)), (name, side)
        assert {p.suffix for p in save_figure(figure, tmp_path, name)} == {".png", ".svg"}
