"""Greedy completions of a batch of prompts, each step a full forward pass over a buffer of one shape.

What a fine-tuned model says is scored with it; it costs as many forward passes as there are new tokens.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.transformer import Inputs, forward
from lora_jax.params import Params, combine
from lora_jax.peft.method import Adapted, MethodConfig

STRIDE = 16  # buffers are as long as the longest prompt and its completion, rounded up to this

Decode = Callable[[Params, Params, jax.Array, jax.Array, jax.Array], jax.Array]


def complete_greedily(
    model: ModelConfig,
    config: MethodConfig,
    adapted: Adapted,
    prompts: Sequence[np.ndarray],
    n_new: int,
    end_id: int,
    batch_size: int = 32,
) -> list[list[int]]:
    """Return the completion of each prompt (token ids): at most n_new tokens, without the end token.

    Raises:
        LoraJaxError: an empty prompt, or one that leaves no room for a completion in the model's context.
    """
    before = config.build(model).hooks.n_before
    room = model.context - before
    for prompt in prompts:
        if not 0 < len(prompt) < room:
            raise LoraJaxError(
                f"a prompt has {len(prompt)} tokens, it must have from 1 to {room - 1} to leave room for a"
                f" completion in the context of {model.context}: shorten it (task.max_tokens) or fill it."
            )
    order = np.argsort([len(prompt) for prompt in prompts], kind="stable")
    decode = _make_decode(model, config, end_id)
    found: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        lengths = np.array([len(prompts[row]) for row in rows])
        n_positions = min(room, -(-(int(lengths.max()) + n_new) // STRIDE) * STRIDE)
        tokens_BT = np.full((batch_size, n_positions), end_id, np.int32)
        for line, row in enumerate(rows):
            tokens_BT[line, : lengths[line]] = prompts[row]
        lengths_B = np.ones(batch_size, np.int32)
        lengths_B[: len(rows)] = lengths
        stops_B = np.minimum(lengths_B + n_new, n_positions)
        arrays = (jnp.asarray(array) for array in (tokens_BT, lengths_B, stops_B))
        full_BT = np.asarray(decode(adapted.trainable, adapted.frozen, *arrays))
        for line, row in enumerate(rows):
            new = full_BT[line, lengths[line] : stops_B[line]].tolist()
            found[row] = new[: new.index(end_id)] if end_id in new else new
    return found


@lru_cache(maxsize=2)
def _make_decode(model: ModelConfig, config: MethodConfig, end_id: int) -> Decode:
    hooks = config.build(model).hooks

    @jax.jit
    def decode(
        trainable: Params, frozen: Params, tokens_BT: jax.Array, lengths_B: jax.Array, stops_B: jax.Array
    ) -> jax.Array:
        params, rows_B = combine(trainable, frozen), jnp.arange(len(tokens_BT))

        def extend(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            tokens_BT, lengths_B, done_B = carry
            # What lies behind a row's end is not seen: attention is causal.
            logits_BTV = forward(model, params, Inputs(tokens_BT), hooks)
            next_B = logits_BTV[rows_B, lengths_B - 1].argmax(-1).astype(tokens_BT.dtype)
            place_B = jnp.minimum(lengths_B, tokens_BT.shape[1] - 1)
            kept_B = tokens_BT[rows_B, place_B]
            tokens_BT = tokens_BT.at[rows_B, place_B].set(jnp.where(done_B, kept_B, next_B))
            lengths_B = jnp.where(done_B, lengths_B, lengths_B + 1)
            return tokens_BT, lengths_B, done_B | (next_B == end_id) | (lengths_B >= stops_B)

        start = (tokens_BT, lengths_B, lengths_B >= stops_B)
        return jax.lax.while_loop(lambda carry: ~carry[2].all(), extend, start)[0]

    return decode
