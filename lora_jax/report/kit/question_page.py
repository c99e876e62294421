"""The page that answers the question of a config: written from a report, or again from its JSON file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.page_files import write_page
from lora_jax.report.kit.page_shell import unwrap
from lora_jax.report.kit.sources import show_sources
from lora_jax.report.kit.sweep_file import read_sweep_file
from lora_jax.scaling.answer_file import AnswerFile


class _Made(Protocol):
    @property
    def command(self) -> str: ...


Report = TypeVar("Report", bound=_Made)


@dataclass(frozen=True)
class QuestionPage(Generic[Report]):
    """What the page of one kind of report is called, and how it is made.

    Attributes:
        file: The JSON file beside it.
        name: Its name in a folder.
        guide: The page of docs/ that explains it.
        question: What it answers, where no config asks.
        draw: Returns the figures.
        make: Returns the page, given the report, the figures as HTML, the question, and the sources as HTML.
    """

    file: AnswerFile[Report]
    name: str
    guide: str
    question: str
    draw: Callable[[Report], Sequence[Drawing]]
    make: Callable[[Report, str, str, str], str]

    def write(self, report: Report, folder: Path, question: str = "") -> Path:
        """Write the JSON file, figures/ and the page into a folder; return the page's path.

        question: What the config asks, shown at the top.
        """
        self.file.write(folder, report)
        sources = show_sources(folder, report.command, self.guide)
        asked = unwrap(question) if question else self.question
        return write_page(
            folder,
            self.draw(report),
            lambda figures: self.make(report, figures, asked, sources),
            name=self.name,
        )

    def redraw(self, folder: Path) -> Path:
        """Write the figures and the page of a folder again, from its JSON file and its config's question."""
        report = self.file.read(folder)
        asked = read_sweep_file(folder).question if (folder / "sweep.json").exists() else ""
        return self.write(report, folder, asked)
