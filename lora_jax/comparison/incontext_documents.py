"""incontext.json and backward.json: written and read here, and nowhere else.

incontext.json says its format; files without one are of format 1, and are read as well.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_jax.comparison.gradient_results import GradientCosts
from lora_jax.comparison.incontext_results import FORMAT, KIND, InContextComparison
from lora_jax.digests import read_object, to_sealed_json
from lora_jax.documents import check_format, check_kind, from_document, reading, to_document
from lora_jax.files import write_atomically

NAME, BACKWARD = "incontext.json", "backward.json"
AGAIN = "run `./launch.sh incontext` first"


def incontext_to_document(found: InContextComparison) -> dict[str, Any]:
    """Return the content of incontext.json."""
    return to_document(found)


def incontext_from_document(document: Mapping[str, Any]) -> InContextComparison:
    """Return what incontext.json says.

    Raises:
        Unreadable: it is of another kind or of a later version's format, lacks something, or holds something
            else.
    """
    check_kind(document, KIND)
    check_format(document, FORMAT)
    return from_document(InContextComparison, document)


def save_incontext(folder: Path, found: InContextComparison) -> None:
    """Write incontext.json into a results folder, atomically."""
    write_atomically(folder / NAME, to_sealed_json(incontext_to_document(found)))


def load_incontext(folder: Path) -> InContextComparison:
    """Read incontext.json of a results folder.

    Raises:
        LoraJaxError: it is missing, damaged, or not what it should be.
    """
    path = folder / NAME
    document = read_object(path, AGAIN)
    with reading(path, AGAIN):
        return incontext_from_document(document)


def save_backward(folder: Path, costs: GradientCosts) -> None:
    """Write backward.json into a results folder, atomically."""
    write_atomically(folder / BACKWARD, to_sealed_json(to_document(costs)))


def load_backward(folder: Path) -> GradientCosts | None:
    """Read backward.json of a results folder; None where the cost of a gradient was not measured.

    Raises:
        LoraJaxError: it is damaged, or not what it should be.
    """
    path, remedy = folder / BACKWARD, "delete it and run the comparison again"
    if not path.exists():
        return None
    with reading(path, remedy):
        return from_document(GradientCosts, read_object(path, remedy))
