"""The files of a page: its figures, and the page itself, beside each other in one folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.report.kit.drawing import Drawing, save_figures
from lora_jax.report.kit.page_shell import show_figures
from lora_jax.temporaries import sweep


def write_page(
    folder: Path, drawings: Sequence[Drawing], make_page: Callable[[str], str], name: str = "report.html"
) -> Path:
    """Write figures/*.png, figures/*.svg and the page into a folder; return the page's path.

    Each file is written atomically, the page last. make_page: called with the figures as HTML.
    """
    page = folder / name
    sweep(folder, page.name)  # what a process that was killed here left
    sweep(folder / "figures")
    figures = show_figures(drawings, save_figures(drawings, folder / "figures"))
    write_atomically(page, make_page(figures))
    return page


def refuse_results_folder(folder: Path) -> None:
    """Raise LoraJaxError for a results folder, whose report.html is that of its sweep."""
    if (folder / "sweep.json").exists():
        raise LoraJaxError(
            f"{folder} is a results folder and its report.html shows the sweep: name another folder."
        )
