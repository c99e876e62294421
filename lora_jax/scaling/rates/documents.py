"""transfer.json: written and read here, and nowhere else."""

from pathlib import Path

from lora_jax.digests import read_object, to_sealed_json
from lora_jax.documents import check_format, check_kind, from_document, reading, to_document
from lora_jax.files import write_atomically
from lora_jax.scaling.rates.results import FORMAT, KIND, TransferReport

NAME = "transfer.json"
AGAIN = "run `lora-jax transfer` again"


def write_transfer(folder: Path, report: TransferReport) -> None:
    """Write transfer.json into a folder, atomically."""
    write_atomically(folder / NAME, to_sealed_json(to_document(report)))


def read_transfer(folder: Path) -> TransferReport:
    """Read transfer.json of a folder.

    Raises:
        LoraJaxError: It is missing, damaged, of another kind or of a later version's format.
    """
    path = folder / NAME
    document = read_object(path, AGAIN)
    with reading(path, AGAIN):
        check_kind(document, KIND)
    with reading(path, "update lora_jax"):
        check_format(document, FORMAT)
    with reading(path, AGAIN):
        return from_document(TransferReport, document)
