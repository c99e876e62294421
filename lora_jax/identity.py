"""What identifies a configuration: its fields as plain values, and a hash of them."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

PLAIN = frozenset({str, int, float, bool, type(None)})
ALWAYS = object()  # marks a field that is part of every identity, whatever its value


def added_later(default: Any) -> Any:
    """Declare a field that was added after results were recorded.

    At its default it is left out of a run's identity. So a configuration that does not use the field keeps
    its run_id, and its finished runs are found again.
    """
    return dataclasses.field(default=default, metadata={"added_later": True})


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a configuration to nested dicts and lists, ready for JSON.

    Fields that were added later are left out if they have their default value (`added_later`).
    """
    return json.loads(json.dumps(_plain(config)))


def _plain(value: Any) -> Any:
    if type(value) in PLAIN:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(name, getattr(value, name), default) for name, default in _fields(type(value))]
        return {
            name: _plain(inner) for name, inner, default in fields if default is ALWAYS or inner != default
        }
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


@cache
def _fields(kind: type) -> tuple[tuple[str, Any], ...]:
    """Return the name of each field and the value at which it is left out. ALWAYS if it never is."""
    return tuple(
        (field.name, field.default if field.metadata.get("added_later") else ALWAYS)
        for field in dataclasses.fields(kind)
    )


def digest(value: Any, length: int = 10) -> str:
    """Return a short hash of any JSON-able value. Equal values have equal hashes on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def flatten(config: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """Return nested settings by dotted name, as text: {"a": {"b": 8}} becomes {"a.b": "8"}."""
    flat: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{path}{name}.")
        else:
            # most values are text or whole numbers: JSON writes them like Python, but more slowly
            kind = type(value)
            flat[path + name] = value if kind is str else str(value) if kind is int else json.dumps(value)
    return flat
