"""Attention in packed segments on NVIDIA GPUs, by a fused kernel of JAX that Triton compiles.

cuDNN takes segments as a mask of all pairs. This kernel reads the segments' numbers, and never holds the
scores.

Axes: B batch, T position, H heads, J key/value heads, K head width.
Reference: Dao 2023 (arXiv 2307.08691); jax.experimental.pallas.ops.gpu.attention.
"""

from functools import partial

import jax
import jax.numpy as jnp

from lora_jax.model.attention_kernel import TRITON_LENGTH
from lora_jax.model.kernel_padding import fill_up
from lora_jax.model.placing import split_attention

BLOCK = TRITON_LENGTH  # positions in a block of queries or keys


def attend_by_triton(
    q_BTHK: jax.Array,
    k_BTJK: jax.Array,
    v_BTJK: jax.Array,
    causal: bool,
    segments_BT: jax.Array,
    interpret: bool = False,
) -> jax.Array:
    """Return softmax(q k^T / sqrt(K)) v, (B, T, H, K). `choose_kernel` says which inputs are allowed.

    The kernel needs as many heads of keys and values as of queries. So we repeat those of grouped queries.

    Args:
        q_BTHK: Queries.
        k_BTJK: Keys.
        v_BTJK: Values.
        causal: Whether a position sees no later keys.
        segments_BT: Segments. A position sees only its own.
        interpret: Whether to run the kernel as plain operations, on any device (for tests).
    """
    T = q_BTHK.shape[1]
    group = q_BTHK.shape[2] // k_BTJK.shape[2]
    if group > 1:
        k_BTJK, v_BTJK = (jnp.repeat(heads, group, axis=2) for heads in (k_BTJK, v_BTJK))
    q_BTHK, k_BTJK, v_BTJK, segments = fill_up(q_BTHK, k_BTJK, v_BTJK, segments_BT, BLOCK)
    attend = split_attention(partial(_attend_to_rows, causal=causal, interpret=interpret))
    return attend(q_BTHK, k_BTJK, v_BTJK, segments)[:, :T]


def _attend_to_rows(
    q_BTHK: jax.Array,
    k_BTHK: jax.Array,
    v_BTHK: jax.Array,
    segments_BT: jax.Array,
    causal: bool,
    interpret: bool,
) -> jax.Array:
    from jax.experimental.pallas.ops.gpu import attention as triton

    sizes = triton.BlockSizes(
        block_q=BLOCK,
        block_k=BLOCK,
        block_q_dkv=BLOCK,
        block_kv_dkv=BLOCK,
        block_q_dq=BLOCK,
        block_kv_dq=BLOCK,
    )
    return triton.mha(
        q_BTHK,
        k_BTHK,
        v_BTHK,
        segments_BT,
        sm_scale=q_BTHK.shape[-1] ** -0.5,
        causal=causal,
        block_sizes=sizes,
        interpret=interpret,
    )
