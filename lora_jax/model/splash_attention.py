"""Splash attention, JAX's fused kernel for TPUs. Forward and both backward passes go by blocks of positions.

Axes: B batch, T position, H heads, J key/value heads, K head width.
Reference: Dao 2023 (arXiv 2307.08691); jax.experimental.pallas.ops.tpu.splash_attention.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lora_jax.model.kernel_padding import fill_up
from lora_jax.model.placing import split_attention

BLOCKS = (512, 256, 128)  # positions of a block: we take the largest that divides the length
# The name of the kernel's output and log-sum-exp, for a policy of recomputing (transformer.REMAT).
SAVED = "splash_attention"


def attend_by_splash(
    q_BTHK: jax.Array,
    k_BTJK: jax.Array,
    v_BTJK: jax.Array,
    causal: bool,
    segments_BT: jax.Array | None = None,
    interpret: bool = False,
) -> jax.Array:
    """Return softmax(q k^T / sqrt(K)) v, (B, T, H, K). `choose_kernel` says which inputs are allowed.

    If 128 does not divide the length, we add positions that nothing sees.

    Args:
        q_BTHK: Queries.
        k_BTJK: Keys.
        v_BTJK: Values.
        causal: Whether a position sees no later keys.
        segments_BT: Segments. A position sees only its own. None is one segment.
        interpret: Whether to run the kernel as plain operations, on any device (for tests).
    """
    T, block = q_BTHK.shape[1], BLOCKS[-1]
    if T % block and segments_BT is None and not causal:
        segments_BT = jnp.zeros(q_BTHK.shape[:2], jnp.int32)  # a causal order would hide the added positions
    q_BTHK, k_BTJK, v_BTJK, segments_BT = fill_up(q_BTHK, k_BTJK, v_BTJK, segments_BT, block)
    attend = split_attention(partial(_attend_to_rows, causal=causal, interpret=interpret))
    return attend(q_BTHK, k_BTJK, v_BTJK, segments_BT)[:, :T]


def _attend_to_rows(
    q_BTHK: jax.Array,
    k_BTJK: jax.Array,
    v_BTJK: jax.Array,
    segments_BT: jax.Array | None,
    causal: bool,
    interpret: bool,
) -> jax.Array:
    kernel, splash = _make_kernel(q_BTHK.shape[2], q_BTHK.shape[1], causal, interpret)
    q_BHTK, k_BJTK, v_BJTK = (heads.transpose(0, 2, 1, 3) for heads in (q_BTHK, k_BTJK, v_BTJK))
    q_BHTK = q_BHTK * q_BHTK.shape[-1] ** -0.5

    def attend_to_row(
        q_HTK: jax.Array, k_JTK: jax.Array, v_JTK: jax.Array, segments_T: jax.Array | None
    ) -> jax.Array:
        ids = None if segments_T is None else splash.SegmentIds(segments_T, segments_T)
        return kernel(q_HTK, k_JTK, v_JTK, ids)

    return jax.vmap(attend_to_row)(q_BHTK, k_BJTK, v_BJTK, segments_BT).transpose(0, 2, 1, 3)


def _make_kernel(n_heads: int, length: int, causal: bool, interpret: bool) -> tuple[Any, Any]:
    """Return the kernel for the heads of one row, and JAX's module, which we import only here.

    The gradient has one kernel for q and one for k and v. JAX also has a single kernel for all three. It
    keeps a copy of q's gradient for each block of keys, which grows with the square of the length.
    """
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    block = next(size for size in BLOCKS if length % size == 0)
    sizes = splash.BlockSizes(
        block_q=block,
        block_kv=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_q_dq=block,
        block_kv_dq=block,
    )
    mask = (masks.CausalMask if causal else masks.FullMask)((length, length))
    kernel = splash.make_splash_mha(
        mask=masks.MultiHeadMask([mask] * n_heads),
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=1,
        residual_checkpoint_name=SAVED,
        interpret=interpret,
    )
    return kernel, splash
