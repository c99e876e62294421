"""The pieces of a transformer block, as functions of arrays.

Axes: B batch, T position, S key position, D model, H heads, J key/value heads, K head width, F feed-forward,
V vocabulary, Y layers.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.model.cpu_gradients import keep_inputs, matmul, normalise


def linear(x: jax.Array, w: jax.Array, n_contract: int = 1) -> jax.Array:
    """Contract the last n_contract axes of x with the first n_contract axes of w.

    Every matrix multiplication of the model passes here.

    Args:
        x: (..., *inputs).
        w: (*inputs, *outputs).
        n_contract: Number of axes that are contracted.

    Returns:
        (..., *outputs) in x's dtype.
    """
    outputs = w.shape[n_contract:]
    n_in = math.prod(w.shape[:n_contract])
    batch = x.shape[: x.ndim - n_contract]
    y = matmul(x.reshape(-1, n_in), w.astype(x.dtype).reshape(n_in, -1))
    return y.reshape(*batch, *outputs)


def layernorm(x: jax.Array, scale: jax.Array, bias: jax.Array | None, eps: float) -> jax.Array:
    """Layer normalisation over the last axis, computed in float32 (Ba et al. 2016, arXiv 1607.06450)."""
    normed = normalise(True, eps, x, scale)
    return (normed if bias is None else normed + bias).astype(x.dtype)


def rmsnorm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """Root-mean-square normalisation over the last axis, in float32 (Zhang & Sennrich 2019, 1910.07467)."""
    return normalise(False, eps, x, scale).astype(x.dtype)


def rope(config: ModelConfig, x_BTHK: jax.Array, positions: jax.Array) -> jax.Array:
    """Apply rotary positions in Llama's rotate-half layout.

    The first config.rotary_dim numbers of a head are rotated. The others stay as they are.

    Args:
        config: The model.
        x_BTHK: Queries or keys.
        positions: Positions, (T,) or (B, T).

    Reference: Su et al. 2021 (arXiv 2104.09864).
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
    """Return the angle per position of each rotated pair, (rotary_dim / 2,).

    If the config has `rope_scaling`, the angles are stretched as in Llama 3.1.
    """
    n_rotated, scaling = config.rotary_dim, config.rope_scaling
    frequency = config.rope_theta ** (-jnp.arange(0, n_rotated, 2, dtype=jnp.float32) / n_rotated)
    if scaling is None:
        return frequency
    turns = scaling.original_context * frequency / (2 * math.pi)  # in the original context
    kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = jnp.clip(kept, 0.0, 1.0)
    return frequency * (kept + (1 - kept) / scaling.factor)


gelu = keep_inputs(partial(jax.nn.gelu, approximate=True))
gelu_exact = keep_inputs(partial(jax.nn.gelu, approximate=False))
swiglu = keep_inputs(lambda gate, up: jax.nn.silu(gate) * up)
geglu = keep_inputs(lambda gate, up: jax.nn.gelu(gate, approximate=True) * up)
ACTIVATIONS = {"gelu": gelu, "gelu_exact": gelu_exact}
GATED_ACTIVATIONS = {"swiglu": swiglu, "geglu": geglu}  # (gate, up); Shazeer 2020, arXiv 2002.05202
