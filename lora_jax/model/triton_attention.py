"""Attention in packed segments on NVIDIA GPUs: a fused kernel of JAX's, which Triton compiles.

cuDNN takes segments as a mask of all pairs. This kernel reads their numbers, and it holds no scores.

Axes: B batch, T position, H heads, J key/value heads, K head width.
Reference: Dao 2023 (arXiv 2307.08691); jax.experimental.pallas.ops.gpu.attention.
"""

from functools import partial

import jax
import jax.numpy as jnp

from lora_jax.model.attention_kernel import TRITON_LENGTH
from lora_jax.model.kernel_padding import fill_up
from lora_jax.model.placing import split_attention

BLOCK = TRITON_LENGTH  # positions of a block, of queries and of keys


def attend_by_triton(
    q_BTHK: jax.Array,
    k_BTJK: jax.Array,
    v_BTJK: jax.Array,
    causal: bool,
    segments_BT: jax.Array,
    interpret: bool = False,
) -> jax.Array:
    """Return softmax(q k^T / sqrt(K)) v, (B, T, H, K), of what `choose_kernel` allows.

    Keys and values of grouped queries are repeated: the kernel wants as many heads of each.

    Args:
        causal: A position sees none behind it.
        segments_BT: A position sees its own segment alone.
        interpret: Run the kernel as plain operations, on any device (tests).
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
