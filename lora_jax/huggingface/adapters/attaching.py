"""Put an adapter of peft on its base. Every command that loads both uses this rule."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp

from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.adapters.importing import import_source
from lora_jax.huggingface.adapters.source import read_source
from lora_jax.huggingface.adapters.whole import separates_head
from lora_jax.huggingface.pretrained import Pretrained
from lora_jax.model.declare import declare
from lora_jax.model.untie import untie
from lora_jax.params import Params
from lora_jax.peft.method import MethodConfig, task_head


class Attached(NamedTuple):
    """A base as an adapter needs it, and the adapter.

    Attributes:
        base: The base. Its head is untied if the adapter separates it from the embedding. Modules that the
            adapter holds whole have the adapter's weights.
        method: The method of the adapter.
        trainable: Its trained weights.
        replaced: Paths of `base.params` that differ from the given base.
    """

    base: Pretrained
    method: MethodConfig
    trainable: Params
    replaced: frozenset[str]


def attach_adapter(folder: Path | str, base: Pretrained) -> Attached:
    """Load an adapter of peft onto its base, so that both compute what peft computes.

    Args:
        folder: The adapter's folder.
        base: The base model.

    Raises:
        LoraJaxError: As for `import_adapter`, or neither the adapter nor the base has a classifier's weight.
    """
    source = read_source(folder, base.model_type, base.config)
    if separates_head(source):
        config, params = untie(base.config, base.params)
        base = replace(base, config=config, params=params)
        source = source._replace(model=config)
    found = import_source(source)
    trainable = dict(found.trainable)
    for path in task_head(declare(base.config)) - trainable.keys() - set(base.new):
        trainable[path] = base.params[path].astype("float32")
    left = [path for path in base.new if path not in trainable and path not in found.replaced]
    if left:
        raise LoraJaxError(
            f"neither {folder} nor {base.folder} has {left[0]}: load the base that the adapter was trained"
            " on."
        )
    changed = {
        path: weight
        for path, weight in found.replaced.items()
        if path in base.new or not jnp.array_equal(weight, base.params[path])
    }
    new = tuple(path for path in base.new if path not in changed)
    whole = replace(base, params={**base.params, **changed}, new=new)
    return Attached(whole, found.method, trainable, frozenset(changed))
