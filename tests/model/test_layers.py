"""The layers' own gradients beside JAX's of the same formula."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.model.cpu_gradients import sum_rows
from lora_jax.model.layers import gelu, gelu_exact, layernorm, linear, rmsnorm, swiglu

SHAPE = (3, 5, 24)


def draw(*shapes: tuple[int, ...]) -> list[jax.Array]:
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return [2 * jax.random.normal(key, shape) + 0.5 for key, shape in zip(keys, shapes, strict=True)]


def plain_layernorm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + bias


def plain_rmsnorm(x: jax.Array, scale: jax.Array) -> jax.Array:
    return x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-5) * scale


FUNCTIONS = {
    "layernorm": (lambda x, s, b: layernorm(x, s, b, 1e-5), plain_layernorm, (SHAPE, (24,), (24,))),
    "rmsnorm": (lambda x, s: rmsnorm(x, s, 1e-5), plain_rmsnorm, (SHAPE, (24,))),
    "gelu": (gelu, lambda x: jax.nn.gelu(x, approximate=True), (SHAPE,)),
    "gelu_exact": (gelu_exact, lambda x: jax.nn.gelu(x, approximate=False), (SHAPE,)),
    "swiglu": (swiglu, lambda gate, up: jax.nn.silu(gate) * up, (SHAPE, SHAPE)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("in_lanes", [False, True], ids=["alone", "in lanes"])
def test_value_and_gradient_are_jaxs(name: str, in_lanes: bool) -> None:
    own, plain, shapes = FUNCTIONS[name]
    arrays = draw(*shapes, SHAPE)
    if in_lanes:
        arrays = [jnp.stack([array, 1.5 * array]) for array in arrays]

    def pull(function: Any, *arrays: jax.Array) -> Any:
        *inputs, g = arrays
        out, back = jax.vjp(function, *inputs)
        return out, *back(g)

    def run(function: Any) -> Any:
        pulled = lambda *arrays: pull(function, *arrays)  # noqa: E731
        return jax.jit(jax.vmap(pulled) if in_lanes else pulled)(*arrays)

    for ours, theirs in zip(run(own), run(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("norm", [lambda x, s: layernorm(x, s, None, 1e-5), lambda x, s: rmsnorm(x, s, 1e-5)])
def test_a_norm_is_computed_in_float32_and_given_back_in_its_inputs_type(norm: Any) -> None:
    x, scale = draw(SHAPE, (24,))
    half = x.astype(jnp.bfloat16)
    out, back = jax.vjp(norm, half, scale)
    assert out.dtype == jnp.bfloat16
    wanted = norm(half.astype(jnp.float32), scale)
    np.testing.assert_allclose(out.astype(jnp.float32), wanted, rtol=2**-8)
    dx, dscale = back(jnp.ones_like(out))
    assert (dx.dtype, dscale.dtype) == (jnp.bfloat16, jnp.float32)


def test_rows_are_summed_over_every_axis_but_the_last() -> None:
    (g,) = draw(SHAPE)
    np.testing.assert_allclose(sum_rows(g), np.asarray(g, np.float64).sum((0, 1)), rtol=1e-6)


def test_an_activation_saves_its_inputs_alone() -> None:
    """What is saved between forward and backward is read off the pulled-back function: x alone."""
    (x,) = draw(SHAPE)
    _, back = jax.vjp(gelu, x)
    saved = [leaf for leaf in jax.tree.leaves(back) if getattr(leaf, "shape", ()) == SHAPE]
    assert len(saved) == 1


def test_linear_and_its_gradient_agree_with_tensordot() -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    x, w = jax.random.normal(keys[0], (2, 3, 4, 5)), jax.random.normal(keys[1], (4, 5, 6))
    ours, pull_ours = jax.vjp(lambda x, w: linear(x, w, n_contract=2), x, w)
    theirs, pull_theirs = jax.vjp(lambda x, w: jnp.tensordot(x, w, axes=2), x, w)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    g = jax.random.normal(keys[2], ours.shape)
    for mine, other in zip(pull_ours(g), pull_theirs(g), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5)
