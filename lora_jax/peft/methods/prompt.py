"""Prompt tuning: learned embeddings in front of the input (Lester et al. 2021, arXiv 2104.08691)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.model.declare import declare
from lora_jax.model.hooks import HookPoint, Hooks
from lora_jax.params import Params, Spec, init
from lora_jax.peft.added_positions import check_added
from lora_jax.peft.method import Method, task_head
from lora_jax.ranges import Length, Std, check_fields

PROMPT = "embed/prompt"


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Trained embeddings in front of the text, which every position sees.

    They are length d_model numbers, at positions 0, 1, 2, ... The first token has position `length`. The
    model returns hidden states and logits for the tokens only.

    Attributes:
        length: Number of embeddings.
        std: Standard deviation of their initial values. None takes that of the base's token embeddings.

    Reference: Lester et al. 2021 (arXiv 2104.08691).
    """

    AS_DATA: ClassVar[dict[str, Any]] = {"std": None}

    length: Length = 16
    std: Std | None = None

    def __post_init__(self) -> None:
        check_fields(self, "Prompt")

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model.

        Raises:
            LoraJaxError: The prompt leaves no room for a token in the model's context.
        """
        check_added("Prompt", self.length, model)
        base = declare(model)
        axes = (("prompt", self.length), ("d_model", model.d_model))
        std = base["embed/tokens"].std if self.std is None else self.std
        prompt = Spec(axes, std=std)
        return Method(
            specs={**base, PROMPT: prompt},
            trainable=frozenset([PROMPT]) | task_head(base),
            hooks=Hooks(embed=_put_in_front, n_before=self.length),
            start=_start_like_tokens(axes) if self.std is None else None,
        )


def _start_like_tokens(axes: tuple[tuple[str, int], ...]):
    def start(base: Params, seed: int) -> tuple[Params, Params]:
        std = jnp.std(base["embed/tokens"].astype(jnp.float32))
        return base, {PROMPT: std * init({PROMPT: Spec(axes, std=1.0)}, seed)[PROMPT]}

    return start


def _put_in_front(point: HookPoint, tokens_BT: jax.Array, x_BTD: jax.Array) -> jax.Array:
    prompt_PD = point.weights[PROMPT].astype(x_BTD.dtype)
    prompt_BPD = jnp.broadcast_to(prompt_PD, (len(x_BTD), *prompt_PD.shape))
    return jnp.concatenate([prompt_BPD, x_BTD], axis=1)


METHODS = (Prompt,)
