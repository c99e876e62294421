"""The methods, one file each. We find every module here that has `METHODS = (Config, ...)`."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, cast

from lora_jax.config import to_dict
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.peft.method import MethodConfig


@lru_cache
def find_methods() -> Mapping[str, type]:
    """Return every method's configuration class by its name, such as "LoRA"."""
    found: dict[str, type] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        methods = getattr(importlib.import_module(f"{__name__}.{module}"), "METHODS", ())
        found.update({config.__name__: config for config in methods})
    return MappingProxyType(found)


def method_to_dict(config: MethodConfig) -> dict[str, Any]:
    """Return a method's configuration as fields for JSON. Its name is under "method"."""
    fields = to_dict(config)
    if "methods" in fields:  # a combination holds other methods
        fields["methods"] = [method_to_dict(inner) for inner in cast(Any, config).methods]
    return {"method": type(config).__name__, **fields}


def method_from_dict(fields: Mapping[str, Any]) -> MethodConfig:
    """Undo `method_to_dict`.

    Raises:
        LoraJaxError: The method or a field is unknown. The message names the nearest.
    """
    rest = dict(fields)
    name = rest.pop("method", None)
    known = find_methods()
    if name not in known:
        raise LoraJaxError(f"unknown method {name!r}{nearest(str(name), known)}.")
    names = {field.name for field in dataclasses.fields(known[name])}
    for field in rest:
        if field not in names:
            raise LoraJaxError(f"{name} has no field {field!r}{nearest(field, names)}.")
    if "methods" in rest:
        rest["methods"] = [method_from_dict(inner) for inner in rest["methods"]]
    return known[name](**{field: _tuples(value) for field, value in rest.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(inner) for inner in value) if isinstance(value, list) else value
