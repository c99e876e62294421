"""The JSON file of an answer beside its page: written and read here, whichever command makes it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from lora_jax.digests import read_object, to_sealed_json
from lora_jax.documents import check_format, check_kind, from_document, reading, to_document
from lora_jax.files import write_atomically

Report = TypeVar("Report")


@dataclass(frozen=True)
class AnswerFile(Generic[Report]):
    """What the file of a kind of report is called, and what it holds.

    Attributes:
        name: Its name in a folder.
        type: The report's class.
        kind, format: What the file says that it is, and the newest format that can be read.
        again: How the file is made again, for messages.
    """

    name: str
    type: type[Report]
    kind: str
    format: int
    again: str

    def write(self, folder: Path, report: Report) -> None:
        """Write the report into a folder, atomically."""
        write_atomically(folder / self.name, to_sealed_json(to_document(report)))

    def read(self, folder: Path) -> Report:
        """Read the report of a folder.

        Raises:
            LoraJaxError: It is missing, damaged, of another kind or of a later version's format.
        """
        path = folder / self.name
        document = read_object(path, self.again)
        with reading(path, self.again):
            check_kind(document, self.kind)
        with reading(path, "update lora_jax"):
            check_format(document, self.format)
        with reading(path, self.again):
            return from_document(self.type, document)
