"""Names beside points without overlap: each takes the nearest free place around its point."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

ANGLES = (0, 180, 45, 315, 135, 225, 90, 270, 22, 338, 158, 202)  # degrees: right first, then left
DISTANCES = (7, 13, 20, 28, 38, 50, 64, 80)  # points
PAD = 1.5  # points around a name
POINT = 9  # points, the width that is kept free for a point
MARGIN = 2  # points by which a name is nearer to its own point than to any other, or it has a thin line
Pixel = tuple[float, float]


def place_labels(
    ax: "Axes",
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    colours: Sequence[str],
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]] = (),
    fontsize: float = 8.5,
) -> list[str]:
    """Write each name beside its point.

    A thin line joins a name to its point where it lies far off, or where another point is as near. No name
    covers another name or a point. No thin line runs over a name, none runs over another point, and no name
    covers a line, where there is room to avoid it. The layout must be settled before, by
    `figure.draw_without_rendering()` after the last change of limits, scales and sizes: places are pixels.

    Args:
        ax: The axes of the points.
        points: Where the points are, in the units of the axes.
        names: One for each point.
        colours: One for each name.
        lines: Lines to keep clear of, such as error bars, by their two ends.
        fontsize: In points.

    Returns:
        The names for which there is no free place. They are not written.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None  # axes are made in a figure
    pixels: list[Pixel] = [(float(x), float(y)) for x, y in map(ax.transData.transform, points)]
    segments = [_segment(*ax.transData.transform(line)) for line in lines]
    texts = [_write(ax, name, colour, fontsize) for name, colour in zip(names, colours, strict=True)]
    extents = [text.get_window_extent() for text in texts]
    sizes = [(extent.width, extent.height) for extent in extents]
    places = _find_places(ax.get_window_extent(), figure.dpi / 72, pixels, segments, sizes)
    back = ax.transData.inverted()
    left_out: list[str] = []
    for i, (text, place) in enumerate(zip(texts, places, strict=True)):
        if place is None:
            text.remove()
            left_out.append(names[i])
            continue
        box, joined = place.box, place.joined
        x, y = back.transform(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2))
        text.set_position((float(x), float(y)))
        if joined:
            ends = back.transform([pixels[i], _nearest_in(box, pixels[i])])
            ax.plot(ends[:, 0], ends[:, 1], "-", color=colours[i], linewidth=0.6, alpha=0.7, zorder=2)
    return left_out


def _write(ax: "Axes", name: str, colour: str, fontsize: float) -> "Text":
    return ax.text(
        0, 0, name, fontsize=fontsize, color=colour, ha="center", va="center", zorder=6, parse_math=False
    )


@dataclass(frozen=True)
class _Place:
    """Where a name goes.

    Attributes:
        joined: Whether a thin line joins it to its point.
        meets: Whether a thin line runs over a name.
        crossed: Whether another line is in the way.
    """

    box: "Bbox"
    joined: bool
    meets: bool
    crossed: bool


def _find_places(
    frame: "Bbox",
    scale: float,
    pixels: Sequence[Pixel],
    segments: "Sequence[Path]",
    sizes: Sequence[tuple[float, float]],
) -> list[_Place | None]:
    """Return a place for each name, None where there is none: by the order of naming that does best.

    A name takes the best place that the names before it have left, so that their order matters.
    """
    best: list[_Place | None] = []
    least: tuple[int, ...] | None = None
    for order in _orders(pixels):
        room = _Room(frame, scale, pixels, segments)
        found: list[_Place | None] = [None] * len(pixels)
        for i in order:
            found[i] = room.take(i, *sizes[i])
        named = [place for place in found if place is not None]
        cost = (
            len(found) - len(named),
            sum(place.meets for place in named),
            sum(place.crossed for place in named),
            sum(place.joined for place in named),
        )
        if least is None or cost < least:
            best, least = found, cost
        if not any(cost[:3]):
            break
    return best


def _orders(pixels: Sequence[Pixel]) -> Iterator[list[int]]:
    """Yield orders in which to name points: the crowded first, for they have the fewest places."""
    gaps = [
        min((math.dist(own, other) for j, other in enumerate(pixels) if j != i), default=math.inf)
        for i, own in enumerate(pixels)
    ]
    yield sorted(range(len(gaps)), key=gaps.__getitem__)
    yield sorted(range(len(gaps)), key=lambda i: pixels[i][0])
    yield sorted(range(len(gaps)), key=lambda i: -pixels[i][0])


@dataclass
class _Room:
    """What a panel holds, in pixels: its frame, points, lines to keep clear of, and the names so far."""

    frame: "Bbox"
    scale: float  # pixels in a point
    pixels: Sequence[Pixel]
    segments: Sequence["Path"]
    boxes: "list[Bbox]" = field(default_factory=list)
    joints: "list[Path]" = field(default_factory=list)  # thin lines from names to their points

    def __post_init__(self) -> None:
        self.taken = [_box(x, y, POINT * self.scale, POINT * self.scale) for x, y in self.pixels]

    def take(self, i: int, width: float, height: float) -> _Place | None:
        """Return the best free place for the name of point i, and keep it. None: there is none."""
        pad = 2 * PAD * self.scale
        places = list(self._places(self.pixels[i], width + pad, height + pad))
        free = [
            (box, far)
            for box, far in places
            if _inside(box, self.frame) and not any(box.overlaps(b) for b in (*self.taken, *self.boxes))
        ]
        if not free:
            return None
        judged = [self._judge(i, box, far) for box, far in free]
        best = min(range(len(free)), key=lambda k: (*judged[k], k))
        box, far = free[best]
        meets, crossed, near_another = judged[best]
        joined = far or near_another
        self.boxes.append(box)
        if joined:
            self.joints.append(_segment(self.pixels[i], _nearest_in(box, self.pixels[i])))
        return _Place(box, joined, meets, crossed)

    def _judge(self, i: int, box: "Bbox", far: bool) -> tuple[bool, bool, bool]:
        """Return whether a thin line meets a name, or a line, and whether another point is as near."""
        own = self.pixels[i]
        gap = math.dist(own, _nearest_in(box, own)) + MARGIN * self.scale
        other_near = any(math.dist(other, _nearest_in(box, other)) <= gap for other in self._without(i))
        meets = any(line.intersects_bbox(box, filled=False) for line in self.joints)
        crossed = any(line.intersects_bbox(box, filled=False) for line in self.segments)
        if far or other_near:
            joint = _segment(own, _nearest_in(box, own))
            # Of a point that lies over its own, a line cannot keep clear.
            apart = [b for j, b in enumerate(self.taken) if j != i and not b.contains(*own)]
            meets |= any(joint.intersects_bbox(b, filled=True) for b in self.boxes)
            crossed |= any(joint.intersects_bbox(b, filled=True) for b in apart)
            crossed |= any(joint.intersects_path(other) for other in self.joints)
        return meets, crossed, other_near

    def _without(self, i: int) -> list[Pixel]:
        return [pixel for j, pixel in enumerate(self.pixels) if j != i]

    def _places(self, point: Pixel, width: float, height: float) -> "Iterator[tuple[Bbox, bool]]":
        """Yield boxes around a point, the nearest first, and of each whether it is far off."""
        for distance in DISTANCES:
            for angle in ANGLES:
                # From the point to the box's edge, so that long names are no farther than short ones.
                dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
                x = point[0] + dx * distance * self.scale + _side(dx) * width / 2
                y = point[1] + dy * distance * self.scale + _side(dy) * height / 2
                yield _box(x, y, width, height), distance > DISTANCES[1]


def _side(slope: float) -> int:
    return 0 if abs(slope) < 0.3 else 1 if slope > 0 else -1


def _nearest_in(box: "Bbox", point: Pixel) -> Pixel:
    """Return the place in a box that is nearest to a point."""
    return min(max(point[0], box.x0), box.x1), min(max(point[1], box.y0), box.y1)


def _inside(box: "Bbox", frame: "Bbox") -> bool:
    return frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1


def _segment(start: Sequence[float], end: Sequence[float]) -> "Path":
    from matplotlib.path import Path

    return Path([tuple(start), tuple(end)])


def _box(x: float, y: float, width: float, height: float) -> "Bbox":
    from matplotlib.transforms import Bbox

    return Bbox.from_bounds(x - width / 2, y - height / 2, width, height)
