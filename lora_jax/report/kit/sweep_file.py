"""sweep.json of a results folder, as far as a page says something of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.digests import read_object
from lora_jax.documents import from_document, reading


@dataclass(frozen=True)
class SweepFile:
    """What was asked, by which command, and what was laid over every run."""

    name: str
    question: str
    command: str
    overrides: Any = None


def read_sweep_file(folder: Path) -> SweepFile:
    """Read sweep.json of a results folder; raises LoraJaxError where it is missing, damaged or not whole."""
    path = folder / "sweep.json"
    document = read_object(path, "delete it and run the sweep again", "run the sweep first")
    with reading(path, "run the sweep again"):
        return from_document(SweepFile, document)
