"""Relative positions: the published formulas, written out slowly, and what a distance means."""

import dataclasses
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model import relative
from lora_jax.model.cache import extend, start_cache, unstack
from lora_jax.model.convention import counting
from lora_jax.model.declare import declare, flops_per_token
from lora_jax.model.hooks import NO_HOOKS, Pass
from lora_jax.model.relative import (
    embed_distances,
    find_buckets,
    find_key_positions,
    score_buckets,
    score_distances,
)
from lora_jax.model.transformer import Inputs, apply_block, read_head
from lora_jax.model.transformer import forward as forward_plain
from lora_jax.params import Params
from lora_jax.peft.method import adapt
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.peft.methods.prompt import Prompt

SMALL: dict[str, Any] = dict(d_model=16, n_layers=2, n_heads=4, vocab_size=31, context=48)
MODELS = {
    "t5": ModelConfig(**SMALL, positions="t5", mlp="geglu", n_kv_heads=2),
    "transformer-xl": ModelConfig(
        **SMALL, positions="transformer_xl", n_kv_heads=1, head_width=6, bias=False
    ),
}
ENCODERS = {
    name: dataclasses.replace(config, causal=False, tied_head=False) for name, config in MODELS.items()
}
every_model = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
TOKENS = np.random.default_rng(0).integers(31, size=(2, 20)).astype(np.int32)
forward = jax.jit(forward_plain, static_argnums=(0, 3))  # hooks are static too


def draw(config: ModelConfig) -> Params:
    """Return weights of the declared sizes, none of them zero; relative ones large enough to matter."""
    rng = np.random.default_rng(0)
    grown = ("relative_bias", "content_bias", "position_bias")
    return {
        path: jnp.asarray(
            spec.mean + (1.0 if path.endswith(grown) else spec.std or 0.1) * rng.standard_normal(spec.shape),
            jnp.float32,
        )
        for path, spec in declare(config).items()
    }


def bucket_by_hand(relative_position: int, causal: bool) -> int:
    """T5's bucket of key minus query (arXiv 1910.10683), one at a time, in rational steps of a logarithm."""
    n, first = 32, 0
    if not causal:
        n, first = 16, 16 if relative_position > 0 else 0
    distance = max(-relative_position, 0) if causal else abs(relative_position)
    if distance < n // 2:
        return first + distance
    share = math.log(distance / (n // 2)) / math.log(128 / (n // 2))
    return first + min(n // 2 + math.floor(share * (n - n // 2) + 1e-9), n - 1)


@pytest.mark.parametrize("causal", [True, False])
def test_buckets_are_t5s(causal: bool) -> None:
    positions = range(-300, 301)
    ours = find_buckets(-jnp.array(positions), causal)
    assert ours.tolist() == [bucket_by_hand(p, causal) for p in positions]
    assert set(ours.tolist()) == set(range(32)) - ({16} if not causal else set())


def scores_by_hand(config: ModelConfig, block, q_THK, k_SJK, q_positions, k_positions) -> np.ndarray:
    """The four terms of Transformer-XL's score one by one (arXiv 1901.02860, section 3.3), / sqrt(K)."""
    W = {name: np.asarray(block[f"attn/{name}"], float) for name in ("r", "content_bias", "position_bias")}
    T, H, K = q_THK.shape
    scores = np.zeros((H, T, len(k_SJK)))
    for h in range(H):
        for i in range(T):
            for j in range(len(k_SJK)):
                d = float(q_positions[i]) - float(k_positions[j])
                angle = d / 10_000.0 ** (np.arange(0, config.d_model, 2) / config.d_model)
                r = np.concatenate([np.sin(angle), np.cos(angle)]) @ W["r"][:, h]
                q, k = q_THK[i, h], k_SJK[j, h * k_SJK.shape[1] // H]
                u, v = W["content_bias"][h], W["position_bias"][h]
                scores[h, i, j] = q @ k + q @ r + u @ k + v @ r
    return scores / K**0.5


@pytest.mark.parametrize("causal", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_scores_are_transformer_xls(causal: bool) -> None:
    config = dataclasses.replace(MODELS["transformer-xl"], causal=causal, tied_head=causal)
    block = {p.removeprefix("blocks/"): w[0] for p, w in draw(config).items() if p.startswith("blocks/")}
    rng = np.random.default_rng(1)
    q_THK, k_SJK = rng.normal(size=(5, 4, 6)), rng.normal(size=(7, 1, 6))
    q_positions, k_positions = np.arange(2, 7), np.arange(7)
    q_BTHK = jnp.asarray(q_THK, jnp.float32)[None]
    q_BTHK, bias_BHTS = relative.relate(config, block, q_BTHK, jnp.array(q_positions), jnp.array(k_positions))
    content = np.einsum("thk,sjk->hts", np.asarray(q_BTHK[0]), k_SJK) / 6**0.5
    wanted = scores_by_hand(config, block, q_THK, k_SJK, q_positions, k_positions)
    found = content + np.asarray(bias_BHTS[0])
    seen = np.tril(np.ones((5, 7), bool), 2) if causal else np.ones((5, 7), bool)
    np.testing.assert_allclose(found[:, seen], wanted[:, seen], atol=2e-5)


def test_few_queries_are_scored_as_many_are() -> None:
    """The two orders of the products: one query of a cache, and all of a sequence."""
    config = MODELS["transformer-xl"]
    block = {p.removeprefix("blocks/"): w[0] for p, w in draw(config).items() if p.startswith("blocks/")}
    q_BTHK, positions = jax.random.normal(jax.random.key(2), (1, 40, 4, 6)), jnp.arange(40)
    score = partial(score_distances, config, block, k_positions=positions)
    whole_BHTS = score(q_BTHK, q_positions=positions)
    for t in (0, 7, 39):
        one_BHTS = score(q_BTHK[:, t : t + 1], q_positions=positions[t : t + 1])
        np.testing.assert_allclose(one_BHTS[0, :, 0, : t + 1], whole_BHTS[0, :, t, : t + 1], atol=1e-5)
    jaxprs = [
        str(jax.make_jaxpr(lambda q, n=n: score(q, q_positions=positions[:n]))(q_BTHK[:, :n]))
        for n in (1, 40)
    ]
    assert ["gather" in text for text in jaxprs] == [False, True], "one of the two ways was never taken"


@pytest.mark.parametrize(
    "config", [*MODELS.values(), *(pytest.param(c, marks=pytest.mark.slow) for c in ENCODERS.values())]
)
def test_only_distances_count(config: ModelConfig) -> None:
    params, positions = draw(config), jnp.arange(20)[None]
    here = forward(config, params, Inputs(jnp.asarray(TOKENS), positions_BT=positions))
    np.testing.assert_allclose(
        forward(config, params, Inputs(jnp.asarray(TOKENS), positions_BT=positions + 1000)), here, atol=2e-5
    )
    assert not np.allclose(
        forward(config, params, Inputs(jnp.asarray(TOKENS), positions_BT=2 * positions)), here, atol=1e-3
    )


@pytest.mark.slow
@every_model
def test_without_the_distances_order_is_lost(config: ModelConfig) -> None:
    """A decoder's last position sees a bag of words, but for what the distances say."""
    config = dataclasses.replace(config, n_layers=1)
    params = draw(config)
    swapped = TOKENS[:, [1, 0, *range(2, 20)]]
    last = forward(config, params, TOKENS)[:, -1]
    assert float(jnp.abs(last - forward(config, params, swapped)[:, -1]).max()) > 1e-4
    silent = {
        path: jnp.zeros_like(weight) if path.endswith(("relative_bias", "attn/r")) else weight
        for path, weight in params.items()
    }
    last = forward(config, silent, TOKENS)[:, -1]
    np.testing.assert_allclose(last, forward(config, silent, swapped)[:, -1], atol=1e-5)


@pytest.mark.slow
@every_model
def test_packed_texts_are_those_texts(config: ModelConfig) -> None:
    params = draw(config)
    packed = Inputs(
        jnp.asarray(TOKENS[:1]),
        segments_BT=jnp.repeat(jnp.array([1, 2]), jnp.array([8, 12]), total_repeat_length=20)[None],
        positions_BT=jnp.concatenate([jnp.arange(8), jnp.arange(12)])[None],
    )
    found = forward(config, params, packed)
    alone = [forward(config, params, TOKENS[:1, :8]), forward(config, params, TOKENS[:1, 8:])]
    np.testing.assert_allclose(found, jnp.concatenate(alone, axis=1), atol=2e-5)


@pytest.mark.slow
@every_model
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(None, id="base"),
        pytest.param(Prefix(length=3), id="prefix"),
        pytest.param(Prompt(length=3), id="prompt"),
    ],
)
def test_a_text_read_in_parts_is_the_text_read_at_once(config: ModelConfig, method: Any) -> None:
    params = draw(config)
    hooks = NO_HOOKS
    if method is not None:
        built = method.build(config)
        trainable, frozen = adapt(params, built, 0)
        params = {**frozen, **jax.tree.map(lambda w: w + 0.3, trainable)}
        hooks = built.hooks
    whole = forward(config, params, TOKENS, hooks)
    weights = unstack(params, config.n_layers)
    cache = start_cache(config, weights, 2, 24, hooks)
    step = jax.jit(partial(extend, Pass(config, hooks)))
    states, start = [], 0
    for n in (10, 1, 9):
        x_BTD, cache = step(weights, cache, TOKENS[:, start : start + n])
        states.append(x_BTD)
        start += n
    found = read_head(config, weights.outside, jnp.concatenate(states, axis=1), hooks)
    np.testing.assert_allclose(found, whole, atol=5e-5)


@pytest.mark.slow
@every_model
def test_rows_behind_a_shared_row_are_whole_texts(config: ModelConfig) -> None:
    params = draw(config)
    weights = unstack(params, config.n_layers)
    step = jax.jit(partial(extend, Pass(config)))
    shared = step(weights, start_cache(config, weights, 1, 8), TOKENS[:1, :6])[1]
    own = np.array([[5, 6, 7], [0, 8, 9]], np.int32)
    real = np.array([[True, True, True], [False, True, True]])
    found, cache = step(weights, start_cache(config, weights, 2, 8), own, real, shared=shared)
    more, _ = step(weights, cache, own[:, -1:], shared=shared)
    logits = read_head(config, weights.outside, jnp.concatenate([found, more], axis=1))
    for row, text in enumerate(([5, 6, 7, 7], [8, 9, 9])):
        whole = forward(config, params, np.array([[*TOKENS[0, :6], *text]], np.int32))
        np.testing.assert_allclose(logits[row, -len(text) :], whole[0, -len(text) :], atol=5e-5)


@every_model
def test_a_table_of_buckets_is_one_for_all_layers(config: ModelConfig) -> None:
    specs = declare(config)
    assert ("relative_bias" in specs) == (config.positions == "t5")
    assert ("blocks/attn/r" in specs) == (config.positions == "transformer_xl")
    assert not {"blocks/attn/r", "relative_bias"} & {path for path in specs if path.startswith("embed/")}


def test_flops_count_the_distances() -> None:
    """XLA's count of one block of one sequence, as tests/model/test_transformer.py has it for the others."""
    config = ModelConfig(
        d_model=256, n_layers=1, n_heads=4, vocab_size=8, context=128, positions="transformer_xl"
    )
    T = config.context
    specs = {p.removeprefix("blocks/"): s for p, s in declare(config).items() if p.startswith("blocks/")}
    block = {path: jax.ShapeDtypeStruct(spec.shape[1:], jnp.float32) for path, spec in specs.items()}
    x_BTD = jax.ShapeDtypeStruct((1, T, config.d_model), jnp.float32)
    with counting():
        lowered = jax.jit(
            jax.value_and_grad(lambda block, x: jnp.sin(apply_block(Pass(config), block, x)).sum(), (0, 1))
        ).lower(block, x_BTD)
        analysis = lowered.compile().cost_analysis()
    assert analysis is not None
    head = 3 * 2 * config.d_model * config.vocab_size
    # Less than the others' 3 %: nothing asks for the gradient of the sines.
    unasked = 2 * specs["attn/r"].size // config.n_layers
    ours = (flops_per_token(config, T) - head - unasked) * T
    assert ours == pytest.approx(analysis["flops"], rel=0.05)
    plain = flops_per_token(dataclasses.replace(config, positions="rope"), T)
    assert flops_per_token(config, T) - plain == 3 * 2 * (256 * 256 + T * 256)


def test_keys_in_front_come_first() -> None:
    assert find_key_positions(jnp.arange(2, 5), 5).tolist() == [0, 1, 2, 3, 4]
    assert find_key_positions(jnp.array([[1, 2], [1, 1]]), 3).tolist() == [[0, 1, 2], [0, 1, 1]]
    assert embed_distances(jnp.zeros(1), 4).tolist() == [[0, 0, 1, 1]]
    bias_NH = jnp.arange(64.0).reshape(32, 2)
    assert score_buckets(MODELS["t5"], bias_NH, jnp.array([3]), jnp.arange(4))[0, 1, 0].tolist() == [
        7,
        5,
        3,
        1,
    ]


def test_an_odd_width_has_no_pairs() -> None:
    with pytest.raises(LoraJaxError, match="d_model is 15, Transformer-XL's positions want it even"):
        ModelConfig(**{**SMALL, "d_model": 15, "n_heads": 3}, positions="transformer_xl")


def test_the_projection_of_distances_is_no_target() -> None:
    from lora_jax.peft.methods.lora import LoRA

    with pytest.raises(LoraJaxError, match="'r' half-matches: blocks/attn/r"):
        LoRA(rank=2, targets=("r",)).build(MODELS["transformer-xl"])
    specs = LoRA(rank=2, targets=("all",)).build(MODELS["transformer-xl"]).specs
    assert "blocks/attn/q_lora_a" in specs
    assert "blocks/attn/r_lora_a" not in specs
