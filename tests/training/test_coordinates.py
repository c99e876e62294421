"""What a coordinate check measures is what the model computes."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import LLAMA, ModelConfig
from lora_jax.model.declare import declare
from lora_jax.model.transformer import forward
from lora_jax.params import init
from lora_jax.training.coordinates import probe_sites

SHAPE: dict[str, Any] = dict(d_model=32, n_layers=3, n_heads=4, vocab_size=24, context=16)
MODELS = {
    "gpt2": ModelConfig(**SHAPE),
    "llama": ModelConfig(**SHAPE, **LLAMA, n_kv_heads=2, qk_norm=True, tied_head=False),
    "t5": ModelConfig(**SHAPE, positions="t5"),
    "transformer_xl": ModelConfig(**SHAPE, positions="transformer_xl"),
    "completep": ModelConfig(**SHAPE, parametrisation="completep", base_width=16, base_depth=1),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_probe_computes_the_model(name: str) -> None:
    model = MODELS[name]
    params, tokens_BT = init(declare(model), 0), jnp.arange(20).reshape(2, 10)
    found = probe_sites(model, params, tokens_BT)
    np.testing.assert_allclose(found["logits"], forward(model, params, tokens_BT), rtol=1e-5, atol=1e-5)
    assert found["attention logits"].shape == (3, 2, 4, 10, 10)
    assert found["block outputs"].shape == (3, 2, 10, 32)
    assert not np.triu(found["attention logits"], 1).any()


def test_attention_logits_give_the_attention_of_the_first_position_by_hand() -> None:
    model = replace(MODELS["gpt2"], n_layers=1)
    params, tokens_BT = init(declare(model), 1), jnp.arange(4)[None]
    x = params["embed/tokens"][tokens_BT[0]] + params["embed/positions"][:4]
    x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + model.norm_eps)
    q, k = (jnp.einsum("td,dhk->thk", x, params[f"blocks/attn/{name}"][0]) for name in "qk")
    expected = jnp.einsum("thk,shk->hts", q, k) / 8**0.5
    found = probe_sites(model, params, tokens_BT)["attention logits"][0, 0]
    np.testing.assert_allclose(found, jnp.tril(expected), rtol=1e-4, atol=1e-5)
