"""An engine: a model's weights in the form that reading needs, and the programs that read.

A program is compiled once for each shape.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.generation.shapes import CHUNK
from lora_jax.model.cache import Cache, Unstacked, empty_cache, extend, join, start_cache, unstack
from lora_jax.model.hooks import NO_HOOKS, Hooks, Pass
from lora_jax.model.transformer import read_head
from lora_jax.params import Params, combine
from lora_jax.peft.method import Adapted, MethodConfig
from lora_jax.peft.stacking import program, split_shared


class Weights(NamedTuple):
    """The weights that a batch is read with.

    Attributes:
        shared: The weights that all rows share.
        own: What each row has for itself, (B, ...). Empty if all rows have one adapter or none.
    """

    shared: Unstacked
    own: Params


# (weights, cache, tokens_BT, real_BT, shared cache) -> (hidden states (B, T, D), cache)
Extend = Callable[[Weights, Cache, jax.Array, jax.Array, Cache | None], tuple[jax.Array, Cache]]


# For vmap: every array of a cache has a row axis in front, except the count of its filled slots.
ROWS = Cache(0, 0, 0, None)  # pyright: ignore[reportArgumentType]


def _map_rows(cache: Cache, change: Callable[[jax.Array], jax.Array]) -> Cache:
    keys, values, positions_BS = jax.tree.map(change, (cache.keys, cache.values, cache.positions_BS))
    return Cache(keys, values, positions_BS, cache.n_filled)


def extend_rows(
    model: ModelConfig,
    hooks: Hooks,
    weights: Weights,
    cache: Cache,
    tokens_BT: jax.Array,
    real_BT: jax.Array,
    before: Cache | None = None,
) -> tuple[jax.Array, Cache]:
    """Call `model.cache.extend`, each row with its own adapter if rows have some.

    The base's products stay one for all rows. Only the rows' own weights are read row by row.
    """
    this = Pass(model, hooks)
    if not weights.own:
        return extend(this, weights.shared, cache, tokens_BT, real_BT, before)

    def one(own: Params, cache: Cache, tokens_T: jax.Array, real_T: jax.Array) -> tuple[jax.Array, Cache]:
        row = _map_rows(cache, lambda x: x[None])
        whole = join(weights.shared, unstack(own, model.n_layers))
        x_1TD, row = extend(this, whole, row, tokens_T[None], real_T[None], before)
        return x_1TD[0], _map_rows(row, lambda x: x[0])

    return jax.vmap(one, in_axes=(0, ROWS, 0, 0), out_axes=(0, ROWS))(weights.own, cache, tokens_BT, real_BT)


def read_logits(model: ModelConfig, hooks: Hooks, weights: Weights, x_BTD: jax.Array) -> jax.Array:
    """Return the logits (B, T, V) of hidden states. If rows have adapters, each row has its own head."""
    if not weights.own:
        return read_head(model, weights.shared.outside, x_BTD, hooks)

    def one(own: Params, x_TD: jax.Array) -> jax.Array:
        outside = {**weights.shared.outside, **unstack(own, model.n_layers).outside}
        return read_head(model, outside, x_TD[None], hooks)[0]

    return jax.vmap(one)(weights.own, x_BTD)


class Programs(NamedTuple):
    """The compiled functions of one model and method. JAX keeps one program for each shape of arguments.

    Attributes:
        hooks: What the method changes in the pass.
        start: Maps (weights, batch, n_slots) to a Cache.
        read: Maps Extend's arguments to the logits (B, V) of the last slot and the cache.
    """

    hooks: Hooks
    start: Callable[..., Cache]
    read: Callable[..., tuple[jax.Array, Cache]]


@lru_cache(maxsize=16)
def compile_programs(model: ModelConfig, method: MethodConfig | None) -> Programs:
    """Return the programs of a model and method. Engines of equal model and method share them."""
    hooks = NO_HOOKS if method is None else method.build(model).hooks

    @partial(jax.jit, static_argnums=(1, 2))
    def start(weights: Weights, batch: int, n_slots: int) -> Cache:
        if not (weights.own and hooks.n_before):
            return start_cache(model, weights.shared, batch, n_slots, hooks)

        def one(own: Params) -> Cache:
            cache = start_cache(model, join(weights.shared, unstack(own, model.n_layers)), 1, n_slots, hooks)
            return _map_rows(cache, lambda x: x[0])

        return jax.vmap(one, out_axes=ROWS)(weights.own)

    @partial(jax.jit, donate_argnums=1)
    def read(weights: Weights, cache: Cache, tokens_BT: Any, real_BT: Any, before: Cache | None):
        x_BTD, cache = extend_rows(model, hooks, weights, cache, tokens_BT, real_BT, before)
        return read_logits(model, hooks, weights, x_BTD[:, -1:])[:, 0], cache

    return Programs(hooks, start, read)


class Engine:
    """A language model that is ready to read and write, alone or with adapters of one method.

    Args:
        model: The shape of the model.
        weights: A tree of weights. With `method`, one or several adapted models of one base instead, with
            equal or padded ranks (`peft.stacking.adapt_all`). Each row of a batch then names its adapter.
        method: The method of the adapters.

    Raises:
        LoraJaxError: The model is an encoder or a classifier, which does not predict words.
    """

    def __init__(
        self, model: ModelConfig, weights: Params | Sequence[Adapted], method: MethodConfig | None = None
    ) -> None:
        if not model.has_lm_head:
            raise LoraJaxError(
                "the model is an encoder or a classifier, which predicts no words: choose a language model,"
                " such as smollm2."
            )
        self.model = model
        if isinstance(weights, dict):
            adapted, method = [Adapted({}, weights)], None
        else:
            adapted = list(weights)
        several = len(adapted) > 1
        # With several adapters, scales are data. With one, they can be the configuration's.
        self.method = program(method) if several and method is not None else method
        self.programs = compile_programs(model, self.method)
        self.n_adapters = len(adapted)
        if several:
            everything = [combine(one.trainable, one.frozen) for one in adapted]
            shared, own = split_shared(everything)
            self._own_G = jax.tree.map(lambda *leaves: jnp.stack(leaves), *own)
        else:
            shared, self._own_G = combine(*adapted[0]), {}
        self._shared = jax.jit(unstack, static_argnums=1)(shared, model.n_layers)

    @property
    def n_before(self) -> int:
        """Number of positions that the method puts in front of the first token."""
        return self.programs.hooks.n_before

    @property
    def room(self) -> int:
        """Number of tokens that fit in the model's context."""
        return self.model.context - self.n_before

    def weights_of(self, adapters: Sequence[int] | None, n_rows: int) -> Weights:
        """Return the weights for a batch.

        Args:
            adapters: Index of each row's adapter. Rows beyond the list, and all rows for None, use adapter 0.
            n_rows: Rows of the batch.

        Raises:
            LoraJaxError: There is no adapter with that index.
        """
        for number in adapters or ():
            self._check_number(number)
        if not self._own_G:
            return Weights(self._shared, {})
        index_B = np.zeros(n_rows, np.int32)
        if adapters is not None:
            index_B[: len(adapters)] = adapters
        return Weights(self._shared, {path: w[index_B] for path, w in self._own_G.items()})

    def weights_with(self, adapter: int) -> Weights:
        """Return the weights for rows that all use one adapter.

        Raises:
            LoraJaxError: There is no adapter with that index.
        """
        self._check_number(adapter)
        if not self._own_G:
            return Weights(self._shared, {})
        own = {path: w[adapter] for path, w in self._own_G.items()}
        return Weights(join(self._shared, unstack(own, self.model.n_layers)), {})

    def _check_number(self, adapter: int) -> None:
        if not 0 <= adapter < self.n_adapters:
            raise LoraJaxError(
                f"a row asks for adapter {adapter}, the engine has {self.n_adapters}, counted from 0:"
                " correct it."
            )

    def start(self, weights: Weights, n_rows: int, n_slots: int, before: Cache | None = None) -> Cache:
        """Make a cache for a batch, with what the method puts in front of a text.

        Args:
            weights: The weights of the rows.
            n_rows: Rows of the batch.
            n_slots: Number of tokens that the cache can hold.
            before: The cache of a beginning that all rows share. It holds the method's part already.
        """
        if before is not None:
            return empty_cache(self.model, self.model.n_layers, n_rows, n_slots)
        return self.programs.start(weights, n_rows, n_slots + self.n_before)

    def read(
        self,
        weights: Weights,
        cache: Cache,
        tokens_BT: np.ndarray,
        real_BT: np.ndarray,
        before: Cache | None = None,
    ) -> tuple[jax.Array, Cache]:
        """Read padded rows (shapes.pad_in_front) in chunks.

        The cache you pass in is no longer valid afterwards. Use the one that is returned.

        Returns:
            The logits of the last position (B, V), and the new cache.
        """
        length = tokens_BT.shape[1]
        cuts = [0, *range(length % CHUNK or min(length, CHUNK), length + 1, CHUNK)]
        logits_BV = None
        for start, end in pairwise(cuts):
            part = (slice(None), slice(start, end))
            logits_BV, cache = self.programs.read(weights, cache, tokens_BT[part], real_BT[part], before)
        assert logits_BV is not None
        return logits_BV, cache
