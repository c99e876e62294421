"""cuDNN's attention, which never holds the scores (Dao 2023, arXiv 2307.08691), where a GPU has it.

Axes: B batch, T position, S key position, H heads, J key/value heads, K head width.
"""

import jax
import jax.numpy as jnp

from lora_jax.model.compiled_for import current_target


def has_fused_kernel(q_BTHK: jax.Array, k_BSJK: jax.Array) -> bool:
    """Does cuDNN attend to these without a mask? JAX takes its own way unless cuDNN is asked for by name.

    16-bit numbers on an NVIDIA GPU from Ampere (8.0) on, a head width that is a multiple of 8 and at most
    128, from Hopper (9.0) on 256: `check_layout` and `check_is_flash_attention` of jax/_src/cudnn. JAX's CUDA
    plugin does not start without cuDNN. As many keys as queries, so that lanes get one layout (attend_fused).
    """
    capability = current_target().capability
    if capability is None:
        return False
    width = q_BTHK.shape[3]
    return (
        q_BTHK.dtype in (jnp.bfloat16, jnp.float16)
        and q_BTHK.shape[1] == k_BSJK.shape[1]
        and capability >= (8, 0)
        and width % 8 == 0
        and width <= (256 if capability >= (9, 0) else 128)
    )


def attend_fused(q_BTHK: jax.Array, k_BTJK: jax.Array, v_BTJK: jax.Array, causal: bool) -> jax.Array:
    """Return softmax(q k^T / sqrt(K)) v, (B, T, H, K), of what `has_fused_kernel` allows."""
    # Under vmap its rule wants all three to have the lane axis, and in front. Joined they have; XLA cancels
    # the joining against the splitting. (A mask it wants of every head, so that masks go without the kernel.)
    H, J = q_BTHK.shape[2], k_BTJK.shape[2]
    q_BTHK, k_BTJK, v_BTJK = jnp.split(jnp.concatenate([q_BTHK, k_BTJK, v_BTJK], axis=2), [H, H + J], axis=2)
    return jax.nn.dot_product_attention(q_BTHK, k_BTJK, v_BTJK, is_causal=causal, implementation="cudnn")
