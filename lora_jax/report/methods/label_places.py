"""Names beside points without overlap: each takes the nearest free place around its point."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path
    from matplotlib.transforms import Bbox

ANGLES = (0, 180, 45, 315, 135, 225, 90, 270, 22, 338, 158, 202)  # degrees: right first, then left
DISTANCES = (7, 13, 20, 28, 38, 50, 64, 80)  # points
PAD = 1.5  # points around a name


def place_labels(
    ax: "Axes",
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    colours: Sequence[str],
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]] = (),
    fontsize: float = 8.5,
) -> list["Bbox"]:
    """Write each name beside its point, with a thin line where it lies far off; return the boxes, in pixels.

    lines: their two ends each; no name may lie on one, error bars among them. Limits and scales of the axes
    must be final. Where the figure is too full, a name goes where it covers no other name and no point; where
    there is no such place either, RuntimeError.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None  # axes are made in a figure
    figure.draw_without_rendering()  # so that the layout is settled: places are pixels
    scale = figure.dpi / 72
    frame = ax.get_window_extent()
    pixels = [tuple(ax.transData.transform(point)) for point in points]
    taken = [_box(x, y, 9 * scale, 9 * scale) for x, y in pixels]
    segments = [_segment(*ax.transData.transform(line)) for line in lines]
    boxes: list[Bbox] = []
    # The most crowded first: they have the fewest places.
    for i in sorted(range(len(points)), key=lambda i: _room(pixels, i)):
        text = ax.text(
            0, 0, names[i], fontsize=fontsize, color=colours[i], ha="center", va="center", zorder=6,
            parse_math=False,
        )  # fmt: skip
        size = text.get_window_extent()
        width, height = size.width + 2 * PAD * scale, size.height + 2 * PAD * scale
        places = _places(pixels[i], width, height, scale)
        free = [
            place for place in places
            if _inside(place[0], frame) and not any(place[0].overlaps(other) for other in (*taken, *boxes))
        ]  # fmt: skip
        if not free:
            raise RuntimeError(f"no free place for the name {names[i]!r}: the figure holds too many")
        clear = (p for p in free if not any(s.intersects_bbox(p[0], filled=False) for s in segments))
        box, far = next(clear, free[0])
        boxes.append(box)
        centre = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
        x, y = ax.transData.inverted().transform(centre)
        text.set_position((float(x), float(y)))
        if far:
            edge = (min(max(pixels[i][0], box.x0), box.x1), min(max(pixels[i][1], box.y0), box.y1))
            ends = ax.transData.inverted().transform([pixels[i], edge])
            ax.plot(ends[:, 0], ends[:, 1], "-", color="#909090", linewidth=0.6, zorder=2)
    return boxes


def _room(pixels: Sequence[tuple[float, ...]], i: int) -> float:
    return min((math.dist(pixels[i], other) for j, other in enumerate(pixels) if j != i), default=math.inf)


def _places(point: tuple[float, ...], width: float, height: float, scale: float) -> list[tuple["Bbox", bool]]:
    """Return boxes around a point, the nearest first, and of each whether it wants a line to its point."""
    boxes = []
    for distance in DISTANCES:
        for angle in ANGLES:
            # From the point to the box's edge, so that long names are no farther than short ones.
            dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            x = point[0] + dx * distance * scale + _side(dx) * width / 2
            y = point[1] + dy * distance * scale + _side(dy) * height / 2
            boxes.append((_box(x, y, width, height), distance > DISTANCES[1]))
    return boxes


def _side(slope: float) -> int:
    return 0 if abs(slope) < 0.3 else 1 if slope > 0 else -1


def _inside(box: "Bbox", frame: "Bbox") -> bool:
    return frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1


def _segment(start: Sequence[float], end: Sequence[float]) -> "Path":
    from matplotlib.path import Path

    return Path([tuple(start), tuple(end)])


def _box(x: float, y: float, width: float, height: float) -> "Bbox":
    from matplotlib.transforms import Bbox

    return Bbox.from_bounds(x - width / 2, y - height / 2, width, height)
