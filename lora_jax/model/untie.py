"""Untie a head from the embedding, so that one can change without the other."""

import dataclasses

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.params import Params


def untie(config: ModelConfig, params: Params) -> tuple[ModelConfig, Params]:
    """Return the same function with tied_head=False. The head is a copy of the embedding, transposed.

    Raises:
        LoraJaxError: The model has no tied head.
    """
    if not (config.tied_head and config.has_lm_head):
        raise LoraJaxError("the model has no head that is tied to its embedding: there is nothing to untie.")
    return dataclasses.replace(config, tied_head=False), {**params, "head": params["embed/tokens"].T}
