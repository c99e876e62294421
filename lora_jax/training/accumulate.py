"""Gradient accumulation: a batch is read in parts, one after another, and has the gradient of the whole."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lora_jax.params import Params

# (trainable, frozen, batch, key of dropout or None) -> (mean loss, its gradient)
GradientOf = Callable[[Params, Params, Any, jax.Array | None], tuple[jax.Array, Params]]


class Accumulation(NamedTuple):
    """How a batch is read in parts.

    Attributes:
        n_parts: Number of parts.
        count_losses: Function of a part. It returns over how many losses (tokens or labels) the part's mean
            is.
    """

    n_parts: int
    count_losses: Callable[[Any], jax.Array]  # of a batch: tokens or labels, a number


def accumulate(gradient_of: GradientOf, how: Accumulation) -> GradientOf:
    """Make a gradient function of a whole batch that computes it part by part, in the memory of one part.

    The loss is the mean over all tokens of the batch. So each part counts by its tokens, and the sum is
    divided once, at the end. Each part has a dropout key of its own.

    Args:
        gradient_of: Loss and gradient of a batch.
        how: How the batch is split.
    """

    def gradient_of_parts(
        trainable: Params, frozen: Params, batch: Any, key: jax.Array | None
    ) -> tuple[jax.Array, Params]:
        def add(carry: Any, numbered: Any) -> tuple[Any, None]:
            number, part = numbered
            own_key = None if key is None else jax.random.fold_in(key, number)
            found = gradient_of(trainable, frozen, part, own_key)
            n = how.count_losses(part)
            total, summed = carry
            return (total + n, jax.tree.map(lambda so_far, mean: so_far + n * mean, summed, found)), None

        nothing = jnp.zeros((), jnp.float32), jax.tree.map(jnp.zeros_like, trainable)
        parts = jax.tree.map(lambda array: _deal(jnp.asarray(array), how.n_parts), batch)
        numbers = jnp.arange(how.n_parts)
        (total, summed), _ = jax.lax.scan(add, (jnp.zeros((), jnp.float32), nothing), (numbers, parts))
        return jax.tree.map(lambda array: array / total, summed)

    return gradient_of_parts


def _deal(array: jax.Array, n_parts: int) -> jax.Array:
    """Return (B, ...) as (n_parts, B / n_parts, ...), dealt like cards: a mesh splits every part alike."""
    return jnp.swapaxes(array.reshape(-1, n_parts, *array.shape[1:]), 0, 1)
