"""Figures of one fit: readable, true to the document, and honest where the runs know nothing."""

import functools
import io
import itertools
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from lora_jax.report.fit import axes as fit_axes
from lora_jax.report.fit import curves as fit_curves
from lora_jax.report.fit import diagnostic_plots
from lora_jax.report.fit import plots as fit_plots
from lora_jax.report.fit.figures import draw_fit_figures, pairs_of
from lora_jax.report.kit import style
from lora_jax.report.kit.drawing import save_figures
from lora_jax.scaling.documents import fit_from_document
from lora_jax.scaling.results import ProfileCurve
from tests.report.lab_document import some_document

KINDS = ("two variables", "one variable", "long names")


@functools.cache
def drawn(kind: str) -> dict[Any, Any]:
    document = some_document("one variable" if kind == "one variable" else "two variables")
    if kind == "long names":
        for i, run in enumerate(document["runs"]):
            run["run_id"] = f"d{64 * i}x{i}-t{i * 1_048_576}-seed{i}-9f8e7d6c"
        document["certificate"]["outliers"]["run_ids"] = [r["run_id"] for r in document["runs"][2:7]]
    return {d.name: d for d in draw_fit_figures(fit_from_document(document))}


BOTH = {"fit", "residuals", "profiles", "contours", "influence"}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("two variables", {*BOTH, "frontier", "ranking", "reach"}),
        ("one variable", BOTH),
    ],
)
def test_every_figure_is_a_picture_and_a_drawing(kind, names, tmp_path):
    from PIL import Image

    drawings = drawn(kind)
    assert set(drawings) == names
    saved = save_figures(list(drawings.values()), tmp_path)
    paths = [path for files in saved for path in (files.png, files.svg)]
    assert sorted(paths) == sorted(tmp_path.iterdir())
    for path in paths:
        if path.suffix == ".png":
            with Image.open(io.BytesIO(path.read_bytes())) as image:
                assert image.width == round(150 * style.SIZE[0])
                assert np.asarray(image.convert("L")).std() > 10
        else:
            root = ET.fromstring(path.read_text())
            assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 30


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_is_cut_off_and_no_labels_overlap(kind):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    for name, drawing in drawn(kind).items():
        figure = drawing.figure
        FigureCanvasAgg(figure).draw()
        page = figure.bbox
        texts = [t for ax in figure.axes for t in (*ax.texts, ax.title, ax.xaxis.label, ax.yaxis.label)]
        for ax in figure.axes:
            for axis in (ax.xaxis, ax.yaxis):
                low, high = sorted(axis.get_view_interval())
                shown = [
                    label
                    for label, at in zip(axis.get_ticklabels(), axis.get_majorticklocs(), strict=True)
                    if label.get_text() and low <= at <= high
                ]
                texts += shown
                side = "x" if axis is ax.xaxis else "y"
                boxes = [label.get_window_extent() for label in shown]
                ends = sorted((getattr(b, f"{side}0"), getattr(b, f"{side}1")) for b in boxes)
                assert all(b[0] > a[1] for a, b in itertools.pairwise(ends)), (name, side)
            names = [Text.get_window_extent(t) for t in ax.texts]  # without the line to its point
            assert not any(a.overlaps(b) for a, b in itertools.combinations(names, 2)), name
        for text in texts:
            if text.get_text():
                box = text.get_window_extent()
                assert min(box.x0, box.y0) > -2, (name, text.get_text())
                assert max(box.x1 - page.x1, box.y1 - page.y1) < 2, (name, text.get_text())


def points_of(ax) -> list[np.ndarray]:
    return [np.asarray(line.get_xydata()) for line in ax.lines]


@pytest.mark.parametrize("kind", KINDS)
def test_points_say_their_runs_and_none_is_printed_over_them(kind):
    document = some_document("one variable" if kind == "one variable" else "two variables")
    n = len(document["runs"])
    for name, times in (("fit", 1), ("residuals", len(drawn(kind)["residuals"].figure.axes))):
        figure = drawn(kind)[name].figure
        words = [line for lines in figure.words.values() for line in lines]
        assert len(words) == times * n
        assert all("measured" in line and "fitted" in line for line in words)
        assert not [t for ax in figure.axes for t in ax.texts if not t.get_text().endswith("%")]
    outliers = document["certificate"]["outliers"]
    for run_id in outliers["run_ids"] if outliers and kind == "two variables" else ():
        assert run_id in drawn(kind)["fit"].caption
        assert run_id in drawn(kind)["residuals"].caption


def test_the_levels_are_the_law_evaluated_independently():
    document = some_document()
    p = {name: number["value"] for name, number in document["params"].items()}
    curves = fit_curves.levels(fit_from_document(document))
    assert 5 <= len(curves) <= fit_curves.MOST_LEVELS
    assert len({size for size, _, _ in curves}) == len(curves)
    for size, flops, loss in curves:
        tokens = flops / (6 * size)
        expected = p["E"] + p["A"] * size ** -p["alpha"] + p["B"] * tokens ** -p["beta"]
        np.testing.assert_allclose(loss, expected, rtol=1e-9)
        of_size = [run["D"] for run in document["runs"] if run["N"] == size]
        assert tokens.min() < min(of_size)
        assert tokens.max() > max(of_size)


@pytest.mark.parametrize("change", ["formula", "params", "fitted"])
def test_a_law_that_is_not_the_documents_draws_no_curve(change):
    document = some_document()
    if change == "formula":
        document["formula"] = "L = f(N, D)"
    elif change == "params":
        document["params"]["alpha"]["value"] *= 1.01
    else:
        document["runs"][0]["fitted"] *= 1.01
    assert fit_curves.levels(fit_from_document(document)) == []
    [fit] = [d for d in draw_fit_figures(fit_from_document(document)) if d.name == "fit"]
    assert "the lines are" not in fit.caption


def test_one_variable_shows_its_runs_and_its_band():
    document = some_document("one variable")
    [ax] = drawn("one variable")["fit"].figure.axes
    runs = np.array([[run["D"], run["measured"]] for run in document["runs"]])
    band = np.stack([document["band"]["x"], document["band"]["loss"]], 1)
    for expected in (runs, band):
        assert any(d.shape == expected.shape and np.allclose(d, expected) for d in points_of(ax))


def test_misses_keep_the_bulk_readable_and_tell_how_far_the_rest_lies():
    rng = np.random.default_rng(0)
    n = np.geomspace(1e6, 1e9, 30)
    fitted = 2 + n**-0.1
    measured = fitted * np.exp(0.01 * rng.standard_normal(30))
    measured[4] *= 1.5
    rows = fit_plots.Rows(measured.tolist(), fitted.tolist(), [f"run {i}" for i in range(30)])
    figure = fit_plots.plot_misses(rows, {"N": n.tolist()}, [4], "loss")
    left, right = figure.axes
    errors = 100 * (measured / fitted - 1)
    bulk = points_of(right)[1]
    np.testing.assert_allclose(bulk[:, 1], np.delete(errors, 4))
    assert right.get_ylim()[1] < 2 * np.abs(np.delete(errors, 4)).max()
    assert [t.get_text() for t in right.texts] == [f"{errors[4]:+.0f} %"]
    assert any(np.allclose(p, [[fitted[4], measured[4]]]) for p in points_of(left))
    assert left.get_ylim()[1] > measured[4]


def test_a_flat_profile_looks_flat_and_an_open_one_reaches_the_edge():
    x = np.linspace(0.1, 0.5, 21)
    profiles = {
        "sharp": {"value": x, "objective": 1 + 100 * (x - 0.3) ** 2, "ci95": (0.2, 0.4)},
        "flat": {"value": x, "objective": 1 + 0.1 * (x - 0.3) ** 2, "ci95": (None, None)},
    }
    for profile in profiles.values():
        profile |= {"best": 1.0, "threshold": 2.0}
    figure = diagnostic_plots.plot_profiles(
        {name: ProfileCurve(**profile) for name, profile in profiles.items()}
    )
    sharp, flat = figure.axes
    assert sharp.get_ylim() == flat.get_ylim()
    curve = max(points_of(flat), key=len)
    assert curve[:, 1].max() < 0.01
    assert np.interp([0.2, 0.3, 0.4], *max(points_of(sharp), key=len).T) == pytest.approx([1, 0, 1])
    assert flat.get_title() == "95 %: open to open"
    assert sharp.get_title() == "95 %: 0.2 to 0.4"
    shaded = flat.patches[0].get_extents().transformed(flat.transData.inverted())
    assert (shaded.x0, shaded.x1) == pytest.approx(flat.get_xlim())


def test_a_threshold_that_is_a_mere_rise_is_refused():
    profile = {"value": [1.0, 2.0, 3.0], "objective": [5.0, 4.0, 5.0], "best": 4.0, "ci95": [1.0, 3.0]}
    with pytest.raises(ValueError, match="threshold"):
        diagnostic_plots.plot_profiles({"A": ProfileCurve(**profile, threshold=0.5)})


@pytest.mark.parametrize("correlation", [0.0, 0.9, 0.9999])
def test_contours_hold_the_shares_they_say(correlation):
    from matplotlib.path import Path

    rng = np.random.default_rng(1)
    x, z = rng.standard_normal((2, 3000))
    y = correlation * x + np.sqrt(1 - correlation**2) * z
    samples = {"A": np.exp(7 + 0.8 * x), "alpha": 0.3 + 0.02 * y}
    figure = diagnostic_plots.plot_contours(samples, [("A", "alpha")], {"A": np.exp(7), "alpha": 0.3}, {})
    [ax] = figure.axes
    assert ax.get_xscale() == "log"
    [lines] = [c for c in ax.collections if hasattr(c, "levels")]
    outer, inner = lines.get_paths()
    # curves on a logarithmic axis are straight between vertices in its own logarithm
    cloud = np.stack([np.log(samples["A"]), samples["alpha"]], 1)
    for path, share in ((outer, 0.95), (inner, 0.5)):
        scale = cloud.std(axis=0)
        x, y = np.asarray(path.vertices).T
        path = Path(np.stack([np.log(x), y], 1) / scale, path.codes)
        assert path.contains_points(cloud / scale).mean() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("y", [np.zeros(100), np.linspace(1, 2, 100)])
def test_replicates_without_a_width_have_no_contour(y):
    x = np.linspace(1, 2, 100)
    figure = diagnostic_plots.plot_contours({"a": x, "b": y}, [("a", "b")], {"a": 1.5, "b": y[50]}, {})
    assert not figure.axes[0].collections


def test_published_constants_are_crosses_and_ringed_beyond_the_panel():
    rng = np.random.default_rng(2)
    samples = {"alpha": 0.3 + 0.01 * rng.standard_normal(200), "beta": 0.4 + 0.01 * rng.standard_normal(200)}
    published = {"near": {"alpha": 0.32, "beta": 0.41}, "far": {"alpha": 0.3, "beta": 3.0}}
    figure = diagnostic_plots.plot_contours(
        samples, [("alpha", "beta")], {"alpha": 0.3, "beta": 0.4}, published
    )
    [ax] = figure.axes
    single: dict[Any, Any] = {line.get_marker(): [] for line in ax.lines}
    for line, points in zip(ax.lines, points_of(ax), strict=True):
        if len(points) == 1:
            single[line.get_marker()].append(tuple(points[0]))
    near, far = single["x"]
    assert near == pytest.approx((0.32, 0.41))
    assert far == pytest.approx((0.3, ax.get_ylim()[1]))
    assert ax.get_ylim()[1] < 0.6  # the cloud is not squeezed for one far constant
    assert far in single["o"]
    [legend] = figure.legends
    assert {"near", "far"} <= {t.get_text() for t in legend.get_texts()}


def test_pairs_leave_out_what_is_fixed():
    document = some_document()
    assert pairs_of(fit_from_document(document))[0] == ("alpha", "beta")
    assert ("A", "alpha") in pairs_of(fit_from_document(document))
    document["samples"]["alpha"] = [0.3] * 200
    assert all("alpha" not in pair for pair in pairs_of(fit_from_document(document)))
    document["samples"] = {}
    assert "contours" not in {d.name for d in draw_fit_figures(fit_from_document(document))}


def test_influence_names_the_rows_that_move_the_exponent_most():
    document = some_document()
    figure = drawn("two variables")["influence"].figure
    bars = figure.axes[0].patches
    order = sorted(document["runs"], key=lambda run: -abs(run["influence"]))[: len(bars)]
    assert [bar.get_width() for bar in bars] == pytest.approx([run["influence"] for run in order])
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == [run["run_id"] for run in order]


def test_names_stay_apart_and_inside():
    rng = np.random.default_rng(3)
    for _ in range(30):
        _, [ax] = style.new_figure()
        spread = rng.choice([0.01, 1.0])
        at = np.clip(rng.uniform(size=2) + spread * (rng.uniform(size=(5, 2)) - 0.5), 0, 1)
        fit_axes.name_points(ax, [(x, y, f"run {i}") for i, (x, y) in enumerate(at)])
        assert len(ax.texts) == 5
        heights = sorted(t.get_position()[1] for t in ax.texts)
        assert all(0.02 < h < 0.98 for h in heights)
        assert all(b - a > 0.99 * fit_axes.GAP for a, b in itertools.pairwise(heights))
