"""Which token comes next: the likeliest, or one drawn from a distribution whose tail may be cut.

Axes: B batch, V vocabulary, S slot.
"""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from lora_jax.errors import LoraJaxError
from lora_jax.model.cache import EMPTY
from lora_jax.ranges import POSITIVE_SHARE, TEMPERATURE, Count, Seed, check_fields

COLDEST = 1e-4  # the least temperature above 0, because it divides logits in the hundreds


class Sampling(NamedTuple):
    """How tokens are drawn.

    Temperature, `top_k` and `top_p` apply in this order, as in transformers. A draw depends only on the seed,
    the number of the prompt and the step, and not on the other rows of the batch.

    Attributes:
        temperature: Divides the logits. 0 always takes the likeliest token.
        top_k: Draw from this many of the likeliest tokens. None takes all.
        top_p: Draw from the smallest set of likeliest tokens whose probabilities sum to at least this. None
            takes all.
        seed: Seed of the draws.
        no_repeat: If n, no n tokens in a row occur twice. None blocks nothing.

    Reference: Holtzman et al. 2020 (arXiv 1904.09751), for `top_p`.
    """

    temperature: Annotated[float, TEMPERATURE] = 0.0
    top_k: Count | None = None
    top_p: Annotated[float, POSITIVE_SHARE] | None = None
    seed: Seed = 0
    no_repeat: Count | None = None

    def check(self) -> None:
        """Check every number against its range.

        Raises:
            LoraJaxError: A number is out of its range.
        """
        check_fields(self)
        if 0 < self.temperature < COLDEST:
            raise LoraJaxError(
                f"temperature is {self.temperature}, above 0 it must be at least {COLDEST:g}: raise it,"
                " or ask for 0, the likeliest token."
            )


GREEDY = Sampling()


class SamplingArrays(NamedTuple):
    """A Sampling's numbers as data, so that another temperature compiles nothing.

    Attributes:
        temperature: The temperature.
        top_k: The number of likeliest tokens to draw from. The vocabulary's size takes all.
        top_p: The probability of the tokens to draw from. 1 takes all.
        seed: Seed of the draws.
    """

    temperature: jax.Array
    top_k: jax.Array
    top_p: jax.Array
    seed: jax.Array


def make_sampling_arrays(sampling: Sampling, vocab_size: int) -> SamplingArrays:
    """Return the numbers of a Sampling. Numbers that are None get a value that changes nothing."""
    top_k = vocab_size if sampling.top_k is None else min(sampling.top_k, vocab_size)
    top_p = 1.0 if sampling.top_p is None else sampling.top_p
    return SamplingArrays(
        jnp.float32(sampling.temperature), jnp.int32(top_k), jnp.float32(top_p), jnp.uint32(sampling.seed)
    )


def draw(
    sampling: SamplingArrays, narrow: bool, logits_BV: jax.Array, numbers_B: jax.Array, step: jax.Array
) -> jax.Array:
    """Draw a token for each row from softmax(logits / temperature), after cutting its tail.

    Args:
        sampling: How tokens are drawn.
        narrow: Whether top_k or top_p cuts something. If not, the vocabulary need not be sorted.
        logits_BV: The logits.
        numbers_B: Number of each row's prompt, which its draws depend on.
        step: Number of the token.

    Returns:
        The tokens, int32 (B,).
    """
    logits_BV = logits_BV / sampling.temperature
    if narrow:
        logits_BV = cut(logits_BV, sampling.top_k, sampling.top_p)
    base = jax.random.fold_in(jax.random.key(sampling.seed), step)
    keys_B = jax.vmap(lambda number: jax.random.fold_in(base, number))(numbers_B)
    return jax.vmap(jax.random.categorical)(keys_B, logits_BV).astype(jnp.int32)


def cut(logits_BV: jax.Array, top_k: jax.Array, top_p: jax.Array) -> jax.Array:
    """Return logits with -inf for tokens outside the top_k likeliest and outside the set that holds top_p.

    The probabilities for top_p are those after the cut to top_k. Tokens exactly as likely as the last one
    kept are kept too.
    """
    sorted_BV = -jnp.sort(-logits_BV, axis=-1)
    in_k_V = jnp.arange(sorted_BV.shape[-1]) < top_k
    probability_BV = jax.nn.softmax(jnp.where(in_k_V, sorted_BV, -jnp.inf), axis=-1)
    # the total probability of the likelier tokens
    before_BV = jnp.cumsum(probability_BV, axis=-1) - probability_BV
    # Sums may round up to 1 before the least likely tokens. A top_p of 1 must keep those too.
    kept_BV = in_k_V & ((before_BV < top_p) | (top_p >= 1))
    least_B1 = jnp.where(kept_BV, sorted_BV, jnp.inf).min(axis=-1, keepdims=True)
    return jnp.where(logits_BV < least_B1, -jnp.inf, logits_BV)


def block_repeats(scores_BV: jax.Array, history_BS: jax.Array, n_filled: jax.Array, n: int) -> jax.Array:
    """Return scores with -inf for each token that would repeat a sequence of n tokens.

    Args:
        scores_BV: The scores.
        history_BS: The token in each slot, EMPTY if there is none. Slots up to n_filled are written. A row's
            tokens lie in order, and EMPTY slots come only before them.
        n_filled: How many slots are written.
        n: Length of the sequences.
    """
    S = history_BS.shape[1]
    if n > S:  # there is no room for n tokens in a row
        return scores_BV
    tail_BN = jax.lax.dynamic_slice_in_dim(history_BS, jnp.maximum(n_filled - (n - 1), 0), n - 1, axis=1)
    starts_W = jnp.arange(S - n + 1)
    grams_BWN = history_BS[:, starts_W[:, None] + jnp.arange(n)]
    same_BW = (grams_BWN[:, :, :-1] == tail_BN[:, None]).all(-1) & (grams_BWN != EMPTY).all(-1)
    same_BW &= starts_W + n <= n_filled
    # an index outside the vocabulary is dropped
    banned_BW = jnp.where(same_BW, grams_BWN[:, :, -1], scores_BV.shape[1])
    rows_B1 = jnp.arange(len(scores_BV))[:, None]
    return scores_BV.at[rows_B1, banned_BW].set(-jnp.inf, mode="drop")
