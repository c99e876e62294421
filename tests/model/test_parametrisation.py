"""A parametrisation changes how a model starts and what it multiplies, and nothing else."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import BERT, LLAMA, ModelConfig, OptimConfig, RunConfig, run_id, to_dict
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import count_parameters, declare, flops_per_token
from lora_jax.model.parametrisation import base_of, fold_multipliers
from lora_jax.model.transformer import forward
from lora_jax.params import init
from lora_jax.weight_class import WeightClass, classify

SHAPE: dict[str, Any] = dict(vocab_size=40, context=16)
KINDS: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "untied": dict(tied_head=False),
    "llama": dict(LLAMA, n_kv_heads=2, qk_norm=True),
    "transformer_xl": dict(positions="transformer_xl"),
    "t5": dict(positions="t5"),
    "parallel": dict(parallel_residual=True, tied_head=False),
}


def model(kind: str = "gpt2", width: int = 32, depth: int = 2, **more: Any) -> ModelConfig:
    fields: dict[str, Any] = dict(SHAPE, d_model=width, n_layers=depth, n_heads=width // 8, **KINDS[kind])
    if "n_kv_heads" in KINDS[kind]:
        fields["n_kv_heads"] = width // 16
    return ModelConfig(**(fields | more))


def relative_to(base: ModelConfig, config: ModelConfig, name: Any) -> ModelConfig:
    depth = base.n_layers if name == "completep" else None
    return replace(config, parametrisation=name, base_width=base.d_model, base_depth=depth)


def logits_of(config: ModelConfig, seed: int = 0) -> np.ndarray:
    tokens = jnp.arange(24).reshape(2, 12) * 7 % config.vocab_size
    return np.asarray(forward(config, init(declare(config), seed), tokens))


@pytest.mark.parametrize("name", ["mup", "completep"])
@pytest.mark.parametrize("kind", KINDS)
def test_at_its_base_a_model_is_the_standard_one_to_the_bit(kind, name):
    standard = model(kind)
    scaled = relative_to(standard, standard, name)
    assert declare(scaled) == declare(standard)
    np.testing.assert_array_equal(logits_of(scaled), logits_of(standard))


@pytest.mark.parametrize("kind", KINDS)
def test_the_base_of_a_wider_model_is_the_smaller_one(kind):
    small, large = model(kind), model(kind, width=96, depth=6)
    base = base_of(relative_to(small, large, "completep"))
    assert declare(base) == declare(small)
    assert base_of(relative_to(small, large, "mup")).n_layers == 6


@pytest.mark.parametrize("name", ["mup", "completep"])
@pytest.mark.parametrize("kind", KINDS)
def test_starts_follow_the_papers_table(kind, name):
    small = model(kind)
    large = relative_to(small, model(kind, width=128, depth=8), name)
    starts, base = declare(large), declare(small if name == "completep" else replace(small, n_layers=8))
    for path, spec in starts.items():
        if classify(spec) is WeightClass.MATRIX:  # variance s^2 / m_N
            ratio = spec.fan_in / base[path].fan_in
            assert ratio == pytest.approx(4, rel=0.06)  # a gated MLP's width is rounded up to 8
            assert spec.std == pytest.approx(base[path].std * ratio**-0.5)
        else:  # s^2
            assert spec.std == base[path].std


def test_in_plain_no_start_knows_the_width():
    for kind in KINDS:
        small, large = (declare(model(kind, width=w, parametrisation="plain")) for w in (32, 128))
        for path, spec in small.items():
            assert large[path].std == pytest.approx(spec.std, rel=1e-12)
        assert small["embed/tokens"].std == pytest.approx(0.02)
        assert small["blocks/mlp/up"].std == pytest.approx(0.02)
        assert small["blocks/mlp/down"].std == pytest.approx(0.02 / 4**0.5)  # 2 n_layers


def test_only_starts_and_multipliers_change():
    standard = model(width=64, depth=4)
    scaled = relative_to(model(), standard, "completep")
    assert count_parameters(scaled) == count_parameters(standard)
    assert flops_per_token(scaled, 16) == flops_per_token(standard, 16)
    shapes = [{path: spec.axes for path, spec in declare(config).items()} for config in (standard, scaled)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("kind", KINDS)
def test_multipliers_do_what_the_paper_says_and_fold_away(kind):
    scaled = relative_to(model(kind), model(kind, width=64, depth=4), "completep")
    weights = init(declare(scaled), 3)
    # Weights that are not at their start, so that biases and norms count.
    weights = {
        path: weight + 0.1 * jax.random.normal(jax.random.key(i), weight.shape)
        for i, (path, weight) in enumerate(sorted(weights.items()))
    }
    tokens = jnp.arange(20).reshape(2, 10) % 40
    by_multipliers = forward(scaled, weights, tokens)
    standard, folded = fold_multipliers(scaled, weights)
    assert standard.parametrisation == "standard"
    np.testing.assert_allclose(forward(standard, folded, tokens), by_multipliers, rtol=2e-5, atol=2e-5)
    assert np.abs(np.asarray(forward(standard, weights, tokens) - by_multipliers)).max() > 1e-2
    # By hand: W / 2 at the head, and F / 2 in each sublayer, of a model twice as wide and as deep.
    halved = dict(weights)
    for path in weights:
        if path.endswith(("attn/o", "mlp/down", "attn/o_bias", "mlp/down_bias")):
            halved[path] = weights[path] / 2
    np.testing.assert_allclose(forward(standard, halved, tokens) / 2, by_multipliers, rtol=2e-5, atol=2e-5)


def test_standard_is_what_it_was():
    """The fields came later: a run that does not use them keeps its name."""
    run = RunConfig(model=model(context=128), n_tokens=10**6)
    assert "parametrisation" not in to_dict(run)["model"]
    assert run_id(run) == run_id(replace(run, model=replace(run.model, parametrisation="standard")))
    plain = replace(
        run,
        model=replace(run.model, parametrisation="plain"),
        optim=OptimConfig(lr_size_exponent=0),
    )
    assert run_id(plain) != run_id(run)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(parametrisation="mup"), "base_width is not set"),
        (dict(parametrisation="completep", base_width=32), "base_depth is not set"),
        (dict(base_width=32), "does not use it"),
        (dict(parametrisation="mup", base_width=32, base_depth=2), "does not use it"),
        (dict(parametrisation="mup", base_width=36), "heads"),
        (dict(parametrisation="mup", base_width=32, d_ff=130, width=96), "d_ff"),
        (dict(parametrisation="mupp"), "'mup'"),
        (dict(parametrisation="mup", base_width=0), "base_width"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(fields, words):
    with pytest.raises(LoraJaxError, match=words):
        declare(model(**fields))


def test_post_norm_has_no_mup():
    with pytest.raises(LoraJaxError, match="norm_placement"):
        ModelConfig(d_model=32, n_layers=2, n_heads=4, parametrisation="mup", base_width=16, **SHAPE, **BERT)


def test_a_rate_rule_beside_a_parametrisation_is_refused():
    with pytest.raises(LoraJaxError, match="lr_size_exponent"):
        RunConfig(model=model(parametrisation="plain", context=128), n_tokens=10**6)
