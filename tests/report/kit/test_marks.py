"""Points of a figure bear words in its SVG, one title a point, in their order."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from lora_jax.report.kit import style
from lora_jax.report.kit.marks import name_marks, to_inline


def draw(folder: Path, words: list[list[str]], how: str = "line") -> str:
    figure, [ax] = style.new_figure()
    for i, lines in enumerate(words):
        x = [1.0 + k for k in range(len(lines))]
        y = [float(i + 1)] * len(lines)
        marks = ax.plot(x, y, "o", label="runs")[0] if how == "line" else ax.scatter(x, y, label="runs")
        name_marks(marks, lines)
    style.add_legend(figure)
    _, path = style.save_figure(figure, folder, "f")
    return path.read_text()


@pytest.mark.parametrize("how", ["line", "scatter"])
def test_each_point_has_its_title_and_the_legend_has_none(how: str, tmp_path: Path) -> None:
    words = [["a: 1", "b: 2", "c: 3"], [], ['<d> & "e"\x00', "</g><use/>"]]
    svg = draw(tmp_path, words, how)
    root = ET.fromstring(svg)
    uses = [use for use in root.iter("{http://www.w3.org/2000/svg}use") if len(use)]
    titles = [use[0].text for use in uses]
    assert titles == ["a: 1", "b: 2", "c: 3", '<d> & "e" ', "</g><use/>"]
    across = [float(use.attrib["x"]) for use in uses]
    assert across[:3] == sorted(across[:3])


def test_two_drawings_in_one_page_share_no_id(tmp_path: Path) -> None:
    svg = draw(tmp_path, [["a", "b"]])
    both = to_inline(svg, "one", "what it <shows>") + to_inline(svg, "two", "")
    ids = re.findall(r'\bid="([^"]*)"', both)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'href="#([^"]*)"', both)) <= set(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", both)) <= set(ids)
    assert 'aria-label="what it &lt;shows&gt;"' in both
    assert "<style" not in both


def test_a_figure_that_is_not_ours_is_refused() -> None:
    with pytest.raises(TypeError, match="PlainFigure"):
        name_marks(Figure().add_subplot().plot([1], [1])[0], ["a"])
