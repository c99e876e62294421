"""Relative positions: what the distance from a query to a key adds to their score.

Both schemes take explicit positions. So they serve a cache, whose keys were read before, and rows that hold
several texts. Neither is limited to the distances of training.

Axes: B batch (or 1), T query, S key, R distance, D model, H heads, K head width, N bucket.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.model.layers import linear
from lora_jax.params import Params

N_BUCKETS = 32  # as in T5; an encoder uses half of them for each direction
MAX_DISTANCE = 128  # T5 does not distinguish distances from here on


def find_distances(q_positions: jax.Array, k_positions: jax.Array) -> jax.Array:
    """Return query position minus key position, (B, T, S). It is positive if the key lies before the query.

    Args:
        q_positions: Positions of the queries, (T,) or (B, T).
        k_positions: Positions of the keys, (S,) or (B, S).
    """
    distances = q_positions[..., :, None] - k_positions[..., None, :]
    return distances if distances.ndim == 3 else distances[None]


def find_key_positions(positions: jax.Array, n_keys: int) -> jax.Array:
    """Return the positions of n_keys keys. Keys without a position of their own come first."""
    front = jnp.arange(n_keys - positions.shape[-1], dtype=positions.dtype)
    front = jnp.broadcast_to(front, (*positions.shape[:-1], len(front)))
    return jnp.concatenate([front, positions], axis=-1)


def score_buckets(
    config: ModelConfig, bias_NH: jax.Array, q_positions: jax.Array, k_positions: jax.Array
) -> jax.Array:
    """Return T5's bias, (B, H, T, S) in float32: one number for each bucket and head.

    All layers add it to their scores. Unlike in T5, we also divide the scores by sqrt(K). The start of the
    weights can make up for that.

    Args:
        config: The model.
        bias_NH: The bias of each bucket and head.
        q_positions: Positions of the queries, (T,) or (B, T).
        k_positions: Positions of the keys, (S,) or (B, S).

    Reference: Raffel et al. 2020 (arXiv 1910.10683), section 2.1.
    """
    buckets_BTS = find_buckets(find_distances(q_positions, k_positions), config.causal)
    return bias_NH.astype(jnp.float32)[buckets_BTS].transpose(0, 3, 1, 2)


def find_buckets(distances: jax.Array, causal: bool) -> jax.Array:
    """Return the bucket of each distance.

    Half of a direction's buckets hold one distance each. The others hold more. A decoder uses all buckets for
    the keys up to the query. An encoder uses the second half for the keys after it.
    """
    n = N_BUCKETS if causal else N_BUCKETS // 2
    table = jnp.asarray(_bucket_distances(n))
    before = table[jnp.clip(distances, 0, MAX_DISTANCE)]
    if causal:
        return before
    return jnp.where(distances < 0, n + table[jnp.clip(-distances, 0, MAX_DISTANCE)], before)


def _bucket_distances(n: int) -> np.ndarray:
    """Return which of n buckets each distance 0 ... MAX_DISTANCE is in.

    With m = n/2, bucket m + i begins where m log(d / m) / log(MAX_DISTANCE / m) reaches i. Some distances lie
    exactly there, and a rounded logarithm may fall short. So we compare powers, as whole numbers.
    """
    m = n // 2
    starts = list(range(m))
    for i in range(m):
        d = starts[-1] + 1
        while d**m * m**i < m**m * MAX_DISTANCE**i:
            d += 1
        starts.append(d)
    return np.searchsorted(starts, np.arange(MAX_DISTANCE + 1), side="right") - 1


def relate(
    config: ModelConfig, block: Params, q_BTHK: jax.Array, q_positions: jax.Array, k_positions: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return Transformer-XL's queries as the keys see them, q + u, and the bias of their scores.

    Dai et al. 2019 (arXiv 1901.02860), section 3.3. u is attn/content_bias and belongs to terms (a) and (c).
    """
    bias_BHTS = score_distances(config, block, q_BTHK, q_positions, k_positions)
    return q_BTHK + block["attn/content_bias"].astype(q_BTHK.dtype), bias_BHTS


def score_distances(
    config: ModelConfig,
    block: Params,
    q_BTHK: jax.Array,
    q_positions: jax.Array,
    k_positions: jax.Array,
) -> jax.Array:
    """Return Transformer-XL's scores of queries and distances d: (q + v)^T W_r R_d / sqrt(K).

    These are terms (b) and (d). v is attn/position_bias and W_r is attn/r. The positions of a row must lie
    less than S apart.

    Returns:
        (B, H, T, S) in float32.
    """
    (B, T, _, K), S, D = q_BTHK.shape, k_positions.shape[-1], config.d_model
    distances_BTS = find_distances(q_positions, k_positions)
    q_BTHK = (q_BTHK + block["attn/position_bias"].astype(q_BTHK.dtype)) * K**-0.5
    # Take the products in the cheaper order: every distance through W_r, or the few queries of a cache.
    if B * T * (K + S) * D < S * K * (D + B * T):
        q_BTHD = jnp.einsum("bthk,dhk->bthd", q_BTHK, block["attn/r"].astype(q_BTHK.dtype))
        sines_BTSD = embed_distances(distances_BTS, D).astype(q_BTHK.dtype)
        return jnp.einsum("bthd,btsd->bhts", q_BTHD, sines_BTSD).astype(jnp.float32)
    least = 0 if config.causal else 1 - S
    sines_RD = embed_distances(jnp.arange(least, S), D).astype(q_BTHK.dtype)
    r_RHK = linear(sines_RD, block["attn/r"])
    scores_BHTR = jnp.einsum("bthk,rhk->bhtr", q_BTHK, r_RHK).astype(jnp.float32)
    at_BTS = jnp.clip(distances_BTS - least, 0, len(sines_RD) - 1)  # no query sees the keys beyond
    return jnp.take_along_axis(scores_BHTR, at_BTS[:, None], axis=-1)


def embed_distances(distances: jax.Array, width: int) -> jax.Array:
    """Return sines, then cosines, of each distance, (..., width) (Vaswani et al. 2017, section 3.5)."""
    frequency = 10_000.0 ** (-jnp.arange(0, width, 2, dtype=jnp.float32) / width)
    angle = distances[..., None].astype(jnp.float32) * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)
