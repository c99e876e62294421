"""Gradient accumulation: read a batch in parts, one after another, and return the gradient of the whole."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lora_jax.params import Params

# (trainable, frozen, batch, dropout key or None) -> (mean loss, its gradient)
GradientOf = Callable[[Params, Params, Any, jax.Array | None], tuple[jax.Array, Params]]


class Accumulation(NamedTuple):
    """How a batch is read in parts.

    Attributes:
        n_parts: Number of parts.
        count_losses: Counts the losses in a part: the tokens or labels over which its mean loss is taken.
    """

    n_parts: int
    count_losses: Callable[[Any], jax.Array]


def accumulate(gradient_of: GradientOf, how: Accumulation) -> GradientOf:
    """Return a function that computes a batch's gradient part by part, in the memory of one part.

    The loss is the mean over all tokens of the batch. So each part is weighted by its number of tokens, and
    the sum is divided once, at the end. Each part has its own dropout key.

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
    """Reshape (B, ...) to (n_parts, B / n_parts, ...), dealt like cards, so that a mesh splits each part."""
    return jnp.swapaxes(array.reshape(-1, n_parts, *array.shape[1:]), 0, 1)
