"""Hooks: the places where a method may change the forward pass, and the functions that are called there."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax

from lora_jax.config import ModelConfig
from lora_jax.params import Params


class HookPoint(NamedTuple):
    """A place in the forward pass.

    Attributes:
        path: Path of the weight ("attn/q" inside a block, "head"), of the sublayer ("attn", "mlp"), or
            "embed".
        weights: Every weight in reach: the block's own, under their paths in the block and without a layer
            axis, and those outside the blocks.
        n_contract: Number of x's last axes that a matmul here sums over.
        key: Key of dropout, a different one at each place and layer. None if nothing is dropped.
    """

    path: str
    weights: Params
    n_contract: int = 1
    key: jax.Array | None = None


Apply = Callable[[jax.Array], jax.Array]


LinearHook = Callable[[HookPoint, jax.Array, Apply], jax.Array]
SublayerHook = Callable[[HookPoint, jax.Array, jax.Array], jax.Array]
KeyValueHook = Callable[[HookPoint, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
EmbedHook = Callable[[HookPoint, jax.Array, jax.Array], jax.Array]


class Hooks(NamedTuple):
    """What a method does to the forward pass. A hook that is None costs nothing.

    Axes: B batch, T position, S key position, J key/value heads, K head width, D model.

    Attributes:
        linear: (point, x, apply) -> y of a matrix multiplication. `apply(x)` is the multiplication with its
            bias, as it is without the hook.
        sublayer: (point, x, h) -> h. x is the input of the sublayer, and h what it adds to the residual
            stream.
        key_values: (point, k_BTJK, v_BTJK) -> (k_BSJK, v_BSJK), with `n_before` keys in front that every
            position sees.
        embed: (point, tokens_BT, x_BTD) -> x, as long as before or with `n_before` embeddings in front.
        n_before: Positions that stand before the first token. The first token then has position `n_before`.
    """

    linear: LinearHook | None = None
    sublayer: SublayerHook | None = None
    key_values: KeyValueHook | None = None
    embed: EmbedHook | None = None
    n_before: int = 0


NO_HOOKS = Hooks()


@dataclass(frozen=True)
class Pass:
    """What a forward pass hands to its parts.

    Attributes:
        config: The model.
        hooks: What a method does to it.
        key: Key of dropout. None if nothing is dropped.
    """

    config: ModelConfig
    hooks: Hooks = NO_HOOKS
    key: jax.Array | None = None


def chain_hooks(first: Hooks, second: Hooks) -> Hooks:
    """Return hooks that do both. The second method sees what the first made of the base."""
    return Hooks(
        linear=_chain_linear(first, second),
        sublayer=_chain_sublayer(first, second),
        key_values=_chain_key_values(first, second),
        embed=_chain_embed(first, second),
        n_before=first.n_before + second.n_before,
    )


def _chain_linear(first: Hooks, second: Hooks) -> LinearHook | None:
    one, two = first.linear, second.linear
    if one is None or two is None:
        return one or two
    return lambda point, x, apply: two(point, x, lambda x: one(point, x, apply))


def _chain_sublayer(first: Hooks, second: Hooks) -> SublayerHook | None:
    one, two = first.sublayer, second.sublayer
    if one is None or two is None:
        return one or two
    return lambda point, x, h: two(point, x, one(point, x, h))


def _chain_key_values(first: Hooks, second: Hooks) -> KeyValueHook | None:
    one, two = first.key_values, second.key_values
    if one is None or two is None:
        return one or two
    return lambda point, k, v: two(point, *one(point, k, v))


def _chain_embed(first: Hooks, second: Hooks) -> EmbedHook | None:
    one, two = first.embed, second.embed
    if one is None or two is None:
        return one or two
    return lambda point, tokens, x: two(point, tokens, one(point, tokens, x))


def fold_path(key: jax.Array | None, path: str) -> jax.Array | None:
    """Return the key of a place. It depends on the place's name and not on the order of calls."""
    return None if key is None else jax.random.fold_in(key, zlib.crc32(path.encode()))
