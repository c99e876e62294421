"""What identifies a configuration: its fields as plain values, and a hash of them."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any


def added_later(default: Any) -> Any:
    """A field that came after results were recorded: at its default it is left out of a run's identity.

    So a configuration that does not use it keeps its run_id, and its finished runs are found again.
    """
    return dataclasses.field(default=default, metadata={"added_later": True})


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a configuration to nested dicts and lists, ready for JSON.

    Fields that were added later are left out if they have their default value (`added_later`).
    """
    return json.loads(json.dumps(_plain(config)))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {
            field.name: _plain(inner)
            for field, inner in fields
            if not (field.metadata.get("added_later") and inner == field.default)
        }
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def digest(value: Any, length: int = 10) -> str:
    """Return a short hash of any JSON-able value. Equal values have equal hashes on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def flatten(config: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """Return nested settings by dotted name, as text: {"model": {"d_model": 8}} -> {"model.d_model": "8"}."""
    flat: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{path}{name}.")
        else:
            flat[path + name] = value if isinstance(value, str) else json.dumps(value)
    return flat
