"""The optimizers, one file each.

A module here that defines `OPTIMIZERS = (Config, ...)` is found by itself.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, cast

from lora_jax.config import OptimConfig
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.ranges import field_kinds, show
from lora_jax.training.optimizers.adamw import AdamW
from lora_jax.training.optimizers.optimizer import Optimizer


@lru_cache
def find_optimizers() -> Mapping[str, type]:
    """Return every optimizer's class by its kind, such as "muon"."""
    found: dict[str, type] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        optimizers = getattr(importlib.import_module(f"{__name__}.{module}"), "OPTIMIZERS", ())
        found.update({optimizer.kind: optimizer for optimizer in optimizers})
    return MappingProxyType(found)


def __getattr__(name: str) -> Any:
    """Return an optimizer's class by its name, such as Muon. Its module is imported only then."""
    if not name.startswith("_"):
        for optimizer in find_optimizers().values():
            if optimizer.__name__ == name:
                return optimizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def optimizer_from_dict(fields: Mapping[str, Any]) -> Optimizer:
    """Return the optimizer that `to_dict` wrote.

    Raises:
        LoraJaxError: The kind or one of the fields is unknown. The message names the nearest one.
    """
    kind, known = fields.get("kind"), find_optimizers()
    if not isinstance(kind, str) or kind not in known:
        raise LoraJaxError(f"there is no optimizer {show(kind)}{nearest(str(kind), known)}.")
    names = field_kinds(known[kind])
    for name in fields:
        if name not in names:
            raise LoraJaxError(f"the optimizer {kind} has no number {name!r}{nearest(name, names)}.")
    return known[kind](**fields)


BETA2 = (0.9, 0.9999)  # the range within which the batch size may move it


def scaled_beta2(beta2: float, config: OptimConfig) -> float:
    """Return the decay of a second moment for the configuration's batch size.

    The decay is such that the memory, counted in sequences, is the same as at `base_batch`.
    """
    if config.base_batch in (None, config.batch_size):
        return beta2
    low, high = BETA2
    return min(max(beta2 ** (config.batch_size / config.base_batch), low), high)


def make_optimizer(config: OptimConfig) -> Optimizer:
    """Return the optimizer of a configuration. Its rate, decay and clip norm are data (`make_hyperparams`).

    Raises:
        LoraJaxError: `config.optimizer` is not an optimizer.
    """
    optimizer: Any = config.optimizer
    if optimizer is None:
        optimizer = AdamW(beta1=config.beta1, beta2=config.beta2, eps=config.eps)
    if not isinstance(optimizer, Optimizer):
        raise LoraJaxError(
            f"optim.optimizer is {show(config.optimizer)}, which has not all that training asks of an"
            " optimizer: take one of lora_jax.training.optimizers, or Custom for one of your own."
        )
    if not optimizer.has_second_moment:
        return optimizer
    return replace(cast(Any, optimizer), beta2=scaled_beta2(cast(Any, optimizer).beta2, config))
