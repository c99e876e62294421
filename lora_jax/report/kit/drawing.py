"""A figure with its words, and the files it is saved in."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_jax.report.kit import style
from lora_jax.report.kit.panels import set_title
from lora_jax.scaling.progress import begin_step

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """One figure with the name of its files, its title, and the words under it, also its alternative text."""

    name: str
    title: str
    caption: str
    figure: "Figure"


def save_figures(drawings: list[Drawing], folder: Path) -> list[Path]:
    """Write each drawing to folder/NAME.png and folder/NAME.svg; return the paths, PNG and SVG in turn.

    A figure that says nowhere what it shows gets the drawing's title: a file is looked at without its page.
    """
    done, paths = begin_step("drawing the figures", len(drawings)), []
    for drawing in drawings:
        if not drawing.figure.get_suptitle():
            set_title(drawing.figure, drawing.title)
        paths += style.save_figure(drawing.figure, folder, drawing.name)
        done(1)
    return paths
