"""incontext.json and backward.json. Only this file writes and reads them.

Both say their kind and format. Files without a format are of format 1, and we read them as well. A
backward.json of format 1 says no kind.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_jax.comparison import gradient_results
from lora_jax.comparison.gradient_results import GradientCosts
from lora_jax.comparison.incontext_results import FORMAT, KIND, InContextComparison
from lora_jax.comparison.made_by import command_of
from lora_jax.digests import read_object, to_sealed_json
from lora_jax.documents import check_format, check_kind, from_document, reading, to_document
from lora_jax.files import write_atomically

NAME, BACKWARD = "incontext.json", "backward.json"
USUAL = "lora-jax incontext"


def incontext_to_document(found: InContextComparison) -> dict[str, Any]:
    """Return the content of incontext.json."""
    return to_document(found)


def incontext_from_document(document: Mapping[str, Any]) -> InContextComparison:
    """Return the comparison in the content of incontext.json.

    Raises:
        Unreadable: It is of another kind, lacks something or holds something else, or a later version wrote
            its format.
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
        LoraJaxError: It is missing, damaged, or not what it should be.
    """
    path, remedy = folder / NAME, f"run `{command_of(folder, USUAL)}` first"
    document = read_object(path, remedy)
    with reading(path, remedy):
        return incontext_from_document(document)


def save_backward(folder: Path, costs: GradientCosts) -> None:
    """Write backward.json into a results folder, atomically."""
    write_atomically(folder / BACKWARD, to_sealed_json(backward_to_document(costs)))


def backward_to_document(costs: GradientCosts) -> dict[str, Any]:
    """Return the content of backward.json, in the format that the costs have."""
    document = to_document(costs)
    return document if "format" in document else {k: v for k, v in document.items() if k != "kind"}


def backward_from_document(document: Mapping[str, Any]) -> GradientCosts:
    """Return the costs in the content of backward.json.

    It raises Unreadable as `incontext_from_document` does.
    """
    if "format" not in document:
        document = {"kind": gradient_results.KIND, **document}
    check_kind(document, gradient_results.KIND)
    check_format(document, gradient_results.FORMAT)
    return from_document(GradientCosts, document)


def load_backward(folder: Path) -> GradientCosts | None:
    """Read backward.json of a results folder. None if the cost of a gradient was not measured.

    Raises:
        LoraJaxError: It is damaged, or not what it should be.
    """
    path, remedy = folder / BACKWARD, "delete it and run the comparison again"
    if not path.exists():
        return None
    with reading(path, remedy):
        return backward_from_document(read_object(path, remedy))
