"""A figure with its words, and the files it is saved in."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_jax.report.kit import style
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
    """Write each drawing to folder/NAME.png and folder/NAME.svg; return the paths, PNG and SVG in turn."""
    done, paths = begin_step("drawing the figures", len(drawings)), []
    for drawing in drawings:
        paths += style.save_figure(drawing.figure, folder, drawing.name)
        done(1)
    return paths
