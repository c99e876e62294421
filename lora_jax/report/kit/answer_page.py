"""The page of an answer that is not one law's fit: approaches 1 and 2, a comparison of laws, a design."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.files import to_json, write_atomically
from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.page_files import refuse_results_folder, write_page
from lora_jax.report.kit.page_shell import make_document, show_sentences, show_tables, show_warnings
from lora_jax.report.kit.sources import show_sources
from lora_jax.report.kit.tables import Table, to_prose


@dataclass(frozen=True)
class Answer:
    """What a page shows.

    Attributes:
        name: Name of the JSON file, such as "design".
        words: The answer. The first line is the verdict; each other line is a paragraph.
        guide: The page of docs/ that explains it.
    """

    name: str
    heading: str
    command: str
    words: str
    tables: Sequence[Table | None]
    drawings: Sequence[Drawing]
    warnings: Sequence[str]
    document: Mapping[str, Any]
    guide: str = "docs/fit-laboratory.md"


def write_answer(answer: Answer, folder: Path) -> Path:
    """Write NAME.json, figures/ and report.html into the folder; return the page's path.

    Raises LoraJaxError for a results folder, whose report.html is that of its sweep.
    """
    refuse_results_folder(folder)
    text = to_json(answer.document) + "\n"
    write_atomically(folder / f"{answer.name}.json", text)
    sources = show_sources(folder, answer.command, answer.guide)
    return write_page(folder, answer.drawings, lambda figures: _make_page(answer, figures, sources))


def _make_page(answer: Answer, figures: str, sources: str) -> str:
    first, *rest = answer.words.split("\n")
    verdict = f'<p class="verdict">{to_prose(first[:1].upper() + first[1:])}</p>\n'
    said = f"{verdict}{show_sentences(rest)}{show_warnings(answer.warnings)}"
    sections = [
        ("summary", "Summary", said),
        ("figures", "Figures", figures),
        ("tables", "Tables", show_tables(*answer.tables)),
    ]
    return make_document(answer.heading, "scaling laws", answer.command, sections, sources)
