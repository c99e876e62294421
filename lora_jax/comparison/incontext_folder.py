"""A results folder of an in-context comparison: read its records, write incontext.json."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lora_jax.comparison.incontext import compare_incontext
from lora_jax.comparison.incontext_documents import NAME, save_incontext
from lora_jax.comparison.incontext_records import DealtRun, ScoredPrompt, dealt_from_document
from lora_jax.comparison.incontext_results import InContextComparison
from lora_jax.digests import read_result
from lora_jax.documents import from_document, reading

T = TypeVar("T")
AGAIN = "restore or delete it, then run again"


@dataclass(frozen=True)
class Plan:
    """What we read of sweep.json.

    Attributes:
        run_ids: The fine-tuning runs that the config may train.
    """

    run_ids: tuple[str, ...] = ()


def is_incontext(folder: Path) -> bool:
    """Does a folder hold an in-context comparison, or prompts that were scored for one?"""
    return (folder / NAME).exists() or bool(_paths(folder, "prompts"))


def read_records(folder: Path) -> tuple[list[ScoredPrompt], list[DealtRun]]:
    """Return the records of prompts and of fine-tuning runs, in the order of their tasks and numbers.

    Raises:
        LoraJaxError: One cannot be read, or is no such record.
    """
    prompts = [_read(ScoredPrompt, path) for path in _paths(folder, "prompts")]
    runs = [_read_run(path) for path in _paths(folder, "runs")]
    sweep = folder / "sweep.json"
    wanted = _read(Plan, sweep).run_ids if sweep.exists() else ()
    place = {run_id: i for i, run_id in enumerate(wanted)}
    prompts.sort(key=lambda r: (r.config.label, r.config.k, r.config.draw))
    runs.sort(key=lambda r: (place.get(r.run.run_id, len(place)), r.run.run_id))
    return prompts, runs


def write_incontext(folder: Path) -> InContextComparison:
    """Compare what a folder holds, write incontext.json there, and return what was found."""
    found = compare_incontext(*read_records(folder))
    save_incontext(folder, found)
    return found


def _read(kind: type[T], path: Path) -> T:
    with reading(path, AGAIN):
        return from_document(kind, read_result(path))


def _read_run(path: Path) -> DealtRun:
    with reading(path, AGAIN):
        return dealt_from_document(read_result(path))


def _paths(folder: Path, kind: str) -> list[Path]:
    return sorted(path for path in (folder / kind).glob("*.json") if not path.name.startswith("."))
