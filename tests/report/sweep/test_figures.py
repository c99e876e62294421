"""Every figure exists twice, is not blank, has readable axes, and shows the numbers of the fits."""

import io
import itertools
import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from lora_jax.documents import from_document
from lora_jax.estimate import Estimate
from lora_jax.report.kit import style
from lora_jax.report.kit.curves import MOST_POINTS, smooth
from lora_jax.report.kit.drawing import save_figures
from lora_jax.report.kit.numbers import format_interval
from lora_jax.report.sweep.curve_plots import Curve, plot_sample_efficiency
from lora_jax.report.sweep.figures import draw_figures
from lora_jax.report.sweep.results import read_results

SIZES = {"residuals": (style.SIZE[0], 6.0)}  # two rows of panels


@pytest.fixture(scope="module")
def drawings(synthetic):
    return {d.name: d for d in draw_figures(read_results(synthetic))}


def test_every_figure_is_a_picture_and_a_drawing(drawings, tmp_path):
    from PIL import Image

    assert set(drawings) == {
        "loss_vs_N",
        "loss_vs_D",
        "loss_vs_C",
        "training_curves",
        "sample_efficiency",
        "residuals",
        "learning_rates",
    }
    saved = save_figures(list(drawings.values()), tmp_path)
    paths = [path for files in saved for path in (files.png, files.svg)]
    assert sorted(paths) == sorted(tmp_path.iterdir())  # and no temporary file is left
    for path in paths:
        if path.suffix == ".png":
            with Image.open(io.BytesIO(path.read_bytes())) as image:
                width, height = SIZES.get(path.stem, style.SIZE)
                assert image.size == (round(150 * width), round(150 * (height + 0.3))), "and a line of title"
                assert np.asarray(image.convert("L")).std() > 10
        else:
            root = ET.fromstring(path.read_text())
            assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 30
            assert path.stat().st_size < 400_000


def test_the_axis_of_rates_states_the_rule_of_the_peak(drawings):
    from lora_jax.training.schedules import REFERENCE_SIZE

    [ax] = drawings["learning_rates"].figure.axes
    assert ax.get_xlabel() == f"base learning rate (the peak at N = {REFERENCE_SIZE:,})"


def test_the_same_numbers_give_the_same_bytes(synthetic, tmp_path):
    first, again = (
        save_figures(draw_figures(read_results(synthetic))[:1], tmp_path / name) for name in ("a", "b")
    )
    assert [f.svg.read_bytes() for f in first] == [f.svg.read_bytes() for f in again]
    assert [f.png.read_bytes() for f in first] == [f.png.read_bytes() for f in again]


def test_no_text_lies_outside_the_figure_and_no_ticks_overlap(drawings):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for name, drawing in drawings.items():
        figure = drawing.figure
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        page = figure.bbox
        for legend in figure.legends:
            box = legend.get_window_extent()
            assert not any(box.overlaps(ax.get_tightbbox()) for ax in figure.axes), name
            assert min(box.x0, box.y0) > -2, name
            assert box.x1 < page.x1 + 2, name
        for ax in figure.axes:
            for axis in (ax.xaxis, ax.yaxis):
                low, high = sorted(axis.get_view_interval())
                labels = [
                    label
                    for label, at in zip(axis.get_ticklabels(), axis.get_majorticklocs(), strict=True)
                    if label.get_text() and low <= at <= high and label.get_visible()
                ]
                boxes = [label.get_window_extent() for label in labels]
                assert len(boxes) >= 2 or ax.get_label() == "<colorbar>", name
                for box in boxes:
                    assert min(box.x0, box.y0) > -2, name
                    assert box.x1 < page.x1 + 2, name
                    assert box.y1 < page.y1 + 2, name
                side = "x" if axis is ax.xaxis else "y"
                ends = sorted((getattr(b, f"{side}0"), getattr(b, f"{side}1")) for b in boxes)
                assert all(b[0] > a[1] for a, b in itertools.pairwise(ends)), (name, side)


def test_the_legend_says_the_exponents_and_the_error(drawings, synthetic):
    fits = json.loads((synthetic / "fits.json").read_text())
    for variable in "NDC":
        [legend] = drawings[f"loss_vs_{variable}"].figure.legends
        text = "\n".join(t.get_text() for t in legend.get_texts())
        for fit in fits["fits"]:
            if fit["variables"] == [variable]:
                value, interval = format_interval(from_document(Estimate, fit["params"][f"alpha_{variable}"]))
                assert f"= {value} ({interval})" in text
        error = 100 * fits["heldout_cell"]["predictions"][0]["relative_error"]
        assert f"L(N,D) is off by {error:+.2f} %".replace("-", "\u2212") in text


def test_the_points_and_lines_are_those_of_the_fits(drawings, synthetic):
    results = read_results(synthetic)
    cell = results.fits.heldout_cell
    at = {
        "N": ("n_params", cell.n_params),
        "D": ("n_tokens", cell.n_tokens),
        "C": ("flops_exact", cell.flops),
    }
    for variable, (column, x) in at.items():
        [ax] = drawings[f"loss_vs_{variable}"].figure.axes
        drawn = [np.asarray(line.get_xydata()) for line in ax.lines]
        expected = [np.array([[x, cell.measured]])]
        for fit in results.fits.fits:
            if fit.variables == (variable,):
                assert fit.band is not None
                expected.append(np.stack([fit.band.x, fit.band.loss], 1))
                runs = [r for r in results.runs if r.run_id in fit.run_ids]
                expected.append(np.array([[r.number(column), r.heldout_loss] for r in runs]))
        for points in expected:
            assert any(d.shape == points.shape and np.allclose(d, points) for d in drawn), variable


def test_each_size_is_named_where_its_curve_ends():
    rng = np.random.default_rng(0)
    curves = []
    for n_params in (1e4, 1e5, 1e6):
        x = np.arange(1, 2001) * 1e3
        loss = 1.5 + 40 * n_params**-0.1 * x**-0.2 + 0.3 * rng.standard_normal(2000)
        curves.append(Curve(n_params, x.tolist(), loss.tolist(), (x[-1], loss[-1])))
    [ax] = plot_sample_efficiency(curves).axes
    assert [note.get_text() for note in ax.texts] == ["N = 10k", "N = 100k", "N = 1M"]
    heights = [note.get_position()[1] for note in ax.texts]
    assert heights == sorted(heights, reverse=True)
    for line, note in zip(ax.lines, ax.texts, strict=True):
        end = np.asarray(line.get_xydata())[-1]
        assert note.xy == pytest.approx(end)  # pyright: ignore[reportAttributeAccessIssue] - an Annotation
        at = (ax.transData + ax.transAxes.inverted()).transform(end)
        assert note.get_position()[1] == pytest.approx(at[1], abs=0.1)


def test_a_held_out_cell_off_the_slice_is_said_to_be(synthetic):
    results = read_results(synthetic)
    cell = results.fits.heldout_cell
    moved = replace(cell, n_tokens=2 * cell.n_tokens)
    results = replace(results, fits=replace(results.fits, heldout_cell=moved))
    [legend] = next(d for d in draw_figures(results) if d.name == "loss_vs_N").figure.legends
    assert "at D = 2.1M, not 1.05M" in "".join(t.get_text() for t in legend.get_texts())


@pytest.mark.parametrize("low", [0.013, 0.7, 1.85, 2.0, 9.7])
@pytest.mark.parametrize("ratio", [1.01, 1.2, 2.0, 4.0, 7.0])
def test_loss_ticks_are_round_few_and_inside(low, ratio):
    ticks = style.loss_ticks(low, low * ratio)
    assert 2 <= len(ticks) <= 10
    assert all(low * (1 - 1e-9) <= t <= low * ratio * (1 + 1e-9) for t in ticks)
    assert all(
        len(re.sub(r"[0.]|e-?\d+", "", f"{t:g}")) <= 3 + math.ceil(math.log10(1 / (ratio - 1) + 1))
        for t in ticks
    )


@pytest.mark.parametrize("decades", [0.5, 1.0, 2.0, 3.0, 5.0, 12.0, 20.0])
def test_decade_ticks_fit_an_axis(decades):
    ticks = style.decade_ticks(3e3, 3e3 * 10**decades)
    assert 1 <= len(ticks) <= 11
    assert ticks == sorted(ticks)


def test_spread_labels_keeps_order_and_gap():
    rng = np.random.default_rng(0)
    for _ in range(50):
        at = rng.uniform(size=7).tolist()
        moved = style.spread_labels(at, 0.05)
        assert np.argsort(moved).tolist() == np.argsort(at).tolist()
        assert np.diff(np.sort(moved)).min() > 0.05 - 1e-12
        assert np.mean(moved) == pytest.approx(np.mean(at))


def test_smooth_keeps_the_ends_the_order_and_the_mean():
    rng = np.random.default_rng(0)
    x = list(range(1, 5001))
    noisy = (5.0 + rng.standard_normal(5000)).tolist()
    a, b = smooth(x, noisy)
    assert (a[0], a[-1]) == (1, 5000)
    assert a == sorted(set(a))
    assert len(a) <= MOST_POINTS
    widths = np.diff([0, *a])
    assert np.average(b, weights=widths) == pytest.approx(np.mean(noisy))  # every row counts once
    assert np.std(b[-20:]) < 0.3  # of rows that vary by 1
    assert smooth([1.0, 2.0], [3.0, 4.0]) == ([1.0, 2.0], [3.0, 4.0])
