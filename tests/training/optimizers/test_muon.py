"""Muon against a reference of its own in float64, and the laws of its iteration for every shape."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import LLAMA, ModelConfig, OptimConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.params import Spec
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import BitFit
from lora_jax.training.optimizers.muon import Muon, orthogonalise
from lora_jax.training.optimizers.optimizer import Hyperparams
from lora_jax.training.scales import scales_of
from lora_jax.weight_class import WeightClass, classify

from .kinds import random_gradients

MODEL = ModelConfig(
    d_model=24,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    d_ff=40,
    vocab_size=32,
    context=16,
    tied_head=False,
    **LLAMA,
)
LAYERS, D, H, J, K, F, R = 2, 24, 4, 2, 6, 40, 3
# How each weight's product reads, written here by hand: Y layers, then what it sums over, then what it gives.
AS_WRITTEN = {
    "blocks/attn/q": ("YDHK->YD(HK)", (LAYERS, D, H * K)),
    "blocks/attn/k": ("YDJK->YD(JK)", (LAYERS, D, J * K)),
    "blocks/attn/v": ("YDJK->YD(JK)", (LAYERS, D, J * K)),
    "blocks/attn/o": ("YHKD->Y(HK)D", (LAYERS, H * K, D)),
    "blocks/mlp/up": ("YDF->YDF", (LAYERS, D, F)),
    "blocks/mlp/gate": ("YDF->YDF", (LAYERS, D, F)),
    "blocks/mlp/down": ("YFD->YFD", (LAYERS, F, D)),
}
RULES = {
    "moonlight": lambda fan_in, fan_out: 0.2 * np.sqrt(max(fan_in, fan_out)),
    "jordan": lambda fan_in, fan_out: np.sqrt(max(1, fan_out / fan_in)),
    "spectral": lambda fan_in, fan_out: np.sqrt(fan_out / fan_in),
}


def iterate(x: np.ndarray) -> np.ndarray:
    """Newton and Schulz in float64, of one matrix."""
    wide = x.T if x.shape[0] > x.shape[1] else x
    wide = wide.astype(np.float64) / np.linalg.norm(wide)
    for _ in range(5):
        gram = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * gram + 2.0315 * gram @ gram) @ wide
    return wide.T if x.shape[0] > x.shape[1] else wide


def take(optimizer: Muon, specs: Any, gradient: Any) -> Any:
    """Return the updates of a first step, without clipping and decay."""
    rule = optimizer.transform(specs, {})
    params = {path: jnp.zeros(spec.shape) for path, spec in specs.items()}
    unclipped = Hyperparams(1.0, 0.0, 1e9)
    return jax.jit(lambda: rule.update(gradient, rule.init(params), params, hyperparams=unclipped)[0])()


@pytest.mark.parametrize("shape_rule", RULES)
def test_an_update_is_as_large_as_the_rule_says_for_every_shape(shape_rule: Any) -> None:
    specs = declare(MODEL)
    assert {path for path, spec in specs.items() if classify(spec) is WeightClass.MATRIX} == AS_WRITTEN.keys()
    [gradient] = random_gradients(specs, 1)
    updates = take(Muon(shape_rule=shape_rule), specs, gradient)
    for path, (words, shape) in AS_WRITTEN.items():
        factor = RULES[shape_rule](*shape[1:])
        assert Muon(shape_rule=shape_rule).update_norm(specs[path]) == pytest.approx(factor)
        for got, g in zip(
            np.asarray(updates[path]).reshape(shape), gradient[path].reshape(shape), strict=True
        ):
            sigma = np.linalg.svd(iterate(g), compute_uv=False)
            entries = np.sqrt((sigma**2).sum() / g.size)  # the RMS of a matrix of these singular values
            assert np.sqrt((got**2).mean()) == pytest.approx(factor * entries, rel=1e-4), words
            np.testing.assert_allclose(got, factor * iterate(g), atol=2e-4 * factor, err_msg=words)


def test_factors_of_lora_are_matrices_too() -> None:
    method = LoRA(rank=R).build(MODEL)
    specs = {path: method.specs[path] for path in method.trainable}
    [gradient] = random_gradients(specs, 1)
    updates = take(Muon(), specs, gradient)
    a, b = "blocks/attn/q_lora_a", "blocks/attn/q_lora_b"
    for path, shape in ((a, (LAYERS, D, R)), (b, (LAYERS, R, H * K))):
        got = np.asarray(updates[path]).reshape(shape)[1]
        expected = iterate(gradient[path].reshape(shape)[1])
        np.testing.assert_allclose(got, 0.2 * np.sqrt(D) * expected, atol=2e-4)


@pytest.mark.parametrize(("fan_in", "fan_out"), [(16, 64), (64, 16), (8, 100), (32, 48), (200, 50)])
def test_singular_values_of_rectangles_come_near_one(fan_in: int, fan_out: int) -> None:
    x_YIO = jax.random.normal(jax.random.key(0), (3, fan_in, fan_out))
    sigma = np.linalg.svd(np.asarray(orthogonalise(x_YIO)), compute_uv=False)
    assert sigma.min() > 0.6
    assert sigma.max() < 1.25
    left, _, right = np.linalg.svd(np.asarray(x_YIO), full_matrices=False)
    inside = np.einsum("yia,yio,ybo->yab", left, np.asarray(orthogonalise(x_YIO)), right)
    off = inside - np.einsum("yaa,ab->yab", inside, np.eye(inside.shape[-1]))
    assert abs(off).max() < 1e-3, "the singular vectors are kept"


def test_no_gradient_is_no_update_and_its_size_does_not_matter() -> None:
    x_YIO = jax.random.normal(jax.random.key(0), (1, 8, 24))
    assert not np.asarray(orthogonalise(0 * x_YIO)).any()
    np.testing.assert_allclose(orthogonalise(1e-12 * x_YIO), orthogonalise(x_YIO), atol=1e-4)
    padded = orthogonalise(jnp.pad(x_YIO, ((0, 0), (0, 4), (0, 0))))
    np.testing.assert_allclose(padded[:, :8], orthogonalise(x_YIO), atol=1e-4)


def test_twenty_steps_equal_a_reference_in_float64() -> None:
    specs = {
        "w": Spec((("layers", 2), ("d_model", 12), ("heads", 4), ("head_dim", 8)), ("d_model",)),
        "o": Spec((("layers", 2), ("heads", 4), ("head_dim", 8), ("d_model", 12)), ("heads", "head_dim")),
        "b": Spec((("layers", 2), ("d_model", 12))),
        "embed": Spec((("vocab", 20), ("d_model", 12)), ("d_model",)),
    }
    optimizer = Muon(adam_rate=0.3, adam_decay=0.5)
    scales = scales_of(specs, OptimConfig(optimizer=optimizer))
    rule = optimizer.transform(specs, scales)
    gradients, rate, decay, clip = random_gradients(specs, 20), 0.02, 0.3, 5.0
    [start] = random_gradients(specs, 1, seed=1)
    params: Any = {path: jnp.asarray(weight) for path, weight in start.items()}
    state, update = rule.init(params), jax.jit(rule.update)
    for gradient in gradients:
        updates: Any
        updates, state = update(gradient, state, params, hyperparams=Hyperparams(rate, decay, clip))
        params = {path: w - rate * scales[path].rate * updates[path] for path, w in params.items()}
    expected = _reference(start, gradients, rate, decay, clip)
    for path, weight in params.items():
        np.testing.assert_allclose(np.asarray(weight), expected[path], rtol=0, atol=1e-4, err_msg=path)


def _reference(start: Any, gradients: Any, rate: float, decay: float, clip: float) -> Any:
    """Muon with Adam beside it in float64: beta 0.95 with Nesterov's step, betas 0.9 and 0.95."""
    weights = {path: weight.astype(np.float64) for path, weight in start.items()}
    m = {path: np.zeros_like(weight) for path, weight in weights.items()}
    v = {path: np.zeros_like(weight) for path, weight in weights.items()}
    for step, raw in enumerate(gradients, start=1):
        norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in raw.values()))
        g = {path: one.astype(np.float64) * min(1.0, clip / norm) for path, one in raw.items()}
        for path, shape in (("w", (12, 32)), ("o", (32, 12))):
            m[path] = 0.95 * m[path] + 0.05 * g[path]
            ahead = 0.05 * g[path] + 0.95 * m[path]
            x = np.stack([iterate(one.reshape(shape)) for one in ahead]).reshape(m[path].shape)
            weights[path] = weights[path] * (1 - rate * decay) - rate * 0.2 * np.sqrt(32) * x
        for path in ("b", "embed"):
            m[path] = 0.9 * m[path] + 0.1 * g[path]
            v[path] = 0.95 * v[path] + 0.05 * g[path] ** 2
            u = m[path] / (1 - 0.9**step) / (np.sqrt(v[path] / (1 - 0.95**step)) + 1e-8)
            own_decay = 0.5 * decay if path == "embed" else 0.0
            weights[path] = weights[path] - 0.3 * rate * (u + own_decay * weights[path])
    return weights


def test_a_model_without_matrices_is_refused() -> None:
    method = BitFit().build(ModelConfig(d_model=16, n_layers=1, n_heads=2, vocab_size=32, context=16))
    specs = {path: method.specs[path] for path in method.trainable}
    with pytest.raises(LoraJaxError, match=r"muon, which is for matrices, and none of the \d+ weights"):
        Muon().transform(specs, {})


def test_its_products_are_counted() -> None:
    one = Spec((("layers", 3), ("d_model", 8), ("d_ff", 20)), ("d_model",))
    products = 2 * 8 * 8 * 20 + 2 * 8 * 8 * 8 + 2 * 8 * 8 * 20  # X X^T, A A, B X
    assert Muon().flops(one) == 5 * 3 * products
    assert Muon().flops(Spec((("vocab", 9), ("d_model", 8)))) == 0
