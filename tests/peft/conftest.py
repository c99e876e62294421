"""Tiny models of the three kinds, their weights, and adapted weights that have left their start."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import BERT, LLAMA, ModelConfig
from lora_jax.model.declare import declare
from lora_jax.model.transformer import forward
from lora_jax.params import Params, Spec
from lora_jax.peft.method import Adapted, MethodConfig, adapt

SIZES: dict[str, Any] = dict(d_model=16, n_layers=2, n_heads=2, vocab_size=40, context=24)
MODELS = {
    "gpt2": ModelConfig(**SIZES, compute_dtype="float32"),
    "llama": ModelConfig(**SIZES, compute_dtype="float32", n_kv_heads=1, tied_head=False, **LLAMA),
    "bert": ModelConfig(**SIZES, compute_dtype="float32", n_classes=3, **BERT),
}

HASTY: dict[str, Any] = {"xla_backend_optimization_level": 0}


@pytest.fixture(scope="session")
def models() -> dict[str, ModelConfig]:
    return MODELS


@pytest.fixture(scope="session")
def bases() -> dict[str, Params]:
    """Drawn by NumPy, which compiles nothing; biases and norms have left their start too."""
    draw = np.random.default_rng(0).standard_normal

    def weight(spec: Spec) -> jax.Array:
        return jnp.asarray(spec.mean + max(spec.std, 0.05) * draw(spec.shape), jnp.float32)

    return {name: {p: weight(s) for p, s in declare(model).items()} for name, model in MODELS.items()}


@pytest.fixture(scope="session")
def tokens_BT() -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).integers(0, SIZES["vocab_size"], (3, 12)))


@pytest.fixture(scope="session")
def run() -> Callable[..., jax.Array]:
    """The compiled forward pass; hooks are told apart by identity, so that a method compiles once."""
    return jax.jit(forward, static_argnums=(0, 3))


@pytest.fixture(scope="session")
def run_plainly() -> Callable[..., jax.Array]:
    """The same, compiled in half the time: for tests in which only the function counts."""
    return jax.jit(forward, static_argnums=(0, 3), compiler_options=HASTY)


@pytest.fixture(scope="session")
def moved() -> Callable[..., Adapted]:
    """Adapted weights of which every trained number has left its start, as training leaves it."""

    def move(model: ModelConfig, base: Params, config: MethodConfig, size: float = 0.05) -> Adapted:
        trainable, frozen = adapt(base, config.build(model), seed=1)
        draw = np.random.default_rng(3).standard_normal
        new = {p: np.asarray(w) + size * draw(w.shape) for p, w in trainable.items()}
        return Adapted({p: jnp.asarray(w, jnp.float32) for p, w in new.items()}, frozen)

    return move
