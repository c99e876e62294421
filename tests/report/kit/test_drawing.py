"""Every figure that is saved says what it shows, once."""

from pathlib import Path

import pytest

from lora_jax.report.kit import panels, style
from lora_jax.report.kit.drawing import Drawing, save_figures
from lora_jax.report.kit.page_shell import show_figures

LONG = "Loss against " + "parameters and " * 9 + "tokens"


def draw(title: str, own: str = "") -> Drawing:
    figure, [ax] = style.new_figure()
    ax.plot([1, 2], [3, 4])
    if own:
        panels.set_title(figure, own)
    return Drawing("f", title, "What the axes are.", figure)


@pytest.mark.parametrize("title", ["Loss against size", LONG])
def test_a_figure_without_a_title_is_saved_with_that_of_its_drawing(title: str, tmp_path: Path) -> None:
    drawing = draw(title)
    save_figures([drawing], tmp_path)
    assert " ".join(drawing.figure.get_suptitle().split()) == title
    drawing.figure.draw_without_rendering()
    [written] = [t for t in drawing.figure.texts if t.get_text().split() == title.split()]
    box, whole = written.get_window_extent(), drawing.figure.bbox
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1
    assert whole.y0 <= box.y0 < box.y1 <= whole.y1
    assert box.y0 >= drawing.figure.axes[0].get_window_extent().y1


def test_a_title_of_the_figure_s_own_stays(tmp_path: Path) -> None:
    drawing = draw("The page's", "The figure's")
    save_figures([drawing], tmp_path)
    assert drawing.figure.get_suptitle() == "The figure's"


def test_the_page_does_not_say_a_title_twice(tmp_path: Path) -> None:
    for drawing, n_times in ((draw("Loss & size"), 0), (draw("Loss & size", "Another"), 1)):
        page = show_figures([drawing], save_figures([drawing], tmp_path))
        assert page.count("<b>Loss &amp; size.</b>") == n_times
        assert "What the axes are." in page
