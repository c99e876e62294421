"""A figure whose text is what it says: our own mathematics alone is parsed, no label outgrows its axis."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from lora_jax.report.kit.figure_text import Maths, cut, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.backend_bases import RendererBase

PER_INCH = 18  # characters of an axis' label to an inch of the axis, half as many again as lie along it
FEWEST = 24  # characters that any panel shows
MOST_LINES = 3
MOST_SHAPES = 20_000  # of a line or a cloud of points, that an SVG holds one by one
LONGEST_TICK = 48


def settle(figure: Figure) -> None:
    """Make every text of a figure what it says, `Maths` alone parsed, and as long as its place allows."""
    of_matplotlib: set[int] = set()  # tick labels by its own formatters, which write mathematics
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            if _clean_ticks(axis):
                of_matplotlib |= {id(axis.get_offset_text())}
            else:
                labels = (*axis.get_ticklabels(), *axis.get_ticklabels(minor=True), axis.get_offset_text())
                of_matplotlib |= {id(label) for label in labels}
        _shorten(ax, *figure.get_size_inches())
    for text in figure.findobj(Text):
        if id(text) not in of_matplotlib and isinstance(text, Text):  # pyright: ignore[reportUnnecessaryIsInstance]
            _settle_text(text)


def _shorten(ax: "Axes", width: float, height: float) -> None:
    """Cut the texts of axes to what has a place in a figure of this width and height in inches."""
    box = ax.get_position(original=True)
    along, up = box.width * width, box.height * height
    rooms = {ax.xaxis.label: along, ax.yaxis.label: up, ax.title: along}
    inside = {text: along / 2 for text in ax.texts}
    for text, room in (rooms | inside).items():
        if not isinstance(text.get_text(), Maths):
            text.set_text(_cut_lines(text.get_text(), max(FEWEST, int(PER_INCH * room))))


class PlainFigure(Figure):
    """A figure that settles its text whenever it is drawn.

    words: of points, by the name of their group in the SVG (`marks.name_marks`).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.words: dict[str, tuple[str, ...]] = {}

    def draw(self, renderer: "RendererBase") -> None:
        settle(self)
        _paint_crowds(self)
        super().draw(renderer)


def _paint_crowds(figure: Figure) -> None:
    """Draw what has very many points as pixels in a vector drawing, which else holds each of them."""
    for ax in figure.axes:
        for line in ax.lines:
            line.set_rasterized(len(np.atleast_1d(line.get_xdata())) > MOST_SHAPES)
        for points in ax.collections:
            points.set_rasterized(len(np.atleast_2d(points.get_offsets())) > MOST_SHAPES)


class _Readable(FuncFormatter):
    """Another formatter, whose text can be drawn."""


def _clean_ticks(axis: "Axis") -> bool:
    """Make the labels that we gave the ticks readable; return whether they are ours."""
    inner: Any = axis.get_major_formatter()
    if isinstance(inner, _Readable):
        return True
    if not isinstance(inner, FuncFormatter | FixedFormatter):
        return False

    def show(x: float, pos: int | None = None) -> str:
        text = inner(x, pos)
        return text if isinstance(text, Maths) else _cut_lines(text, LONGEST_TICK)

    axis.set_major_formatter(_Readable(show))
    axis.get_ticklabels()  # the ticks are there from now on, and each draws its text by itself
    return True


def _settle_text(text: Text) -> None:
    content = text.get_text()
    text.set_parse_math(isinstance(content, Maths))
    if not isinstance(content, Maths):
        text.set_text("\n".join(readable(line) for line in content.split("\n")))


def _cut_lines(text: str, longest: int) -> str:
    return "\n".join(cut(readable(line), longest) for line in text.split("\n")[:MOST_LINES])
