"""latency.json: written and read here, and nowhere else. A file without a format is of format 1."""

import json
from pathlib import Path

from lora_jax.digests import read_object
from lora_jax.documents import check_format, check_kind, from_document, reading, to_document
from lora_jax.files import write_atomically
from lora_jax.report.latency.results import FORMAT, KIND, LatencyTable

NAME = "latency.json"
AGAIN = "run `./launch.sh latency` again"


def latency_to_json(table: LatencyTable) -> str:
    """Return the content of latency.json, which ends without a new line."""
    return json.dumps(to_document(table), indent=1, allow_nan=False)


def save_latency(folder: Path, table: LatencyTable) -> None:
    """Write latency.json into a results folder, atomically."""
    write_atomically(folder / NAME, latency_to_json(table) + "\n")


def load_latency(folder: Path) -> LatencyTable:
    """Read latency.json of a results folder.

    Raises:
        LoraJaxError: it is missing, of another kind or of a later version's format, or not whole.
    """
    path = folder / NAME
    document = {"format": 1, **read_object(path, AGAIN)}
    with reading(path, AGAIN):
        found = from_document(LatencyTable, document)
        check_kind(document, KIND)
    with reading(path, "update lora_jax"):
        check_format(document, FORMAT)
    return found
