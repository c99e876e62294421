"""A name beside a point is read as that point's, whatever stands around it."""

import math

import numpy as np
import pytest

from lora_jax.report.kit import style
from lora_jax.report.kit.label_places import place_labels


def draw(points, names):
    figure, [ax] = style.new_figure()
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    figure.draw_without_rendering()
    before = len(ax.lines)
    left_out = place_labels(ax, points, names, ["#000000"] * len(names))
    figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in ax.texts}
    starts = [np.asarray(line.get_xydata())[0] for line in ax.lines[before:]]
    return boxes, starts, left_out, [tuple(ax.transData.transform(p)) for p in points]


@pytest.mark.parametrize("spread", [0.3, 0.05, 0.01])
def test_a_name_is_nearest_to_its_own_point_or_joined_to_it(spread):
    for seed in range(3):
        points = [tuple(p) for p in 0.5 + spread * np.random.default_rng(seed).uniform(-1, 1, (7, 2))]
        names = [f"n{i}" for i in range(7)]
        boxes, starts, left_out, pixels = draw(points, names)
        assert left_out == []
        every = list(boxes.values())
        assert not any(a.overlaps(b) for i, a in enumerate(every) for b in every[:i])
        for i, name in enumerate(names):
            box = boxes[name]
            gaps = [
                math.hypot(max(box.x0 - x, 0, x - box.x1), max(box.y0 - y, 0, y - box.y1)) for x, y in pixels
            ]
            joined = any(np.allclose(points[i], start) for start in starts)
            assert joined or gaps[i] == min(gaps)
            assert min(gaps) > 0  # no name covers a point


def test_what_has_no_place_is_told_and_not_written():
    names = [f"a name of some length {i}" for i in range(60)]
    boxes, _, left_out, _ = draw([(0.5, 0.5)] * 60, names)
    assert left_out
    assert sorted([*boxes, *left_out]) == sorted(names)
