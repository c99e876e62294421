"""speedup.json: its document is made and read here, and nowhere else.

A speed-up and the ends of its interval may be infinite. JSON has no such number: each is null, as anywhere,
and the document lists their places, which tells them from numbers that do not exist.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lora_jax.digests import read_object
from lora_jax.documents import Unreadable, check_format, check_kind, from_document, reading, to_document
from lora_jax.scaling.speedups.results import FORMAT, KIND_OF_CURVES, CurveReport, SpeedupReport

NAME = "speedup.json"
AGAIN = "run the command again that it holds, or `lora-jax speedup`"
INFINITE = "infinite"  # the field with the places


def to_speedup_document(report: SpeedupReport | CurveReport) -> dict[str, Any]:
    """Return the document of a report, with the places of its infinite numbers."""
    document = to_document(report)
    return document | {INFINITE: list(_infinite(document))}


def read_speedup(folder: Path) -> SpeedupReport | CurveReport:
    """Read speedup.json of a folder.

    Raises:
        LoraJaxError: The file is missing or damaged, is of another kind, or has a format that does not say
            which numbers are infinite, or that of a later version.
    """
    path = folder / NAME
    document = read_object(path, AGAIN)
    is_curves = document.get("kind") == KIND_OF_CURVES
    with reading(path, AGAIN):
        if not is_curves:
            check_kind(document, "speedup")
        if document.get("format", 1) == 1:
            raise Unreadable("is of format 1, which does not say which numbers are infinite")
    with reading(path, "update lora_jax"):
        check_format(document, FORMAT)
    with reading(path, AGAIN):
        return from_document(CurveReport if is_curves else SpeedupReport, _restore(document))


def _infinite(value: Any, place: str = "") -> Iterator[str]:
    """Yield the JSON pointer (RFC 6901) of each infinite number."""
    if isinstance(value, float) and value == math.inf:
        yield place
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _infinite(part, f"{place}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _infinite(part, f"{place}/{i}")


def _restore(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with its infinite numbers in their places."""
    whole = copy.deepcopy(dict(document))
    for place in whole.pop(INFINITE, []):
        part: Any = whole
        try:
            _, *way, last = (key.replace("~1", "/").replace("~0", "~") for key in place.split("/"))
            for key in way:
                part = part[int(key) if isinstance(part, list) else key]
            end = int(last) if isinstance(part, list) else last
            is_null = part[end] is None
        except (AttributeError, KeyError, IndexError, TypeError, ValueError):
            raise Unreadable(f"has nothing at {place!r}, which is to be infinite") from None
        if not is_null:
            raise Unreadable(f"has a number at {place!r}, which is to be infinite")
        part[end] = math.inf
    return whole
