"""A figure with its words, and the files it is saved in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lora_jax.report.kit import style
from lora_jax.report.kit.panels import set_title
from lora_jax.scaling.dealing import Done, deal
from lora_jax.scaling.progress import begin_step

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """One figure with the words that it needs.

    Attributes:
        name: The name of its files.
        title: Its title.
        caption: The words under it, which are its alternative text too.
        drawn: The figure, or what draws it. Figures that are not drawn yet are drawn side by side when they
            are saved.
    """

    name: str
    title: str
    caption: str
    drawn: "Figure | Callable[[], Figure]"

    @cached_property
    def figure(self) -> "Figure":
        return self.drawn() if callable(self.drawn) else self.drawn


class Saved(NamedTuple):
    """The files of a figure, the title that it bears, and whether its points have words of their own."""

    png: Path
    svg: Path
    title: str
    has_words: bool


def save_figures(drawings: Sequence[Drawing], folder: Path) -> list[Saved]:
    """Write each drawing to folder/NAME.png and folder/NAME.svg.

    A figure that says nowhere what it shows gets the drawing's title: a file is looked at without its page.
    Drawing and writing one takes a third of a second, so they are dealt to processes.
    """

    import_module("lora_jax.report.kit.plain_figure")  # here, and not in every process

    def work(drawing: Drawing, done: Done) -> Saved:
        figure = drawing.figure
        if not figure.get_suptitle():
            set_title(figure, drawing.title)
        png, svg = style.save_figure(figure, folder, drawing.name)
        done(1)
        return Saved(png, svg, figure.get_suptitle(), bool(getattr(figure, "words", None)))

    return deal(work, drawings, begin_step("drawing the figures", len(drawings)))
