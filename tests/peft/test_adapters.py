"""Bottleneck adapters and IA3: AdapterHub's numbers, published counts, the base at the start."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import BERT, LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.model.transformer import forward
from lora_jax.params import Params, combine, count
from lora_jax.peft.method import Method, MethodConfig, adapt
from lora_jax.peft.methods.adapters import AdapterH, AdapterL, ParallelAdapter
from lora_jax.peft.methods.ia3 import IA3

GOLDEN = Path(__file__).parents[1] / "golden" / "bert_adapters.npz"
SIZES: dict[str, Any] = dict(
    d_model=16, n_layers=2, n_heads=4, vocab_size=40, context=16, compute_dtype="float32"
)
MODELS = {
    "gpt2": ModelConfig(**SIZES),
    "llama": ModelConfig(**SIZES, n_kv_heads=2, **LLAMA),
    "neox": ModelConfig(**SIZES, positions="rope", rope_fraction=0.5, parallel_residual=True),
    "bert": ModelConfig(**SIZES, **BERT, n_classes=3),
}
# All start as the base: W_up is zero, the scales are one.
METHODS: dict[str, MethodConfig] = {
    "houlsby": AdapterH(rank=3),
    "lin": AdapterL(rank=3),
    "parallel": ParallelAdapter(rank=3, where="both"),
    "upper": AdapterH(rank=3, top_layers=1),
    "ia3": IA3(),
}
TOKENS = jnp.asarray(np.random.default_rng(0).integers(40, size=(2, 12)))
run = jax.jit(forward, static_argnums=(0, 3))


def random_base(model: ModelConfig) -> Params:
    """Return weights of which none is trivially 0 or 1, biases and norms included; NumPy compiles nothing."""
    draw = np.random.default_rng(0).standard_normal
    return {
        path: jnp.asarray(spec.mean + max(spec.std, 0.2) * draw(spec.shape), jnp.float32)
        for path, spec in declare(model).items()
    }


def shake(params: Params, size: float, seed: int = 1) -> Params:
    rng = np.random.default_rng(seed)
    return {p: w + size * jnp.asarray(rng.normal(size=w.shape), jnp.float32) for p, w in params.items()}


def added(method: Method, model: ModelConfig) -> int:
    return count(method.specs) - count(declare(model))


@pytest.mark.committed
@pytest.mark.parametrize(
    ("kind", "config"),
    {
        "houlsby": AdapterH(rank=4),
        "lin": AdapterL(rank=4),
        "parallel": ParallelAdapter(rank=4, where="both"),
    }.items(),
)
def test_hidden_states_are_those_of_adapterhub(kind: str, config: MethodConfig) -> None:
    with np.load(GOLDEN) as file:
        arrays = {name: file[name] for name in file.files}

    def weights(name: str) -> Params:
        marks = (f"{name}/blocks/", f"{name}/embed/")
        return {p.removeprefix(f"{name}/"): jnp.asarray(w) for p, w in arrays.items() if p.startswith(marks)}

    sizes: dict[str, Any] = dict(d_model=16, n_layers=2, n_heads=2, d_ff=24, vocab_size=40, context=16)
    model = ModelConfig(**sizes, **BERT, compute_dtype="float32")
    method = config.build(model)
    base, params = weights("params"), combine(weights("params"), weights(kind))
    assert {path: w.shape for path, w in params.items()} == {p: s.shape for p, s in method.specs.items()}
    tokens = jnp.asarray(arrays["tokens"])
    np.testing.assert_allclose(run(model, base, tokens), arrays["hidden"], rtol=0, atol=1e-5)
    hidden = run(model, params, tokens, method.hooks)
    np.testing.assert_allclose(hidden, arrays[f"{kind}/hidden"], rtol=0, atol=1e-5)


def gpt2_size(d_model: int, n_layers: int) -> ModelConfig:
    n_heads = 96 if d_model == 12288 else d_model // 64
    return ModelConfig(d_model=d_model, n_layers=n_layers, n_heads=n_heads, vocab_size=50257, context=1024)


@pytest.mark.parametrize(
    ("d_model", "n_layers", "rank", "expected"),
    [
        (1024, 24, 6, 368_784),
        (1024, 24, 224, 11_089_152),
        (1280, 36, 8, 875_808),
        (1280, 36, 248, 23_002_848),
    ],
)
def test_adapter_l_has_the_published_count(d_model: int, n_layers: int, rank: int, expected: int) -> None:
    model = gpt2_size(d_model, n_layers)
    assert added(AdapterL(rank=rank).build(model), model) == expected


@pytest.mark.parametrize(("rank", "millions"), [(1, 7.08), (4, 21.23), (8, 40.11), (16, 77.86), (64, 304.36)])
def test_adapter_h_has_the_published_count_at_the_size_of_gpt3(rank: int, millions: float) -> None:
    model = gpt2_size(12288, 96)
    assert round(added(AdapterH(rank=rank).build(model), model) / 1e6, 2) == millions
    both = ParallelAdapter(rank=rank, where="both").build(model)
    assert added(both, model) == added(AdapterH(rank=rank).build(model), model)


def test_ia3_scales_keys_values_and_hidden_units() -> None:
    for model in MODELS.values():
        per_layer = 2 * model.kv_heads * model.head_dim + model.ff_width
        assert added(IA3().build(model), model) == model.n_layers * per_layer


def test_op_by_op_the_adapted_model_starts_as_the_base_bit_for_bit() -> None:
    model = MODELS["bert"]
    base = random_base(model)
    with jax.disable_jit():
        expected = np.asarray(forward(model, base, TOKENS))
    for name, config in METHODS.items():
        method = config.build(model)
        trainable, frozen = adapt(base, method, seed=3)
        with jax.disable_jit():
            logits = np.asarray(forward(model, combine(trainable, frozen), TOKENS, method.hooks))
        assert logits.tobytes() == expected.tobytes(), name


@pytest.mark.bits
@pytest.mark.parametrize("family", ["llama", "neox", "bert"])
def test_compiled_the_adapted_model_starts_as_the_base_bit_for_bit(family: str) -> None:
    """Where XLA is most tempted to fuse what is added otherwise; test_laws.py has every method of GPT-2's."""
    model = MODELS[family]
    base, method = random_base(model), METHODS["houlsby"].build(model)
    trainable, frozen = adapt(base, method, seed=3)
    logits = np.asarray(run(model, combine(trainable, frozen), TOKENS, method.hooks))
    assert logits.tobytes() == np.asarray(run(model, base, TOKENS)).tobytes()


def test_upper_adapters_are_adapters_of_which_the_lower_are_zero() -> None:
    model = MODELS["gpt2"]
    base = random_base(model)
    every, upper = AdapterH(rank=3).build(model), AdapterH(rank=3, top_layers=1).build(model)
    trainable, frozen = adapt(base, upper, seed=3)
    assert all(path.startswith("top_blocks/") for path in trainable)
    trainable = shake(trainable, 0.3)
    whole = {
        path.replace("top_blocks/", "blocks/"): jnp.concatenate([jnp.zeros_like(w), w])
        for path, w in trainable.items()
    }
    logits = run(model, combine(trainable, frozen), TOKENS, upper.hooks)
    expected = run(model, combine(whole, base), TOKENS, every.hooks)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


def test_near_identity_is_a_truncated_normal_drawn_by_path() -> None:
    model = replace(MODELS["gpt2"], d_model=64)
    method = AdapterH(rank=32, near_identity=True).build(model)
    base = {path: jnp.zeros(spec.shape) for path, spec in declare(model).items()}
    trainable, _ = adapt(base, method, seed=3)
    again, _ = adapt(base, AdapterH(rank=32, near_identity=True).build(model), seed=3)
    other, _ = adapt(base, method, seed=4)
    for path, weight in trainable.items():
        values = np.asarray(weight).ravel()
        np.testing.assert_array_equal(weight, again[path])
        assert path.endswith("_bias") or not np.array_equal(weight, other[path])
        if path.endswith("_bias"):
            assert not values.any()
            continue
        assert 1.9e-2 < np.abs(values).max() <= 2e-2
        assert abs(values.mean()) < 1e-3
        # scipy.stats.truncnorm(-2, 2).std() = 0.8796
        assert values.std() == pytest.approx(0.8796e-2, rel=0.04)


def test_ia3_merges_into_grouped_keys() -> None:
    model = MODELS["llama"]
    method = IA3().build(model)
    trainable, frozen = adapt(random_base(model), method, seed=3)
    params = combine(shake(trainable, 0.3), frozen)
    assert method.merge is not None
    merged = method.merge(params)
    assert {p: w.shape for p, w in merged.items()} == {p: s.shape for p, s in declare(model).items()}
    logits = run(model, params, TOKENS, method.hooks)
    np.testing.assert_allclose(run(model, merged, TOKENS), logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (AdapterH, {"rank": 0}, "AdapterH.rank is 0"),
        (AdapterL, {"activation": "gelo"}, "activation is 'gelo'.*nearest: 'gelu'"),
        (ParallelAdapter, {"where": "mlps"}, "where is 'mlps', but it must be 'mlp' or"),
        (AdapterH, {"top_layers": 0}, "top_layers is 0"),
        (AdapterH, {"top_layers": 3}, "top 3 blocks of a model that has 2"),
    ],
)
def test_a_mistake_is_a_sentence(kind: type, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LoraJaxError, match=message):
        kind(**fields).build(MODELS["gpt2"])
