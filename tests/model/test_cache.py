"""A text read in parts, through a cache, is the text read at once."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import BERT, LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.cache import extend, start_cache, unstack
from lora_jax.model.declare import declare
from lora_jax.model.hooks import NO_HOOKS, Pass
from lora_jax.model.transformer import forward, read_head
from lora_jax.params import combine, init
from lora_jax.peft.method import adapt
from lora_jax.peft.methods.adapters import AdapterH
from lora_jax.peft.methods.combined import Combined
from lora_jax.peft.methods.ia3 import IA3
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.peft.methods.prompt import Prompt

SHAPE: dict[str, Any] = dict(d_model=16, n_layers=3, n_heads=4, vocab_size=31, context=32)
MODELS = {
    "gpt2": ModelConfig(**SHAPE),
    "llama": ModelConfig(**SHAPE, **LLAMA, n_kv_heads=2),
    "neox": ModelConfig(
        **SHAPE, positions="rope", rope_fraction=0.5, parallel_residual=True, tied_head=False
    ),
    "multi-query": ModelConfig(**SHAPE, **LLAMA, n_kv_heads=1, qk_norm=True),
}
METHODS = {
    "lora": LoRA(rank=2, targets=("all",)),
    "top": AdapterH(rank=2, top_layers=1),
    "ia3": IA3(),
    "prefix": Prefix(length=3),
    "prompt": Prompt(length=3),
    "both": Combined(methods=(Prefix(length=2), Prompt(length=2), LoRA(rank=2))),
}
TOKENS = jnp.asarray(np.random.default_rng(0).integers(31, size=(2, 12)), jnp.int32)


def read_in_parts(model, params, hooks, parts, n_slots=24):
    """Return the logits of tokens (B, T) read part after part, of the given lengths."""
    weights = unstack(params, model.n_layers)
    step = jax.jit(partial(extend, Pass(model, hooks)))
    cache = start_cache(model, weights, len(TOKENS), n_slots, hooks)
    states, start = [], 0
    for n in parts:
        x_BTD, cache = step(weights, cache, TOKENS[:, start : start + n])
        states.append(x_BTD)
        start += n
    return read_head(model, weights.outside, jnp.concatenate(states, axis=1), hooks)


def draw(model, method, seed=0):
    """Return an adapted model none of whose added weights is zero, as weights of training are."""
    trainable, frozen = adapt(init(declare(model), seed), method, seed)
    keys = jax.random.split(jax.random.key(seed), len(trainable))
    noisy = {
        path: w + 0.3 * jax.random.normal(key, w.shape)
        for key, (path, w) in zip(keys, trainable.items(), strict=True)
    }
    return combine(noisy, frozen)


@pytest.mark.parametrize("name", MODELS)
def test_parts_give_the_logits_of_the_whole(name: str) -> None:
    model = MODELS[name]
    params = init(declare(model), 0)
    whole = forward(model, params, TOKENS)

    np.testing.assert_allclose(read_in_parts(model, params, NO_HOOKS, (5, 1, 1, 4, 1)), whole, atol=2e-5)


FAST = ("lora", "both")


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in METHODS]
)
def test_methods_act_in_parts_as_on_the_whole(name: str) -> None:
    model = MODELS["gpt2"]
    method = METHODS[name].build(model)
    params = draw(model, method)
    whole = forward(model, params, TOKENS, method.hooks)
    np.testing.assert_allclose(read_in_parts(model, params, method.hooks, (5, 1, 6)), whole, atol=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_padding_and_a_shared_row_change_nothing(name: str) -> None:
    model = MODELS[name]
    params = init(declare(model), 0)
    weights = unstack(params, model.n_layers)
    shared = extend(Pass(model), weights, start_cache(model, weights, 1, 6), TOKENS[:1, :4])[1]
    # Two rows go on from the shared one: 5 tokens, and 2 behind 3 that are padding; then one more each.
    rows = jnp.stack([TOKENS[0, 4:9], jnp.concatenate([jnp.array([7, 7, 7]), TOKENS[1, 4:6]])])
    real = np.array([[True] * 5, [False] * 3 + [True] * 2])
    cache = start_cache(model, weights, 2, 9)
    x_BTD, cache = extend(Pass(model), weights, cache, rows, jnp.asarray(real), shared=shared)
    last_BTD, _ = extend(Pass(model), weights, cache, TOKENS[:, 9:10], shared=shared)
    for row, own in enumerate((rows[0], rows[1, 3:])):
        text = jnp.concatenate([TOKENS[0, :4], own, TOKENS[row, 9:10]])[None]
        whole = forward(model, params, text)[0]
        found = read_head(model, weights.outside, jnp.concatenate([x_BTD, last_BTD], axis=1))[row]
        np.testing.assert_allclose(found[5 - len(own) :], whole[4:], atol=2e-5)


def test_an_encoder_is_refused() -> None:

    model = ModelConfig(**SHAPE, **BERT)
    with pytest.raises(LoraJaxError, match="choose a decoder"):
        start_cache(model, unstack(init(declare(model), 0), model.n_layers), 1, 8)
