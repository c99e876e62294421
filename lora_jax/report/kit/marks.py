"""Points of a figure that say what they are: a browser shows the words of the point under the pointer."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lora_jax.report.kit.markup import to_markup

if TYPE_CHECKING:
    from matplotlib.artist import Artist

_PARTS = re.compile(r"<g\b[^>]*>|</g>|<use\b[^>]*/>")


def name_marks(marks: "Artist", words: Sequence[str]) -> None:
    """Give each point of a line of markers or of a scatter its words, which the SVG holds as titles.

    Raises TypeError for points that are not in a figure of ours.
    """
    from lora_jax.report.kit.plain_figure import PlainFigure

    if not words:
        return
    figure = marks.get_figure()
    if not isinstance(figure, PlainFigure):
        raise TypeError(f"marks belong to {type(figure).__name__}, not to a PlainFigure")
    name = f"marks-{len(figure.words)}"
    marks.set_gid(name)
    figure.words[name] = tuple(words)


def add_titles(svg: str, words: Mapping[str, Sequence[str]]) -> str:
    """Return an SVG of matplotlib's in which each point of a named group has its words as a title.

    A group that is drawn as pixels, as a very large one is, has no points to name.
    """
    for name, lines in words.items():
        start = svg.index(f'<g id="{name}">')
        points, end = _points(svg, start)
        if points and len(points) != len(lines):
            raise ValueError(f"{name} has {len(points)} points in the SVG and {len(lines)} lines of words")
        pieces, at = [svg[:start]], start
        for (first, last), line in zip(points, lines, strict=False):
            pieces += [svg[at:first], svg[first : last - 2], f"><title>{_clean(line)}</title></use>"]
            at = last
        svg = "".join([*pieces, svg[at:end], svg[end:]])
    return svg


def to_inline(svg: str, name: str, words: str) -> str:
    """Return an SVG file as a part of a page, where its ids cannot meet those of another.

    words: what it shows.
    """
    body = re.sub(r"<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for part in ("metadata", "style"):  # the page's style sheet says what the style does
        body = re.sub(rf"<{part}\b.*?</{part}>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    return body.replace("<svg", f'<svg role="img" aria-label="{to_markup(words)}"', 1)


def _points(svg: str, start: int) -> tuple[list[tuple[int, int]], int]:
    """Return where the points of the group that begins at `start` stand, and where the group ends."""
    depth, points = 0, []
    for part in _PARTS.finditer(svg, start):
        text = part.group()
        if text.startswith("<use"):
            points.append(part.span())
            continue
        depth += 0 if text.endswith("/>") else -1 if text == "</g>" else 1
        if depth == 0:
            return points, part.end()
    raise ValueError(f"the group at {start} of the SVG has no end")


def _clean(line: str) -> str:
    """Return words as XML may hold them."""
    return to_markup("".join(c if c.isprintable() else " " for c in line))
