"""comparison.json of fine-tuning methods. Only this file writes and reads it.

Each document says its format. Files without a format are of format 1, and we read them as well.
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
    """Return the comparison in the content of comparison.json.

    Raises:
        Unreadable: It is of another kind, lacks something or holds something else, or a later version wrote
            its format.
    """
    check_kind(document, KIND)
    check_format(document, FORMAT)
    return from_document(MethodComparison, document)


def save_comparison(path: Path, found: MethodComparison) -> None:
    """Write comparison.json atomically."""
    write_atomically(path, to_sealed_json(comparison_to_document(found)))


def read_comparison(path: Path) -> MethodComparison:
    """Read comparison.json.

    Raises:
        LoraJaxError: It is missing, damaged, or not what it should be.
    """
    document = read_object(path, "run `lora-jax fit` first")
    with reading(path, "run `lora-jax fit` again"):
        return comparison_from_document(document)
