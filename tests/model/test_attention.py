"""Attention on a CPU, its value and its own gradient, beside JAX's plain one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.model import attention
from lora_jax.model.attention import Visible, attend, see_segments
from lora_jax.model.convention import counting

B, H, K = 2, 4, 8
# T positions, keys in front of them, key/value heads, causal, with segments
CASES = {
    "in blocks of rows": (128, 0, 4, True, False),
    "grouped queries": (128, 0, 2, True, False),
    "keys in front": (128, 3, 1, True, False),
    "segments in blocks": (128, 0, 2, True, True),
    "segments and keys in front": (128, 5, 4, True, True),
    "too short for blocks": (24, 0, 2, True, False),
    "a length that four does not divide": (130, 0, 4, True, False),
    "encoder": (128, 0, 4, False, False),
    "encoder with padding": (40, 0, 4, False, True),
}


def draw(T: int, before: int, J: int) -> list[jax.Array]:
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = ((B, T, H, K), (B, T + before, J, K), (B, T + before, J, K), (B, T, H, K))
    return [3 * jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


def pull(function: Any, q: jax.Array, k: jax.Array, v: jax.Array, g: jax.Array) -> Any:
    out, back = jax.vjp(function, q, k, v)
    return out, *back(g)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_value_and_gradient_are_jaxs(case: tuple[int, int, int, bool, bool]) -> None:
    T, before, J, causal, has_segments = case
    arrays = draw(T, before, J)
    visible_BTT = None
    mask = jnp.tril(jnp.ones((T, T + before), bool), before)[None] if causal else jnp.ones((1, T, T), bool)
    if has_segments:
        segments_BT = jnp.asarray(np.repeat([[1, 1, 2, 0], [1, 2, 3, 3]], T // 4, axis=1))
        visible_BTT = see_segments(segments_BT, -1)
        mask = mask & jnp.pad(visible_BTT, ((0, 0), (0, 0), (before, 0)), constant_values=True)

    def plain(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return jax.nn.dot_product_attention(q, k, v, mask=mask[:, None], implementation="xla")

    def own(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        visible = None if visible_BTT is None else Visible(visible_BTT)
        return attend(q, k, v, causal=causal, visible=visible)

    found, wanted = (jax.jit(pull, static_argnums=0)(function, *arrays) for function in (own, plain))
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-4)


def test_blocks_of_rows_change_rounding_alone() -> None:
    arrays = draw(128, 0, 4)
    in_blocks = pull(attend, *arrays)
    assert len(attention._cut_rows(128, 128, True)) == 4
    with counting():
        assert len(attention._cut_rows(128, 128, True)) == 1
        whole = pull(attend, *arrays)
    for ours, theirs in zip(in_blocks, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-4)


def test_nothing_right_of_a_blocks_rows_is_computed() -> None:
    blocks = attention._cut_rows(256, 260, True)
    assert [end for _, end, _ in blocks] == [64, 128, 192, 256]
    assert [n_keys for *_, n_keys in blocks] == [68, 132, 196, 260]


def test_large_scores_neither_overflow_nor_vanish() -> None:
    q, k, v, g = draw(128, 0, 4)
    for array in pull(attend, 1e4 * q, 1e4 * k, v, g):
        assert np.isfinite(array).all()
