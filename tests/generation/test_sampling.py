"""Cuts of a distribution, and what blocks repeated texts, against what they are by definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.generation.sampling import block_repeats, cut
from lora_jax.model.cache import EMPTY

LOGITS = np.random.default_rng(0).normal(size=(4, 23)).astype(np.float32) * 3


@pytest.mark.parametrize(("top_k", "top_p"), [(23, 0.9), (5, 1.0), (7, 0.6), (1, 1.0), (23, 1e-6)])
def test_the_smallest_set_of_the_likeliest_tokens_is_kept(top_k: int, top_p: float) -> None:
    kept_BV = np.isfinite(cut(jnp.asarray(LOGITS), jnp.int32(top_k), jnp.float32(top_p)))
    for logits_V, kept_V in zip(LOGITS, kept_BV, strict=True):
        order = np.argsort(-logits_V)
        assert set(np.flatnonzero(kept_V)) == set(order[: kept_V.sum()])  # the likeliest
        share = np.asarray(jax.nn.softmax(logits_V[order[:top_k]]))
        n = int(kept_V.sum())
        assert 1 <= n <= top_k
        assert share[:n].sum() >= top_p - 1e-6 or n == top_k
        assert share[: n - 1].sum() < top_p  # one fewer would not do


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_token_is_blocked_where_it_would_repeat(n: int) -> None:
    rng = np.random.default_rng(n)
    history = np.full((3, 20), EMPTY, np.int32)
    lengths = (14, 6, 1)
    for row, length in zip(history, lengths, strict=True):
        row[14 - length : 14] = rng.integers(4, size=length)
    allowed_BV = np.isfinite(block_repeats(jnp.zeros((3, 4)), jnp.asarray(history), jnp.int32(14), n))
    for row, allowed_V in zip(history, allowed_BV, strict=True):
        text = row[row != EMPTY].tolist()
        grams = {tuple(text[i : i + n]) for i in range(len(text) - n + 1)}
        expected = [(*text[len(text) - n + 1 :], token) not in grams for token in range(4)]
        assert allowed_V.tolist() == expected
