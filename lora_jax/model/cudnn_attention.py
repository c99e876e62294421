"""cuDNN's attention on NVIDIA GPUs, which never holds the scores (Dao 2023, arXiv 2307.08691).

Axes: B batch, T position, H heads, J key/value heads, K head width.
"""

import jax
import jax.numpy as jnp


def attend_by_cudnn(q_BTHK: jax.Array, k_BTJK: jax.Array, v_BTJK: jax.Array, causal: bool) -> jax.Array:
    """Return softmax(q k^T / sqrt(K)) v, (B, T, H, K). `choose_kernel` says which inputs are allowed.

    JAX uses cuDNN only if it is named. JAX's CUDA plugin does not start without cuDNN.

    Args:
        q_BTHK: Queries.
        k_BTJK: Keys.
        v_BTJK: Values.
        causal: Whether a position sees no later keys.
    """
    # Under vmap JAX's rule wants the lane axis in front of all three arrays. Joining them makes it so. XLA
    # cancels the join against the split.
    H, J = q_BTHK.shape[2], k_BTJK.shape[2]
    q_BTHK, k_BTJK, v_BTJK = jnp.split(jnp.concatenate([q_BTHK, k_BTJK, v_BTJK], axis=2), [H, H + J], axis=2)
    return jax.nn.dot_product_attention(q_BTHK, k_BTJK, v_BTJK, is_causal=causal, implementation="cudnn")
