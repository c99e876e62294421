"""Gradients of our own for XLA's CPU backend: of a product, of norms and of elementwise functions.

Each computes the formula in `layers`. How it computes it depends on what a CPU is slow at. The gradient of
attention is in `attention`. Axes: M rows, I inputs, O outputs, D width.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lora_jax.model.compiled_for import on_cpu
from lora_jax.model.convention import is_counting


@jax.custom_vjp
def matmul(x_MI: jax.Array, w_IO: jax.Array) -> jax.Array:
    """Return x w."""
    return x_MI @ w_IO


def _matmul_forward(x_MI: jax.Array, w_IO: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return x_MI @ w_IO, (x_MI, w_IO)


def _matmul_backward(saved: tuple[jax.Array, jax.Array], g_MO: jax.Array) -> tuple[jax.Array, jax.Array]:
    x_MI, w_IO = saved
    if not on_cpu():
        return g_MO @ w_IO.T, x_MI.T @ g_MO
    # Without the barrier XLA's CPU backend fuses the elementwise backward into transposed copies of the
    # operands and computes it again for each product (docs/performance.md has the measurements).
    x_MI, g_MO = jax.lax.optimization_barrier((x_MI, g_MO))
    if x_MI.shape[1] <= g_MO.shape[1]:
        return g_MO @ w_IO.T, x_MI.T @ g_MO
    # If more numbers go in than come out, the transposed product takes 0.6 of the time.
    return g_MO @ w_IO.T, jax.lax.optimization_barrier(g_MO.T @ x_MI).T


matmul.defvjp(_matmul_forward, _matmul_backward)


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
    """Compute the gradient from two means for each row. JAX takes four.

    We compute the means by products, which take a third of the time on a CPU.
    """
    x, mean, inverse, scale = saved
    if on_cpu():
        x, g = jax.lax.optimization_barrier((x, g))
    normed = (x.astype(jnp.float32) - mean) * inverse
    gs = g * scale
    dx = gs - normed * _mean(gs * normed)
    if centred:
        dx = dx - _mean(gs)
    return (dx * inverse).astype(x.dtype), sum_rows(g * normed)


# (centred, eps, x, scale) -> h / sqrt(mean(h^2) + eps) * scale over the last axis in float32. If centred, h
# is x - mean(x), otherwise x.
normalise = jax.custom_vjp(_normalise_and_scale, nondiff_argnums=(0, 1))
normalise.defvjp(_normalise_forward, _normalise_backward)


def _mean(h: jax.Array) -> jax.Array:
    """Return the mean over the last axis, kept with size 1.

    XLA's CPU backend fuses a sum with the computation of its terms, and the order of the sum then depends on
    that computation. So a model plus zero (an adapter at its start) would differ from the base in the last
    bit. A product with 1/D is not fused with anything, and it is faster.
    """
    if not on_cpu() or is_counting():
        return h.mean(-1, keepdims=True)
    D = h.shape[-1]
    return (h.reshape(-1, D) @ jnp.full((D, 1), 1 / D, h.dtype)).reshape(*h.shape[:-1], 1)


def sum_rows(g: jax.Array) -> jax.Array:
    """Return the sum over all axes but the last. On a CPU we use a product, as in `_mean`."""
    D = g.shape[-1]
    if not on_cpu() or is_counting():
        return g.reshape(-1, D).sum(0)
    g_MD = g.reshape(-1, D)
    return (jnp.ones((1, len(g_MD)), g.dtype) @ g_MD)[0]


def keep_inputs(activation: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Return an elementwise function that saves only its inputs for the backward pass.

    JAX also saves tanh and more, in arrays as large as the widest of the model. Writing and reading them
    takes longer than computing them again.
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
