"""Figures of several panels: grids, and small multiples that share their axes and their titles."""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_jax.report.kit import style
from lora_jax.report.kit.markup import keep_together

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE_SIZE = 11
TITLE_WIDTH = 80  # letters
PANEL_TITLE = 8.5


def new_grid(n: int, columns: int, height: float) -> "tuple[Figure, list[Axes]]":
    """Return a figure of n panels in rows of `columns`, each `height` inches high, in reading order."""
    figure, axes = style.new_figure(columns=n)
    n_rows = math.ceil(n / columns)
    figure.set_size_inches(style.SIZE[0], height * n_rows)
    grid = figure.add_gridspec(n_rows, columns)
    for i, ax in enumerate(axes):
        ax.set_subplotspec(grid[i // columns, i % columns])
    return figure, axes


def set_title(figure: "Figure", title: str) -> None:
    """Write what a figure shows above its panels, at the left, in as many lines as it takes."""
    lines = textwrap.wrap(keep_together(title), TITLE_WIDTH)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.1 + 0.2 * len(lines))
    figure.suptitle("\n".join(lines), fontsize=TITLE_SIZE, x=0.01, ha="left")


def share_labels(figure: "Figure", axes: "Sequence[Axes]", columns: int, across: str, up: str) -> None:
    """Label the axes of small multiples once: numbers at the left and below, one name for each axis.

    The panels must have the same limits; those of the last row may be fewer.
    """
    for i, ax in enumerate(axes):
        ax.tick_params(labelsize=8)
        if i % columns:
            ax.tick_params(labelleft=False)
        if i + columns < len(axes):
            ax.tick_params(labelbottom=False)
    figure.supxlabel(across, fontsize=9.5)
    figure.supylabel(up, fontsize=9.5)


def label_below(axes: "Sequence[Axes]", columns: int, words: str) -> None:
    """Label the x axis of every panel that has none below, where a legend under all of them leaves room."""
    for ax in axes[-columns:]:
        ax.set_xlabel(words, fontsize=9)
