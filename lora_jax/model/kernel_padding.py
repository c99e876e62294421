"""Fill a sequence up to whole blocks of a kernel, with positions that no example sees.

Axes: B batch, T position, H heads, J key/value heads, K head width.
"""

import jax
import jax.numpy as jnp

PADDING = -2  # a segment of its own, which no example has

Filled = tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]


def fill_up(
    q_BTHK: jax.Array, k_BTJK: jax.Array, v_BTJK: jax.Array, segments_BT: jax.Array | None, block: int
) -> Filled:
    """Return queries, keys, values and segments with positions added at the end, up to a multiple of `block`.

    Without segments, only a causal order hides these positions.
    """
    n_padding = -q_BTHK.shape[1] % block
    if not n_padding:
        return q_BTHK, k_BTJK, v_BTJK, segments_BT
    q_BTHK, k_BTJK, v_BTJK = (
        jnp.pad(heads, ((0, 0), (0, n_padding), (0, 0), (0, 0))) for heads in (q_BTHK, k_BTJK, v_BTJK)
    )
    if segments_BT is not None:
        segments_BT = jnp.pad(segments_BT, ((0, 0), (0, n_padding)), constant_values=PADDING)
    return q_BTHK, k_BTJK, v_BTJK, segments_BT
