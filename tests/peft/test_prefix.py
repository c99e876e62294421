"""Prefixes and prompts: what they equal, and who sees them."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from lora_jax.config import BERT, LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.model.hooks import Hooks
from lora_jax.model.transformer import Inputs, forward
from lora_jax.params import Params, combine, count
from lora_jax.peft.method import MethodConfig, adapt
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.peft.methods.prompt import Prompt

SIZES: dict[str, Any] = dict(
    d_model=16, n_layers=2, n_heads=4, vocab_size=40, context=20, compute_dtype="float32"
)
MODELS = {
    "gpt2": ModelConfig(**SIZES),
    "llama": ModelConfig(**SIZES, n_kv_heads=2, **LLAMA),
    "bert": ModelConfig(**SIZES, **BERT),
}
P = 3  # positions in front
METHODS: dict[str, MethodConfig] = {"prefix": Prefix(length=P), "prompt": Prompt(length=P)}
RNG = np.random.default_rng(0)
FRONT, TOKENS = (jnp.asarray(RNG.integers(40, size=(2, n))) for n in (P, 8))
run = jax.jit(forward, static_argnums=(0, 3))


def shake(params: Params, size: float) -> Params:
    rng = np.random.default_rng(1)
    return {p: w + size * jnp.asarray(rng.normal(size=w.shape), jnp.float32) for p, w in params.items()}


def random_base(model: ModelConfig) -> Params:
    """Return weights of which none is trivially 0 or 1, biases and norms included; NumPy compiles nothing."""
    draw = np.random.default_rng(0).standard_normal
    return {
        path: jnp.asarray(spec.mean + max(spec.std, 0.2) * draw(spec.shape), jnp.float32)
        for path, spec in declare(model).items()
    }


def trained(model: ModelConfig, name: str) -> tuple[Params, Hooks]:
    """Return weights as they may be after training, and the hooks."""
    method = METHODS[name].build(model)
    trainable, frozen = adapt(random_base(model), method, seed=3)
    return combine(shake(trainable, 1.0), frozen), method.hooks


@pytest.mark.parametrize("causal", [True, False])
def test_a_prefix_is_a_gated_adapter(causal: bool) -> None:
    """(1 - lambda) h + lambda softmax(q P_k^T) P_v, h without the prefix (2110.04366, section 3.1)."""
    model = replace(MODELS["gpt2"], n_layers=1, n_kv_heads=2, causal=causal)
    params, hooks = trained(model, "prefix")

    @jax.jit
    def observe(params: Params) -> list[tuple[jax.Array, jax.Array]]:
        """Return what attention took in and gave."""
        seen = []

        def watch(point, x_BTD: jax.Array, h_BTD: jax.Array) -> jax.Array:
            seen.append((x_BTD, h_BTD))
            return h_BTD

        with jax.disable_jit():  # the loop over the layers unrolled, so that nothing leaves it by a back door
            forward(model, params, TOKENS, hooks._replace(sublayer=watch))
        return seen

    x, found = (np.asarray(array, np.float64) for array in observe(params)[0])
    w = {
        path.removeprefix("blocks/attn/"): np.asarray(value[0], np.float64)
        for path, value in params.items()
        if "attn/" in path
    }
    q, k, v = (np.einsum("btd,dhk->bhtk", x, w[n]) + w[f"{n}_bias"][None, :, None] for n in "qkv")
    k, v = k.repeat(2, axis=1), v.repeat(2, axis=1)  # two query heads read each key's
    prefix_k, prefix_v = (w[n].transpose(1, 0, 2).repeat(2, axis=0) for n in ("prefix_k", "prefix_v"))
    scores = q @ k.swapaxes(2, 3) / 2.0  # sqrt K
    if causal:
        scores[:, :, *np.triu_indices(8, 1)] = -np.inf
    prefix_scores = np.einsum("bhtk,hpk->bhtp", q, prefix_k) / 2.0
    mass, prefix_mass = np.exp(scores).sum(-1, keepdims=True), np.exp(prefix_scores).sum(-1, keepdims=True)
    gate = prefix_mass / (mass + prefix_mass)
    heads = (1 - gate) * (softmax(scores, axis=-1) @ v) + gate * (softmax(prefix_scores, axis=-1) @ prefix_v)
    expected = np.einsum("bhtk,hkd->btd", heads, w["o"]) + w["o_bias"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert 0.05 < gate.mean() < 0.95


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_prefix_of_the_keys_of_real_tokens_equals_those_tokens(family: str) -> None:
    """Positions included: the tokens behind count on from the prefix."""
    model = MODELS[family]
    base, method = random_base(model), METHODS["prefix"].build(model)
    both = jnp.concatenate([FRONT[:1], TOKENS[:1]], axis=1)

    @jax.jit
    def observe(base: Params) -> tuple[jax.Array, list[jax.Array], list[jax.Array]]:
        """Return the logits, and each layer's keys and values of the tokens in front."""
        keys, values = [], []

        def watch(point, k_BTJK: jax.Array, v_BTJK: jax.Array) -> tuple[jax.Array, jax.Array]:
            keys.append(k_BTJK[0, :P])
            values.append(v_BTJK[0, :P])
            return k_BTJK, v_BTJK

        with jax.disable_jit():
            return forward(model, base, both, Hooks(key_values=watch))[:, P:], keys, values

    expected, keys, values = observe(base)
    params = base | {"blocks/attn/prefix_k": jnp.stack(keys), "blocks/attn/prefix_v": jnp.stack(values)}
    logits = run(model, params, TOKENS[:1], method.hooks)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_prompt_of_the_embeddings_of_real_tokens_equals_those_tokens(family: str) -> None:
    model = MODELS[family]
    base, method = random_base(model), METHODS["prompt"].build(model)
    params = base | {"embed/prompt": base["embed/tokens"][FRONT[0]]}
    logits = run(model, params, TOKENS[:1], method.hooks)
    expected = run(model, base, jnp.concatenate([FRONT[:1], TOKENS[:1]], axis=1))[:, P:]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("family", "name"), [("gpt2", "prefix"), ("llama", "prompt"), ("bert", "prefix")])
def test_packed_and_padded_examples_are_those_alone(family: str, name: str) -> None:
    """And, of a decoder, no token moves the logits before it."""
    model = MODELS[family]
    params, hooks = trained(model, name)
    alone = [run(model, params, TOKENS[:1, start:end], hooks)[0] for start, end in ((0, 3), (3, 6))]
    packed = Inputs(
        TOKENS[:1], jnp.asarray([[1, 1, 1, 2, 2, 2, 0, 0]]), jnp.asarray([[0, 1, 2, 0, 1, 2, 0, 0]])
    )
    together = run(model, params, packed, hooks)[0]
    np.testing.assert_allclose(together[:3], alone[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(together[3:6], alone[1], rtol=0, atol=1e-5)
    if model.causal:
        changed = packed._replace(tokens_BT=TOKENS[:1].at[0, 4].add(1) % 40)
        moved = np.abs(run(model, params, changed, hooks)[0] - together).max(-1)
        assert not moved[:4].any()
        assert moved[4:6].min() > 1e-3


def test_a_prompt_of_an_encoder_sees_the_tokens_and_no_padding() -> None:
    model = MODELS["bert"]
    params, hooks = trained(model, "prompt")
    alone = run(model, params, TOKENS[:1, :5], hooks)[0]
    padded = run(model, params, Inputs(TOKENS[:1], jnp.asarray([[1, 1, 1, 1, 1, 0, 0, 0]])), hooks)[0]
    np.testing.assert_allclose(padded[:5], alone, rtol=0, atol=1e-5)


def test_counts_are_two_l_d_a_layer_and_l_d() -> None:
    model = ModelConfig(d_model=1024, n_layers=24, n_heads=16, vocab_size=50257, context=1024)
    base = count(declare(model))
    prefix, prompt = Prefix(length=5).build(model), Prompt(length=5).build(model)
    assert count(prefix.specs) - base == 2 * 5 * 1024 * 24
    assert count(prompt.specs) - base == 5 * 1024
    assert not any(method.specs[path].decays for method in (prefix, prompt) for path in method.trainable)


def test_a_prompt_starts_with_the_spread_of_the_bases_embeddings() -> None:
    model = replace(MODELS["gpt2"], d_model=64)
    base = {path: jnp.zeros(spec.shape) for path, spec in declare(model).items()}
    base["embed/tokens"] = 7 * jnp.asarray(RNG.normal(size=(40, 64)))
    spread = {std: adapt(base, Prompt(length=16, std=std).build(model), 3).trainable for std in (None, 0.5)}
    assert spread[None]["embed/prompt"].std() == pytest.approx(7, rel=0.1)
    assert spread[0.5]["embed/prompt"].std() == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(("kind", "length"), [(Prefix, 0), (Prefix, 21), (Prompt, 20)])
def test_a_length_that_leaves_no_token_is_refused(kind: type, length: int) -> None:
    with pytest.raises(LoraJaxError, match=rf"length is {length}, but it must "):
        kind(length=length).build(MODELS["gpt2"])
