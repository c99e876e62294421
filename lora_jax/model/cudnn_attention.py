"""cuDNN's attention on NVIDIA GPUs, which never holds the scores (Dao 2023, arXiv 2307.08691).

Axes: B batch, T position, H heads, J key/value heads, K head width.
"""

import jax
import jax.numpy as jnp


def attend_by_cudnn(q_BTHK: jax.Array, k_BTJK: jax.Array, v_BTJK: jax.Array, causal: bool) -> jax.Array:
    """Return softmax(q k^T / sqrt(K)) v, (B, T, H, K), of what `choose_kernel` allows.

    JAX takes its own way unless cuDNN is asked for by name. Its CUDA plugin does not start without cuDNN.
    """
    # Under vmap its rule wants all three to have the lane axis, and in front. Joined they have; XLA cancels
    # the joining against the splitting.
    H, J = q_BTHK.shape[2], k_BTJK.shape[2]
    q_BTHK, k_BTJK, v_BTJK = jnp.split(jnp.concatenate([q_BTHK, k_BTJK, v_BTJK], axis=2), [H, H + J], axis=2)
    return jax.nn.dot_product_attention(q_BTHK, k_BTJK, v_BTJK, is_causal=causal, implementation="cudnn")
