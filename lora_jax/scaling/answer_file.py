"""The JSON file of an answer, which lies beside its page.

Every command that makes one writes and reads it here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from lora_jax.digests import read_object, to_sealed_json
from lora_jax.documents import check_format, check_kind, from_document, reading, to_document
from lora_jax.files import write_atomically

Report = TypeVar("Report")


@dataclass(frozen=True)
class AnswerFile(Generic[Report]):
    """What the JSON file of one kind of report is called, and what it holds.

    Attributes:
        name: Its name in a folder.
        type: The report's class.
        kind: The kind of report that the file says it is.
        format: The newest format that we can read.
        again: How to make the file again, for messages.
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
            LoraJaxError: The file is missing or damaged, is of another kind, or has the format of a later
                version.
        """
        path = folder / self.name
        document = read_object(path, self.again)
        with reading(path, self.again):
            check_kind(document, self.kind)
        with reading(path, "update lora_jax"):
            check_format(document, self.format)
        with reading(path, self.again):
            return from_document(self.type, document)
