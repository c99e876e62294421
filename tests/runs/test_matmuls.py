"""The chain of matmuls multiplies what a training step multiplies: no product more, none less."""

from collections import Counter
from typing import Any

import jax
import numpy as np
import pytest

from lora_jax.config import LLAMA, ModelConfig
from lora_jax.model.declare import flops_per_token
from lora_jax.runs.matmuls import chain_matmuls, compile_matmuls, list_products, make_operands, time_matmuls

SMALL: dict[str, Any] = {"d_model": 16, "n_layers": 3, "n_heads": 4, "vocab_size": 50, "context": 12}
SHAPES = {
    "gpt2": ModelConfig(**SMALL),
    "llama": ModelConfig(**SMALL, n_kv_heads=2, tied_head=False, **LLAMA),
    "llama, tied": ModelConfig(**SMALL, **LLAMA),
}
every_shape = pytest.mark.parametrize("model", SHAPES.values(), ids=SHAPES.keys())
BATCH, SEQ_LEN = 5, 11


@every_shape
def test_the_listed_products_are_those_that_are_counted(model: ModelConfig) -> None:
    flops = sum(
        2 * np.prod(left) * right[-1] * times for left, right, times in list_products(model, BATCH, SEQ_LEN)
    )
    assert flops == flops_per_token(model, SEQ_LEN) * BATCH * SEQ_LEN


@every_shape
def test_the_program_holds_the_listed_products_and_no_other_arithmetic(model: ModelConfig) -> None:
    operands = make_operands(model, BATCH, SEQ_LEN)
    equations = jax.make_jaxpr(chain_matmuls, static_argnums=0)(model.n_layers, operands).jaxpr.eqns
    assert {equation.primitive.name for equation in equations} == {"dot_general", "transpose"}
    listed: Counter[tuple[int, ...]] = Counter()
    for left, right, times in list_products(model, BATCH, SEQ_LEN):
        listed[(*left[:-2], left[-2], left[-1], right[-1])] += times
    assert Counter(size(e) for e in equations if e.primitive.name == "dot_general") == listed


def size(equation: Any) -> tuple[int, ...]:
    """Return (batch,) rows, inner, columns of a product; at most one batch axis, one summed axis."""
    (summed, _), (batch, _) = equation.params["dimension_numbers"]
    left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    assert len(summed) == 1
    return (*(left[axis] for axis in batch), out[-2], left[summed[0]], out[-1])


@every_shape
def test_xla_computes_them_all(model: ModelConfig) -> None:
    operands = make_operands(model, BATCH, SEQ_LEN)
    compiled = jax.jit(chain_matmuls, static_argnums=0).lower(model.n_layers, operands).compile()
    analysis = compiled.cost_analysis()
    assert analysis is not None
    assert analysis["flops"] == flops_per_token(model, SEQ_LEN) * BATCH * SEQ_LEN


@every_shape
def test_no_number_grows_or_vanishes(model: ModelConfig) -> None:
    operands = make_operands(model, BATCH, SEQ_LEN)
    (xs, q), _ = chain_matmuls(40, operands)
    once, _ = chain_matmuls(1, operands)
    for deep, shallow in zip([*xs, q], jax.tree.leaves(once), strict=True):
        np.testing.assert_allclose(deep, shallow, atol=1e-4)
        assert np.abs(np.asarray(deep)).max() > 0.05


def test_the_matmuls_are_timed() -> None:
    model = SHAPES["gpt2"]
    assert 0 < time_matmuls(model, BATCH, SEQ_LEN, repeats=2) < 10
    compile_matmuls(model, 1, 1)()
