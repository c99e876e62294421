"""Names at the ends of lines: beside the panel, in the order of the lines, none over another."""

import itertools

from matplotlib.text import Text

from lora_jax.report.kit import style
from lora_jax.report.kit.end_labels import label_ends


def test_names_beside_near_ends_do_not_meet_and_stay_in_order() -> None:
    figure, [ax] = style.new_figure()
    ends = [(10.0, y) for y in (1.0, 1.01, 1.02, 3.0, 9.9)]
    for x, y in ends:
        ax.plot([1, x], [5, y])
    style.set_scale(ax, "y", 1.0, 10.0, [1, 10], lambda x: f"{x:g}", "")
    names = [f"line {y:g}" for _, y in ends]
    label_ends(ax, ends, names, [style.INK] * len(ends))
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in ax.texts]  # without its thin line
    assert [text.get_text() for text in ax.texts] == names
    assert all(low.y1 <= high.y0 for low, high in itertools.pairwise(boxes))
    assert all(box.x0 >= ax.get_window_extent().x1 for box in boxes)
    assert all(box.x1 <= figure.bbox.x1 for box in boxes), "none is cut off"
