"""Write token after token on the device, greedily or by drawing, until every row has ended.

Axes: B batch, S slot, V vocabulary, E tokens that end a text.
"""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.generation.engine import Weights, compile_programs, extend_rows, read_logits
from lora_jax.generation.sampling import Sampling, SamplingArrays, block_repeats, draw
from lora_jax.model.cache import EMPTY, Cache
from lora_jax.peft.method import MethodConfig


class Kind(NamedTuple):
    """What a decoding program is compiled for. The rest of a Sampling is data.

    Attributes:
        greedy: Whether it always takes the likeliest token.
        narrow: Whether top_k or top_p cuts something.
        no_repeat: If n, no n tokens in a row occur twice.
    """

    greedy: bool
    narrow: bool
    no_repeat: int | None

    @staticmethod
    def of(sampling: Sampling) -> "Kind":
        """Return the kind of program that a sampling needs."""
        narrow = sampling.top_k is not None or sampling.top_p is not None
        return Kind(sampling.temperature == 0, narrow and sampling.temperature > 0, sampling.no_repeat)


class Writing(NamedTuple):
    """Rows of text that are being written.

    Attributes:
        cache: The key/value cache.
        history_BS: The token in each slot. It is one slot ahead of the cache, because the last token is not
            read yet.
        left_B: How many tokens a row may still write. 0 for a row that has ended.
        numbers_B: The number of each row's prompt, which its draws depend on.
        n_written: How many tokens are written.
    """

    cache: Cache
    history_BS: jax.Array
    left_B: jax.Array
    numbers_B: jax.Array
    n_written: jax.Array


class Decoding(NamedTuple):
    """The two compiled functions that write tokens.

    Both return a new `Writing`; the one you pass in is no longer valid.

    `before` is the cache of the beginning that all rows share, or None.

    Attributes:
        begin: begin(logits_BV, writing, sampling, ends_E) writes the first token.
        go_on: go_on(weights, writing, before, n_steps, sampling, ends_E) writes up to n_steps more.
    """

    begin: jax.stages.Wrapped
    go_on: jax.stages.Wrapped


@lru_cache(maxsize=32)
def compile_decoding(model: ModelConfig, method: MethodConfig | None, kind: Kind) -> Decoding:
    """Compile the two programs of a model and method.

    One writes the first token after what was read. The other writes up to n_steps more.
    """
    hooks = compile_programs(model, method).hooks

    def choose(
        logits_BV: jax.Array, writing: Writing, sampling: SamplingArrays, ends_E: jax.Array
    ) -> Writing:
        cache, history_BS, left_B, numbers_B, n_written = writing
        if kind.no_repeat is not None:
            logits_BV = block_repeats(logits_BV, history_BS, cache.n_filled, kind.no_repeat)
        if kind.greedy:
            chosen_B = logits_BV.argmax(-1).astype(jnp.int32)
        else:
            chosen_B = draw(sampling, kind.narrow, logits_BV, numbers_B, n_written)
        chosen_B = jnp.where(left_B > 0, chosen_B, EMPTY)
        history_BS = jax.lax.dynamic_update_slice(history_BS, chosen_B[:, None], (0, cache.n_filled))
        has_ended_B = (chosen_B[:, None] == ends_E).any(-1)
        left_B = jnp.where(has_ended_B, 0, jnp.maximum(left_B - 1, 0))
        return Writing(cache, history_BS, left_B, numbers_B, n_written + 1)

    def step(
        weights: Weights, writing: Writing, before: Cache | None, sampling: SamplingArrays, ends_E: jax.Array
    ) -> Writing:
        token_B1 = jax.lax.dynamic_slice_in_dim(writing.history_BS, writing.cache.n_filled, 1, axis=1)
        real_B1 = token_B1 != EMPTY
        tokens_B1 = jnp.where(real_B1, token_B1, 0)
        x_B1D, cache = extend_rows(model, hooks, weights, writing.cache, tokens_B1, real_B1, before)
        logits_BV = read_logits(model, hooks, weights, x_B1D)[:, 0]
        return choose(logits_BV, writing._replace(cache=cache), sampling, ends_E)

    @partial(jax.jit, donate_argnums=1)
    def go_on(
        weights: Weights,
        writing: Writing,
        before: Cache | None,
        n_steps: jax.Array,
        sampling: SamplingArrays,
        ends_E: jax.Array,
    ) -> Writing:
        last = writing.n_written + n_steps
        return jax.lax.while_loop(
            lambda writing: (writing.n_written < last) & (writing.left_B > 0).any(),
            lambda writing: step(weights, writing, before, sampling, ends_E),
            writing,
        )

    return Decoding(jax.jit(choose, donate_argnums=1), go_on)
