"""Attention to earlier tokens: we keep their keys and values, and add a few tokens at a time.

Axes: B batch, T new position, S slot, P slot of a shared cache, H heads, J key/value heads, G queries per
key, K head width, D model.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.hooks import NO_HOOKS, Hooks, Pass
from lora_jax.model.relative import relate, score_buckets
from lora_jax.model.stacks import TOP_BLOCKS, inside_block
from lora_jax.model.transformer import Inputs, Layout, apply_block, compute_dtype, embed, finish
from lora_jax.params import Params

EMPTY = -1  # the position of a slot that holds no token


class Unstacked(NamedTuple):
    """The weights of a model by block. A loop over stacked weights would copy each one before use.

    Attributes:
        outside: The weights outside the blocks, by path.
        blocks: The weights of each block, by their path inside the block, such as "attn/q".
    """

    outside: Params
    blocks: tuple[Params, ...]


class Cache(NamedTuple):
    """The keys and values of the tokens that were read.

    In these layouts a query meets the keys, and its weights meet the values, row by row of memory. On a CPU
    at batch 32 this takes a twelfth of the time that keys as (B, J, K, S) need in the other layout, (B, J, S,
    K).

    All rows fill the same slots. If a row has no token in a slot, the slot is EMPTY and nothing sees it. So
    rows of unequal length lie side by side, padded in front. Positions count a row's own tokens.

    Attributes:
        keys: Keys of each layer, (B, J, K, S), after norms and rotation.
        values: Values of each layer, (B, J, S, K).
        positions_BS: Position of the token in each slot, int32.
        n_filled: How many slots are filled, int32 (). It is the same in all rows.
    """

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    positions_BS: jax.Array
    n_filled: jax.Array

    @property
    def n_slots(self) -> int:
        """How many slots there are, S."""
        return self.positions_BS.shape[1]


def unstack(params: Params, n_layers: int) -> Unstacked:
    """Return weights by block, from the first to the last, whatever stacks they are in.

    Args:
        params: Weights by path.
        n_layers: Number of blocks. A block without any of these weights is empty, so that `join` can put
            trees together.
    """
    blocks: list[Params] = [{} for _ in range(n_layers)]
    for path, weight in params.items():
        inner = inside_block(path)
        if inner is not None:
            first = n_layers - len(weight) if path.startswith(TOP_BLOCKS) else 0
            for y in range(len(weight)):
                blocks[first + y][inner] = weight[y]
    return Unstacked({path: w for path, w in params.items() if inside_block(path) is None}, tuple(blocks))


def join(first: Unstacked, second: Unstacked) -> Unstacked:
    """Return the weights of two trees. They must not share a path."""
    blocks = tuple({**a, **b} for a, b in zip(first.blocks, second.blocks, strict=True))
    return Unstacked({**first.outside, **second.outside}, blocks)


def empty_cache(config: ModelConfig, n_layers: int, batch: int, n_slots: int) -> Cache:
    """Return an empty cache.

    Raises:
        LoraJaxError: The model is an encoder, which has no before and after.
    """
    if not config.causal:
        raise LoraJaxError("an encoder sees all of a text at once and has no cache: choose a decoder.")
    # Each layer has arrays of its own, so that a step can write into all of them in place.
    keys, values = (
        tuple(jnp.zeros((batch, config.kv_heads, *shape), compute_dtype(config)) for _ in range(n_layers))
        for shape in ((config.head_dim, n_slots), (n_slots, config.head_dim))
    )
    return Cache(keys, values, jnp.full((batch, n_slots), EMPTY, jnp.int32), jnp.int32(0))


def start_cache(
    config: ModelConfig, weights: Unstacked, batch: int, n_slots: int, hooks: Hooks = NO_HOOKS
) -> Cache:
    """Return a cache that holds only what a method puts before the first token.

    Raises:
        LoraJaxError: The model is an encoder, or the cache has too few slots for what the method puts there.
    """
    if n_slots < hooks.n_before:
        raise LoraJaxError(f"the cache has {n_slots} slots and the method puts {hooks.n_before} in it.")
    cache = empty_cache(config, len(weights.blocks), batch, n_slots)
    if not hooks.n_before:
        return cache
    nothing = Inputs(jnp.zeros((batch, 0), jnp.int32), positions_BT=jnp.zeros((batch, 0), jnp.int32))
    this = Pass(config, hooks)
    embedded = embed(this, weights.outside, nothing)
    before_BT = jnp.broadcast_to(jnp.arange(hooks.n_before, dtype=jnp.int32), (batch, hooks.n_before))
    return _read(this, weights, cache, embedded, before_BT, None)[1]


def extend(
    this: Pass,
    weights: Unstacked,
    cache: Cache,
    tokens_BT: jax.Array,
    real_BT: jax.Array | None = None,
    shared: Cache | None = None,
) -> tuple[jax.Array, Cache]:
    """Read T more tokens of each row. The caller keeps T slots of the cache free.

    Args:
        this: The pass, without a key, because nothing is dropped while reading.
        weights: The weights by block.
        cache: What was read before.
        tokens_BT: The tokens.
        real_BT: False if a row has no token there. Its states there mean nothing. None if every token is
            real.
        shared: A cache of one row that all rows read before anything in `cache`, including what a method puts
            before a text. `cache` then starts empty.

    Returns:
        The hidden states (B, T, D), for the head, and the new cache.
    """
    hooks = this.hooks
    ends_B = _next_positions(cache, hooks)
    if shared is not None:
        ends_B = jnp.maximum(ends_B, _next_positions(shared, hooks))
    if real_BT is None:
        real_BT = jnp.ones(tokens_BT.shape, bool)
    positions_BT = ends_B[:, None] + jnp.cumsum(real_BT, axis=1, dtype=jnp.int32) - 1
    inputs = Inputs(tokens_BT, positions_BT=jnp.maximum(positions_BT - hooks.n_before, 0))
    x_BTD, layout = embed(this, weights.outside, inputs)
    n_prompt = x_BTD.shape[1] - tokens_BT.shape[1]  # the cache holds the prompt since the start
    embedded = x_BTD[:, n_prompt:], Layout(layout.positions[:, n_prompt:], None)
    return _read(this, weights, cache, embedded, jnp.where(real_BT, positions_BT, EMPTY), shared)


def _next_positions(cache: Cache, hooks: Hooks) -> jax.Array:
    return jnp.maximum(cache.positions_BS.max(axis=1, initial=EMPTY) + 1, hooks.n_before)


def _read(
    this: Pass,
    weights: Unstacked,
    cache: Cache,
    embedded: tuple[jax.Array, Layout],
    kept_BW: jax.Array,
    shared: Cache | None,
) -> tuple[jax.Array, Cache]:
    """Run the blocks. The last W keys of each block go into the cache, with the positions kept_BW."""
    config, (x_BTD, layout) = this.config, embedded
    T, W = x_BTD.shape[1], kept_BW.shape[1]
    first = cache.n_filled
    positions_BS = jax.lax.dynamic_update_slice(cache.positions_BS, kept_BW, (0, first))
    slots_S, slots_T = jnp.arange(cache.n_slots), first + W - T + jnp.arange(T)
    seen_BTS = (positions_BS != EMPTY)[:, None] & (slots_S <= slots_T[:, None])
    # A row always sees its own slot. Otherwise the softmax of a row without a token would be empty, so NaN.
    seen_BTS |= slots_S == slots_T[:, None]
    k_positions, bias_BHTS = positions_BS, None  # of the shared keys and then the row's own, as in `_attend`
    if shared is not None:
        in_front = jnp.broadcast_to(shared.positions_BS, (len(positions_BS), shared.n_slots))
        k_positions = jnp.concatenate([in_front, positions_BS], axis=1)
    if config.positions == "t5":
        bias_BHTS = score_buckets(config, weights.outside["relative_bias"], layout.positions, k_positions)
    keys, values = list(cache.keys), list(cache.values)
    for y, block in enumerate(weights.blocks):

        def attend_to(
            block: Params,
            q_BTHK: jax.Array,
            k_BTJK: jax.Array,
            v_BTJK: jax.Array,
            y: int = y,
            bias_BHTS: jax.Array | None = bias_BHTS,
        ) -> jax.Array:
            if config.positions == "transformer_xl":
                q_BTHK, bias_BHTS = relate(config, block, q_BTHK, layout.positions, k_positions)
            k_BJKW = k_BTJK[:, k_BTJK.shape[1] - W :].transpose(0, 2, 3, 1)
            v_BJWK = v_BTJK[:, v_BTJK.shape[1] - W :].transpose(0, 2, 1, 3)
            keys[y] = jax.lax.dynamic_update_slice(keys[y], k_BJKW, (0, 0, 0, first))
            values[y] = jax.lax.dynamic_update_slice(values[y], v_BJWK, (0, 0, first, 0))
            before = None if shared is None else (shared.keys[y], shared.values[y], shared.positions_BS)
            return _attend(q_BTHK, keys[y], values[y], seen_BTS, before, bias_BHTS)

        reach = block if this.hooks is NO_HOOKS else {**weights.outside, **block}
        x_BTD = apply_block(this, reach, x_BTD, layout, attend_to)
    filled = Cache(tuple(keys), tuple(values), positions_BS, first + W)
    return finish(config, weights.outside, x_BTD), filled


def _attend(
    q_BTHK: jax.Array,
    k_BJKS: jax.Array,
    v_BJSK: jax.Array,
    seen_BTS: jax.Array,
    shared: tuple[jax.Array, jax.Array, jax.Array] | None,
    bias_BHTS: jax.Array | None,
) -> jax.Array:
    """Attend to the shared row and then to the cache: softmax(q k^T / sqrt(K)) v over both.

    The shared keys meet the queries of all rows in one product (Juravsky et al. 2024, arXiv 2402.05099).
    """
    B, T, H, K = q_BTHK.shape
    J, S = v_BJSK.shape[1:3]
    q_BJGTK = (q_BTHK * K**-0.5).reshape(B, T, J, H // J, K).transpose(0, 2, 3, 1, 4)
    scores_BJGTS = jnp.einsum("bjgtk,bjks->bjgts", q_BJGTK, k_BJKS).astype(jnp.float32)
    scores_BJGTS = jnp.where(seen_BTS[:, None, None], scores_BJGTS, -jnp.inf)
    if shared is not None:
        k_1JKP, _, positions_1P = shared
        before_BJGTP = jnp.einsum("bjgtk,jkp->bjgtp", q_BJGTK, k_1JKP[0]).astype(jnp.float32)
        before_BJGTP = jnp.where(positions_1P[0] != EMPTY, before_BJGTP, -jnp.inf)
        scores_BJGTS = jnp.concatenate([before_BJGTP, scores_BJGTS], axis=-1)
    if bias_BHTS is not None:  # for all keys, the shared ones in front
        scores_BJGTS += bias_BHTS.reshape(len(bias_BHTS), J, H // J, *bias_BHTS.shape[2:])
    weights = jax.nn.softmax(scores_BJGTS, axis=-1).astype(v_BJSK.dtype)
    n_shared = weights.shape[-1] - S
    h_BJGTK = jnp.einsum("bjgts,bjsk->bjgtk", weights[..., n_shared:], v_BJSK)
    if shared is not None:
        h_BJGTK += jnp.einsum("bjgtp,jpk->bjgtk", weights[..., :n_shared], shared[1][0])
    return h_BJGTK.transpose(0, 3, 1, 2, 4).reshape(B, T, H, K)
