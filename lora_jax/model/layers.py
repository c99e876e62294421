"""The pieces of a transformer block, as functions of arrays.

Axes: B batch, T position, S key position, D model, H heads, J key/value heads, K head width, F feed-forward,
V vocabulary, Y layers.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.model.convention import is_counting


def linear(x: jax.Array, w: jax.Array, n_contract: int = 1) -> jax.Array:
    """Contract the last n_contract axes of x with the first n_contract axes of w; every matmul passes here.

    x: (..., *inputs), w: (*inputs, *outputs); returns (..., *outputs) in x's dtype.
    """
    outputs = w.shape[n_contract:]
    n_in = math.prod(w.shape[:n_contract])
    batch = x.shape[: x.ndim - n_contract]
    y = _matmul(x.reshape(-1, n_in), w.astype(x.dtype).reshape(n_in, -1))
    return y.reshape(*batch, *outputs)


@jax.custom_vjp
def _matmul(x_MI: jax.Array, w_IO: jax.Array) -> jax.Array:
    return x_MI @ w_IO


def _matmul_forward(x_MI: jax.Array, w_IO: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return x_MI @ w_IO, (x_MI, w_IO)


def _matmul_backward(saved: tuple[jax.Array, jax.Array], g_MO: jax.Array) -> tuple[jax.Array, jax.Array]:
    x_MI, w_IO = saved
    if jax.default_backend() != "cpu":
        return g_MO @ w_IO.T, x_MI.T @ g_MO
    # Without the barrier XLA's CPU backend fuses the elementwise backward into transposed copies of the
    # operands and computes it again for each product (docs/performance.md has the measurements).
    x_MI, g_MO = jax.lax.optimization_barrier((x_MI, g_MO))
    if x_MI.shape[1] <= g_MO.shape[1]:
        return g_MO @ w_IO.T, x_MI.T @ g_MO
    # The same numbers the other way round take 0.6 of the time, where more go in than come out.
    return g_MO @ w_IO.T, jax.lax.optimization_barrier(g_MO.T @ x_MI).T


_matmul.defvjp(_matmul_forward, _matmul_backward)


def layernorm(x: jax.Array, scale: jax.Array, bias: jax.Array | None, eps: float) -> jax.Array:
    """Layer normalisation over the last axis, computed in float32 (Ba et al. 2016, arXiv 1607.06450)."""
    normed = _normalise(True, eps, x, scale)
    return (normed if bias is None else normed + bias).astype(x.dtype)


def rmsnorm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """Root-mean-square normalisation over the last axis, in float32 (Zhang & Sennrich 2019, 1910.07467)."""
    return _normalise(False, eps, x, scale).astype(x.dtype)


def _normalise_and_scale(centred: bool, eps: float, x: jax.Array, scale: jax.Array) -> jax.Array:
    return _normalise_forward(centred, eps, x, scale)[0]


def _normalise_forward(
    centred: bool, eps: float, x: jax.Array, scale: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    h = x.astype(jnp.float32)
    mean = _mean(h) if centred else jnp.zeros_like(h[..., :1])
    h = h - mean
    inverse = jax.lax.rsqrt(_mean(jnp.square(h)) + eps)
    return h * inverse * scale, (x, mean, inverse, scale)


def _normalise_backward(
    centred: bool, eps: float, saved: tuple[jax.Array, ...], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Two means of a row instead of JAX's four, by products, which take a third of the time on a CPU."""
    x, mean, inverse, scale = saved
    if jax.default_backend() == "cpu":
        x, g = jax.lax.optimization_barrier((x, g))
    normed = (x.astype(jnp.float32) - mean) * inverse
    gs = g * scale
    dx = gs - normed * _mean(gs * normed)
    if centred:
        dx = dx - _mean(gs)
    return (dx * inverse).astype(x.dtype), sum_rows(g * normed)


_normalise = jax.custom_vjp(_normalise_and_scale, nondiff_argnums=(0, 1))
_normalise.defvjp(_normalise_forward, _normalise_backward)


def _mean(h: jax.Array) -> jax.Array:
    """Return the mean over the last axis, kept with size 1.

    XLA's CPU backend fuses a sum with what makes its terms, and then vectorises it in an order that depends
    on that: a model with an added zero (an adapter at its start) would differ from the base in the last bit.
    A product with 1/D is fused with nothing, and faster.
    """
    if jax.default_backend() != "cpu" or is_counting():
        return h.mean(-1, keepdims=True)
    D = h.shape[-1]
    return (h.reshape(-1, D) @ jnp.full((D, 1), 1 / D, h.dtype)).reshape(*h.shape[:-1], 1)


def sum_rows(g: jax.Array) -> jax.Array:
    """Return the sum over all axes but the last; on a CPU by a product, as in `_mean`."""
    D = g.shape[-1]
    if jax.default_backend() != "cpu" or is_counting():
        return g.reshape(-1, D).sum(0)
    g_MD = g.reshape(-1, D)
    return (jnp.ones((1, len(g_MD)), g.dtype) @ g_MD)[0]


def rope(config: ModelConfig, x_BTHK: jax.Array, positions: jax.Array) -> jax.Array:
    """Rotary positions in Llama's rotate-half layout (Su et al. 2021, arXiv 2104.09864).

    positions: (T,) or (B, T). The first config.rotary_dim of a head's numbers are rotated, the rest kept.
    """
    n_rotated = config.rotary_dim
    angle = positions.astype(jnp.float32)[..., None] * rope_frequencies(config)
    cos, sin = jnp.cos(angle)[..., None, :], jnp.sin(angle)[..., None, :]
    kept = x_BTHK[..., n_rotated:]
    first, second = jnp.split(x_BTHK[..., :n_rotated].astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    rotated = rotated.astype(x_BTHK.dtype)
    return rotated if n_rotated == x_BTHK.shape[-1] else jnp.concatenate([rotated, kept], axis=-1)


def rope_frequencies(config: ModelConfig) -> jax.Array:
    """Return the angle a position of each rotated pair, (rotary_dim / 2,), stretched as Llama 3.1 does."""
    n_rotated, scaling = config.rotary_dim, config.rope_scaling
    frequency = config.rope_theta ** (-jnp.arange(0, n_rotated, 2, dtype=jnp.float32) / n_rotated)
    if scaling is None:
        return frequency
    turns = scaling.original_context * frequency / (2 * math.pi)  # in the original context
    kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = jnp.clip(kept, 0.0, 1.0)
    return frequency * (kept + (1 - kept) / scaling.factor)


def _keep_inputs(activation: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Return an elementwise function that saves its inputs for the backward pass and nothing else.

    JAX saves the tanh and more beside, arrays as large as the widest of the model, whose writing and reading
    takes longer than to compute them again.
    """

    @jax.custom_vjp
    def apply(*inputs: jax.Array) -> jax.Array:
        return activation(*inputs)

    def forward(*inputs: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        return activation(*inputs), inputs

    def backward(inputs: tuple[jax.Array, ...], g: jax.Array) -> tuple[jax.Array, ...]:
        return jax.vjp(activation, *jax.lax.optimization_barrier(inputs))[1](g)

    apply.defvjp(forward, backward)
    return apply


gelu = _keep_inputs(partial(jax.nn.gelu, approximate=True))
gelu_exact = _keep_inputs(partial(jax.nn.gelu, approximate=False))
swiglu = _keep_inputs(lambda gate, up: jax.nn.silu(gate) * up)
geglu = _keep_inputs(lambda gate, up: jax.nn.gelu(gate, approximate=True) * up)
ACTIVATIONS = {"gelu": gelu, "gelu_exact": gelu_exact}
GATED_ACTIVATIONS = {"swiglu": swiglu, "geglu": geglu}  # (gate, up); Shazeer 2020, arXiv 2002.05202
