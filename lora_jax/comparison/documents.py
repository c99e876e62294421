"""comparison.json of fine-tuning methods: written and read here, and nowhere else.

What is written says its format; files without one are of format 1, and are read as well.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_jax.comparison.results import FORMAT, KIND, MethodComparison
from lora_jax.digests import read_object, to_sealed_json
from lora_jax.documents import check_format, check_kind, from_document, reading, to_document
from lora_jax.files import write_atomically


def comparison_to_document(found: MethodComparison) -> dict[str, Any]:
    """Return the content of comparison.json."""
    return to_document(found)


def comparison_from_document(document: Mapping[str, Any]) -> MethodComparison:
    """Return what comparison.json says.

    Raises:
        Unreadable: it is of another kind, lacks something, holds something else, or is of a later version's
            format.
    """
    check_kind(document, KIND)
    check_format(document, FORMAT)
    return from_document(MethodComparison, document)


def save_comparison(path: Path, found: MethodComparison) -> None:
    """Write comparison.json atomically."""
    write_atomically(path, to_sealed_json(comparison_to_document(found)))


def read_comparison(path: Path) -> MethodComparison:
    """Read comparison.json; raises LoraJaxError where it is missing, damaged, or not what it should be."""
    document = read_object(path, "run `lora-jax fit` first")
    with reading(path, "run `lora-jax fit` again"):
        return comparison_from_document(document)
