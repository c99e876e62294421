"""The figures of a comparison show every law and every prediction, legibly."""

import itertools

import numpy as np
import pytest

from lora_jax.report.fit.comparison_plots import plot_ranking, plot_reach
from lora_jax.report.kit import style
from lora_jax.report.kit.style import save_figure
from lora_jax.scaling.comparing.comparison import compare
from lora_jax.scaling.tables.table import make_table


def make(n_sizes: int, n_counts: int):
    n, d = (
        x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, n_sizes), np.geomspace(3e8, 6e10, n_counts))
    )
    noise = np.exp(0.004 * np.random.default_rng(0).standard_normal(len(n)))
    return make_table(
        "simulated", n_params=n, n_tokens=d, loss=(1.7 + 4000 * n**-0.46 + 250 * d**-0.28) * noise
    )


@pytest.fixture(scope="module")
def compared():
    return compare(make(6, 6), ("chinchilla", "kaplan", "power-c", "power-d")).report()


@pytest.fixture(scope="module")
def partial():
    """One law that the first origin cannot hold, one origin, and too few predictions for an interval."""
    n = np.repeat([1e7, 1e8], [9, 3])
    d = np.concatenate([np.geomspace(1e8, 1e9, 9), np.geomspace(2e9, 2e10, 3)])
    table = make_table("two sizes", n_params=n, n_tokens=d, loss=1.7 + 4000 * n**-0.46 + 250 * d**-0.28)
    return compare(table, ("power-n", "power-d", "power-c"), shares=(0.75,)).report()


def drawn(ax) -> list[tuple[str, np.ndarray]]:
    return [(line.get_marker(), np.asarray(line.get_xydata())) for line in ax.lines]


def test_every_law_has_its_errors_and_its_interval(compared):
    [ax] = plot_ranking(compared).axes
    marks = drawn(ax)
    for i, row in enumerate(compared.rows):
        at = {m: p[0, 0] for m, p in marks if len(p) == 1 and p[0, 1] == i}
        assert at["o"] == pytest.approx(100 * row.rolling_rms)
        assert at["D"] == pytest.approx(100 * row.heldout_rms)
        assert at["|"] == pytest.approx(100 * row.insample_rms)
        [ends] = [p[:, 0] for _, p in marks if len(p) == 2 and (p[:, 1] == i).all() and p[0, 0] != p[1, 0]]
        assert ends == pytest.approx(100 * np.array(row.rolling_ci95))
        assert ax.get_yticklabels()[i].get_text() == f"{row.name} ({row.n_params})"
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first on top
    colours = {line.get_color() for line in ax.lines if line.get_marker() == "o"}
    assert colours == {style.GREEN, style.VERMILION}


def test_every_prediction_is_drawn_at_its_reach(compared):
    figure = plot_reach(compared)
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == [row.name for row in compared.rows]
    reach = np.array([p.reach for p in compared.predicted])
    limit = panels[0].get_ylim()[1]
    for ax, row in zip(panels, compared.rows, strict=True):
        ratio = 100 * np.expm1(row.errors)
        [dots] = [c for c in ax.collections if len(np.asarray(c.get_offsets())) > 1]
        inside = np.abs(ratio) <= limit
        assert np.asarray(dots.get_offsets()) == pytest.approx(np.stack([reach, ratio], 1)[inside])
        beyond = [len(p) for mark, p in drawn(ax) if mark in ("^", "v")]
        assert sum(beyond) == (~inside).sum()
    ratios = 100 * np.abs(np.expm1(compared.rows[0].errors))
    assert ratios.max() < limit  # of the best law nothing is cut
    two = plot_reach(compared, ["kaplan", "power-c"])
    assert {ax.get_title() for ax in two.axes if ax.get_title()} == {"kaplan", "power-c"}


def test_a_law_that_could_not_be_fitted_has_no_mark_and_a_dagger(partial):
    [ax] = plot_ranking(partial).axes
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names[-1] == "power-n (2) \u2020"
    assert not [p for m, p in drawn(ax) if m == "o" and p[0, 1] == 2]
    assert "power-n" not in {a.get_title() for a in plot_reach(partial).axes}


def test_figures_are_legible_and_written_twice(compared, partial, tmp_path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figures = {
        "ranking": plot_ranking(compared),
        "reach": plot_reach(compared),
        "one": plot_reach(compared, ["kaplan"]),
        "partial": plot_ranking(partial),
        "partial-reach": plot_reach(partial),
    }
    for name, figure in figures.items():
        FigureCanvasAgg(figure).draw()
        page = figure.bbox
        for ax in figure.axes:
            box = ax.get_tightbbox()
            assert box is not None
            assert page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1, name  # noqa: PT018
            for axis, side in ((ax.xaxis, "x"), (ax.yaxis, "y")):
                low, high = sorted(axis.get_view_interval())
                labels = zip(axis.get_ticklabels(), axis.get_majorticklocs(), strict=True)
                boxes = [t.get_window_extent() for t, at in labels if t.get_text() and low <= at <= high]
                ends = sorted((getattr(b, f"{side}0"), getattr(b, f"{side}1")) for b in boxes)
                assert all(b[0] > a[1] for a, b in itertools.pairwise(ends)), (name, side)
        for legend in figure.legends:
            plots = [ax.get_tightbbox() for ax in figure.axes]
            assert not any(legend.get_window_extent().overlaps(box) for box in plots if box is not None), name
        assert {p.suffix for p in save_figure(figure, tmp_path, name)} == {".png", ".svg"}
