"""Names at the right ends of lines, beside the panel, each joined to its line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_jax.report.kit import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE = 0.15  # inches of a name
START = 1.03  # of the axes' width, where names begin
SIZE = 8.5  # points
JOINT = {
    "arrowstyle": "-",
    "color": style.FAINT,
    "linewidth": 0.6,
    "relpos": (0, 0.5),  # of the name: the middle of its left edge
    "shrinkA": 0,
    "shrinkB": 3,
}


def label_ends(
    ax: "Axes", ends: Sequence[tuple[float, float]], names: Sequence[str], colours: Sequence[str]
) -> None:
    """Write the name of each line beside its right end, in its colour, a line of text apart from the next.

    Limits, scales and the figure's height must be set before.

    Args:
        ax: The panel.
        ends: Where the lines end, in the units of the axes.
        names: One for each line.
        colours: One for each name.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None  # axes are made in a figure
    height = ax.get_position(original=True).height * figure.get_size_inches()[1]
    to_axes = ax.transData + ax.transAxes.inverted()
    places = [to_axes.transform(end) for end in ends]
    heights = style.spread_labels([float(y) for _, y in places], LINE / height)
    for end, name, colour, y in zip(ends, names, colours, heights, strict=True):
        ax.annotate(
            name,
            end,
            (START, y),
            textcoords="axes fraction",
            annotation_clip=False,
            color=colour,
            fontsize=SIZE,
            va="center",
            arrowprops=JOINT,
        )
