"""The scaling laws, one file each.

`LAWS` collects every law that a module of this package names in its own `LAWS`. A new law is therefore one
new file.
"""

import importlib
import pkgutil
from collections.abc import Sequence

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.laws import any_power
from lora_jax.scaling.laws.chinchilla import CHINCHILLA
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.laws.power import power_law

__all__ = ["CHINCHILLA", "LAWS", "Array", "Law", "find_law", "power_law", "recall_law"]


def _load() -> dict[str, Law]:
    modules = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
    return {name: law for module in modules if hasattr(module, "LAWS") for name, law in module.LAWS.items()}


LAWS: dict[str, Law] = _load()  # name on the command line -> law


def find_law(name: str) -> Law:
    """Find a law by its short name ("chinchilla") or its key ("L(N,D)").

    Raises:
        LoraJaxError: No law has that name.
    """
    by_key = {law.key: law for law in reversed(LAWS.values())}
    law = LAWS.get(name) or by_key.get(name)
    if name == any_power.NAME:
        raise LoraJaxError(
            "The law 'power' is of columns that you name: fit it as `lora-jax fit TABLE --law power"
            " --response n_opt --of flops`."
        )
    if law is None:
        known = [*LAWS, any_power.NAME]
        raise LoraJaxError(f"Law {name!r} is not known{nearest(name, known)}: `lora-jax laws` lists them.")
    return law


def recall_law(formula: str, response: str, variables: Sequence[str]) -> Law | None:
    """Find the law that a document was made with.

    Args:
        formula: The law's formula, as the document has it.
        response: The column that the law predicts.
        variables: The columns that it depends on.

    Returns:
        The law, or None if no law of ours has this formula.
    """
    law = next((law for law in LAWS.values() if law.formula == formula), None)
    if law is not None or not variables or len(variables) > len(any_power.EXPONENTS) or response in variables:
        return law
    power = any_power.any_power(response, variables)
    return power if power.formula == formula else None
