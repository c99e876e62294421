"""Figures of approaches 1 and 2: what they show, that it can be read, and that nothing is drawn twice."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from lora_jax.estimate import Estimate
from lora_jax.report.approaches.plots import plot_envelope, plot_isoflop_curves, plot_optima
from lora_jax.report.kit import style
from lora_jax.scaling.optima.approach_report import EnvelopeResult, IsoFlopResult
from lora_jax.scaling.optima.envelope import envelope
from lora_jax.scaling.optima.isoflop import isoflop
from lora_jax.scaling.optima.training_curves import TrainingCurve
from lora_jax.scaling.tables.table import make_table

E, A, ALPHA, B, BETA = 1.8172, 477.83, 0.3473, 2143.4, 0.36717
BUDGETS = np.geomspace(1e18, 1e21, 6)
NUMBERS = ("n_params", "n_tokens", "loss")


def make_loss(n, d):
    return E + A * n**-ALPHA + B * d**-BETA


@pytest.fixture(scope="module", params=["parabola", "akima"])
def result(request) -> IsoFlopResult:
    """Six budgets of which one has a loss that only rises."""
    c, k = (x.ravel() for x in np.meshgrid(BUDGETS, np.linspace(-1.4, 1.4, 9), indexing="ij"))
    n = 0.1 * c**0.5 * np.exp(k)
    loss = make_loss(n, c / 6 / n) * np.exp(0.003 * np.random.default_rng(0).standard_normal(len(n)))
    loss = np.where(c == BUDGETS[0], 3.4 + 0.2 * (k + 2) ** 2, loss)
    table = make_table("simulated", n_params=n, flops=c, loss=loss)
    return isoflop(table, method=request.param, n_bootstrap=100).result()


@pytest.fixture(scope="module")
def curves() -> list[TrainingCurve]:
    found = []
    for n in np.geomspace(1e7, 1e10, 16):
        d = np.geomspace(n, 400 * n, 100)
        found.append(TrainingCurve(f"{n:.3g}", float(n), d, 6 * n * d, make_loss(n, d)))
    return found


@pytest.fixture(scope="module")
def approach_1(curves) -> EnvelopeResult:
    return envelope(curves, n_bootstrap=100).result()


def labels_of(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_isoflop_curves_show_every_budget_and_cross_out_the_refused(result) -> None:
    figure = plot_isoflop_curves(result)
    [ax] = figure.axes
    crossed = [line for line in ax.lines if line.get_marker() == "x"]
    assert [np.asarray(line.get_ydata()).tolist() for line in crossed] == [list(result.refused[0].losses)]
    assert crossed[0].get_color() == style.FAINT
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [np.asarray(line.get_ydata()).tolist() for line in dots] == [
        list(row.losses) for row in result.rows
    ]
    assert len({str(line.get_color()) for line in dots}) == len(dots) == 5
    assert len([t for t in ax.texts if "e" in t.get_text()]) == 5
    assert "refused budget (1)" in labels_of(figure)
    assert len(labels_of(figure)) == len(set(labels_of(figure))) == 4
    low, high = ax.get_ylim()
    assert all(low < row.loss.value < high for row in result.rows)


def test_optima_show_the_exponents_and_every_minimum(result) -> None:
    figure = plot_optima(result)
    left, right = figure.axes
    for ax, name, exponent in ((left, "n_params", "a"), (right, "n_tokens", "b")):
        points = next(line for line in ax.lines if line.get_marker() == "o")
        assert np.asarray(points.get_ydata()).tolist() == [getattr(row, name).value for row in result.rows]
        law = next(line for line in ax.lines if line.get_marker() == "None" and line.get_linestyle() == "-")
        x, y = np.log(law.get_xdata()), np.log(law.get_ydata())
        assert np.polyfit(x, y, 1)[0] == pytest.approx(result.exponents[exponent].value)
        assert len(ax.collections) >= 1  # the band
    assert any(f"{result.exponents['a'].value:.3f}"[:4] in label for label in labels_of(figure))


def test_numbers_without_an_interval_are_drawn_without_bars(result) -> None:
    rows = tuple(
        replace(row, **{k: Estimate(getattr(row, k).value, None, None) for k in NUMBERS})
        for row in result.rows
    )
    plot_isoflop_curves(replace(result, rows=rows))
    plot_optima(replace(result, rows=rows))


def test_the_envelope_lies_under_every_curve_and_its_edges_are_dotted(curves, approach_1) -> None:
    figure = plot_envelope([(c.n_params, c.flops, c.loss) for c in curves], approach_1)
    ax = figure.axes[0]
    drawn = [line for line in ax.lines if line.get_color() == style.VERMILION]
    assert len(drawn) == len(approach_1.stretches)
    assert {line.get_linestyle() for line in drawn} == {"-", ":"}
    for line in drawn:
        for x, y in np.stack([line.get_xdata(), line.get_ydata()], axis=1):
            for c in curves:
                if c.flops[0] < x < c.flops[-1]:
                    assert y < 1.003 * np.exp(np.interp(np.log(x), np.log(c.flops), np.log(c.loss)))
    assert len(labels_of(figure)) == 2
    left, _ = plot_optima(approach_1).axes
    faces = {line.get_markerfacecolor() for line in left.lines if line.get_marker() == "o"}
    assert faces == {style.INK, "white"}


def test_everything_can_be_read(result, curves, approach_1) -> None:
    """No tick label lies on another, none outside the page, and the legend lies on no axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figures = [
        plot_isoflop_curves(result),
        plot_optima(result),
        plot_optima(approach_1),
        plot_envelope([(c.n_params, c.flops, c.loss) for c in curves], approach_1),
    ]
    for figure in figures:
        FigureCanvasAgg(figure).draw()
        page = figure.bbox
        box = figure.legends[0].get_window_extent()
        assert min(box.x0, box.y0) > -2
        assert box.x1 < page.x1 + 2
        around = [ax.get_tightbbox() for ax in figure.axes]
        assert not any(b is not None and box.overlaps(b) for b in around)
        for ax in figure.axes:
            for side, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
                low, high = sorted(axis.get_view_interval())
                ticks = zip(axis.get_ticklabels(), axis.get_majorticklocs(), strict=True)
                boxes = [t.get_window_extent() for t, at in ticks if t.get_text() and low <= at <= high]
                spans = sorted((getattr(b, f"{side}0"), getattr(b, f"{side}1")) for b in boxes)
                assert all(b[0] > a[1] for a, b in itertools.pairwise(spans))
                assert all(b.x1 < page.x1 + 2 and b.y1 < page.y1 + 2 for b in boxes)
