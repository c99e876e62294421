"""Positions that a method puts in front of a text: they must leave room for it in the model's context."""

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError


def check_added(name: str, length: int, model: ModelConfig) -> None:
    """Check that a token fits the model's context beside what a method puts in front.

    Args:
        name: Name of the method.
        length: How many positions it puts in front.
        model: The model.

    Raises:
        LoraJaxError: It puts none there, or leaves no room for a token.
    """
    if not 1 <= length < model.context:
        raise LoraJaxError(
            f"{name}.length is {length}, but it must lie from 1 to {model.context - 1}, so that a token fits"
            " the model's context besides: change it."
        )
