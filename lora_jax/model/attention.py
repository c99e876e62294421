"""Attention: the platform's fused kernel on GPU and TPU, and a gradient of our own on CPU.

Axes: B batch, T position, S key position, H heads, J key/value heads, K head width.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import optimization_barrier

from lora_jax.model.attention_kernel import Mask, choose_kernel, describe_heads
from lora_jax.model.compiled_for import current_target, on_cpu
from lora_jax.model.convention import is_counting
from lora_jax.model.cudnn_attention import attend_by_cudnn
from lora_jax.model.splash_attention import attend_by_splash
from lora_jax.model.triton_attention import attend_by_triton


class Visible(NamedTuple):
    """Which keys each position sees, beside the causal order.

    Attributes:
        pairs_BTT: Whether a position sees another (`see_segments`).
        segments_BT: The segment of each position, if a position sees its own segment and nothing else.
            Kernels read these instead of the pairs. None otherwise.
    """

    pairs_BTT: jax.Array
    segments_BT: jax.Array | None = None


def attend(
    q_BTHK: jax.Array,
    k_BSJK: jax.Array,
    v_BSJK: jax.Array,
    *,
    causal: bool = True,
    visible: Visible | None = None,
    bias_BHTS: jax.Array | None = None,
) -> jax.Array:
    """Scaled dot-product attention: softmax(q k^T / sqrt(K)) v, with the softmax in float32.

    S may exceed T. Every position then sees the S - T keys in front. H must be a multiple of J (grouped
    queries).

    Args:
        q_BTHK: Queries.
        k_BSJK: Keys.
        v_BSJK: Values.
        causal: Whether a position sees no later keys.
        visible: Which of the other keys a position sees. None for all.
        bias_BHTS: Added to the scores (model/relative.py). JAX differentiates this case. The others have a
            gradient of our own on a CPU.

    Returns:
        (B, T, H, K).

    Reference: Vaswani et al. 2017 (arXiv 1706.03762), equation 1.
    """
    if not on_cpu():
        return _attend_on_accelerator(q_BTHK, k_BSJK, v_BSJK, causal, visible, bias_BHTS)
    T, S = q_BTHK.shape[1], k_BSJK.shape[1]
    seen = _see(T, S, causal, visible)
    if bias_BHTS is not None:
        mask_B1TS = None if seen is None else seen.reshape(-1, 1, T, S)
        return jax.nn.dot_product_attention(q_BTHK, k_BSJK, v_BSJK, bias=bias_BHTS, mask=mask_B1TS)
    group = q_BTHK.shape[2] // k_BSJK.shape[2]
    if group > 1:
        k_BSJK, v_BSJK = (jnp.repeat(heads, group, axis=2) for heads in (k_BSJK, v_BSJK))
    q_BHTK, k_BHSK, v_BHSK = (heads.transpose(0, 2, 1, 3) for heads in (q_BTHK, k_BSJK, v_BSJK))
    return _attend(_cut_rows(T, S, causal), q_BHTK, k_BHSK, v_BHSK, seen).transpose(0, 2, 1, 3)


def _attend_on_accelerator(
    q_BTHK: jax.Array,
    k_BSJK: jax.Array,
    v_BSJK: jax.Array,
    causal: bool,
    visible: Visible | None,
    bias_BHTS: jax.Array | None,
) -> jax.Array:
    """Attend by the kernel of `choose_kernel`.

    If there is none, use JAX's plain operations, which hold all scores.
    """
    segments_BT = None if visible is None else visible.segments_BT
    kind: Mask = "none" if visible is None else "any" if segments_BT is None else "segments"
    kernel = choose_kernel(
        current_target(), describe_heads(q_BTHK, k_BSJK, kind, bias_BHTS is not None)
    ).kernel
    if kernel == "splash":
        return attend_by_splash(q_BTHK, k_BSJK, v_BSJK, causal, segments_BT)
    if kernel == "triton" and segments_BT is not None:
        return attend_by_triton(q_BTHK, k_BSJK, v_BSJK, causal, segments_BT)
    if kernel == "cudnn":
        return attend_by_cudnn(q_BTHK, k_BSJK, v_BSJK, causal)
    T, S = q_BTHK.shape[1], k_BSJK.shape[1]
    if kind == "none" and bias_BHTS is None and (S == T or not causal):
        return jax.nn.dot_product_attention(q_BTHK, k_BSJK, v_BSJK, is_causal=causal)
    seen = _see(T, S, causal, visible)
    mask_B1TS = None if seen is None else seen.reshape(-1, 1, T, S)
    return jax.nn.dot_product_attention(q_BTHK, k_BSJK, v_BSJK, bias=bias_BHTS, mask=mask_B1TS)


def _see(T: int, S: int, causal: bool, visible: Visible | None) -> jax.Array | None:
    """Return which keys a position sees: None for all, otherwise (T, S) or (B, 1, T, S)."""
    before = jnp.tril(jnp.ones((T, S), bool), S - T) if causal else None
    if visible is None:
        return before
    seen_BTS = jnp.pad(visible.pairs_BTT, ((0, 0), (0, 0), (S - T, 0)), constant_values=True)
    seen_B1TS = seen_BTS[:, None]
    return seen_B1TS if before is None else seen_B1TS & before


def see_segments(segments_BT: jax.Array, seen_by_all: int) -> jax.Array:
    """Return which positions see which, (B, T, T).

    A position sees its own segment and the segment `seen_by_all`, such as a prompt. The prompt itself sees
    everything but padding. In a decoder nothing lies before it, and an encoder does not pack. Padding sees
    padding, so that no row of a softmax is empty.

    Args:
        segments_BT: The segment of each position. 0 is padding.
        seen_by_all: The segment that every position sees.
    """
    own_BT1, other_B1T = segments_BT[:, :, None], segments_BT[:, None, :]
    is_prompt, is_padding = own_BT1 == seen_by_all, other_B1T == 0
    return (own_BT1 == other_B1T) | (other_B1T == seen_by_all) | (is_prompt & ~is_padding)


# (first row, end of the rows, end of the keys that they see) of each block of scores, known when tracing
Blocks = tuple[tuple[int, int, int], ...]
N_BLOCKS = 4  # each further block saves less and is code to compile: 8 were no faster at T 256
LEAST_ROWS = 32


def _cut_rows(T: int, S: int, causal: bool) -> Blocks:
    """Cut causal attention into blocks of rows. Scores to the right of a block's last row are never computed.

    Four blocks leave 5/8 of the scores. Each block is small enough to stay in a cache, and only a quarter of
    its scores needs a mask.
    """
    is_cut = causal and T % N_BLOCKS == 0 and T // N_BLOCKS >= LEAST_ROWS and not is_counting()
    n = N_BLOCKS if is_cut else 1
    ends = [T * (i + 1) // n for i in range(n)]
    return tuple((end - T // n, end, S - T + end) for end in ends)


def _attend_in_blocks(
    blocks: Blocks, q_BHTK: jax.Array, k_BHSK: jax.Array, v_BHSK: jax.Array, visible: jax.Array | None
) -> jax.Array:
    return _attend_forward(blocks, q_BHTK, k_BHSK, v_BHSK, visible)[0]


def _attend_forward(
    blocks: Blocks, q_BHTK: jax.Array, k_BHSK: jax.Array, v_BHSK: jax.Array, visible: jax.Array | None
) -> tuple[jax.Array, tuple[Any, ...]]:
    """Compute the output and what the backward pass needs.

    We divide the output by the sum of the weights, and not the weights themselves, because it has fewer
    numbers.
    """
    q_BHTK = q_BHTK * q_BHTK.shape[-1] ** -0.5
    exps, sums, outs = [], [], []
    for start, end, n_keys in blocks:
        scores_BHTS = jnp.einsum("bhtk,bhsk->bhts", q_BHTK[..., start:end, :], k_BHSK[:, :, :n_keys])
        scores_BHTS = scores_BHTS.astype(jnp.float32)
        if visible is not None:
            scores_BHTS = jnp.where(visible[..., start:end, :n_keys], scores_BHTS, -jnp.inf)
        exp_BHTS = jnp.exp(scores_BHTS - scores_BHTS.max(-1, keepdims=True))
        # The barriers here and below keep XLA's CPU backend from computing the exponentials and their
        # gradient again inside each product that reads them.
        exp_BHTS = optimization_barrier(exp_BHTS.astype(v_BHSK.dtype))
        sums.append(exp_BHTS.sum(-1, keepdims=True, dtype=jnp.float32))
        outs.append(jnp.einsum("bhts,bhsk->bhtk", exp_BHTS, v_BHSK[:, :, :n_keys]))
        exps.append(exp_BHTS)
    sum_BHT1 = jnp.concatenate(sums, -2)
    out_BHTK = (jnp.concatenate(outs, -2) / sum_BHT1).astype(v_BHSK.dtype)
    return out_BHTK, (q_BHTK, k_BHSK, v_BHSK, tuple(exps), sum_BHT1, out_BHTK)


def _attend_backward(
    blocks: Blocks, saved: tuple[Any, ...], g_BHTK: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    q_BHTK, k_BHSK, v_BHSK, exps, sum_BHT1, out_BHTK = saved
    g_BHTK = optimization_barrier((g_BHTK / sum_BHT1).astype(g_BHTK.dtype))
    # softmax's Jacobian: the row sums of weights * dweights equal those of out * g, which are cheaper.
    row_BHT1 = (g_BHTK * out_BHTK).sum(-1, keepdims=True)
    dqs, dks, dvs = [], [], []
    for (start, end, n_keys), exp_BHTS in zip(blocks, exps, strict=True):
        rows = (..., slice(start, end), slice(None))
        keys = (slice(None), slice(None), slice(n_keys))
        dexp_BHTS = optimization_barrier(jnp.einsum("bhtk,bhsk->bhts", g_BHTK[rows], v_BHSK[keys]))
        dscores_BHTS = optimization_barrier(exp_BHTS * (dexp_BHTS - row_BHT1[rows]))
        dqs.append(jnp.einsum("bhts,bhsk->bhtk", dscores_BHTS, k_BHSK[keys]))
        unseen = ((0, 0), (0, 0), (0, k_BHSK.shape[2] - n_keys), (0, 0))
        dks.append(jnp.pad(jnp.einsum("bhts,bhtk->bhsk", dscores_BHTS, q_BHTK[rows]), unseen))
        dvs.append(jnp.pad(jnp.einsum("bhts,bhtk->bhsk", exp_BHTS, g_BHTK[rows]), unseen))
    dq_BHTK = jnp.concatenate(dqs, -2) * q_BHTK.shape[-1] ** -0.5
    return dq_BHTK, sum(dks[1:], dks[0]), sum(dvs[1:], dvs[0]), None


_attend = jax.custom_vjp(_attend_in_blocks, nondiff_argnums=(0,))
_attend.defvjp(_attend_forward, _attend_backward)
