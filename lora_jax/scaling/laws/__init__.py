"""What a law is, and every law, one file each: the laws are what the modules here name in their `LAWS`."""

import importlib
import pkgutil

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.laws.chinchilla import CHINCHILLA
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.laws.power import power_law

__all__ = ["CHINCHILLA", "LAWS", "Array", "Law", "find_law", "power_law"]


def _load() -> dict[str, Law]:
    modules = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
    return {name: law for module in modules if hasattr(module, "LAWS") for name, law in module.LAWS.items()}


LAWS: dict[str, Law] = _load()  # name on the command line -> law


def find_law(name: str) -> Law:
    """Return the law of a short name ("chinchilla") or a key ("L(N,D)"); raises LoraJaxError for another."""
    by_key = {law.key: law for law in reversed(LAWS.values())}
    law = LAWS.get(name) or by_key.get(name)
    if law is None:
        raise LoraJaxError(f"Law {name!r} is not known{nearest(name, LAWS)}: `lora-jax laws` lists them.")
    return law
