"""Cross-entropy in chunks is cross-entropy: the same loss and gradient, and no array of all logits."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import LLAMA, ModelConfig
from lora_jax.model.compiled_for import compiling_for
from lora_jax.model.declare import declare
from lora_jax.model.hooks import NO_HOOKS, Hooks, Pass
from lora_jax.model.layers import linear
from lora_jax.model.transformer import Inputs, encode, forward
from lora_jax.params import Params, init
from lora_jax.target import parse_target
from lora_jax.training import loss as module
from lora_jax.training.loss import Room, count_chunks, cross_entropy, mean_loss, summed_loss, token_losses

SMALL: dict[str, Any] = {"d_model": 16, "n_layers": 1, "n_heads": 2, "vocab_size": 50, "context": 12}
SHAPES = {
    "tied": ModelConfig(**SMALL),
    "untied": ModelConfig(**SMALL, tied_head=False, **LLAMA),
}
every_shape = pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES.keys())


@pytest.fixture(autouse=True)
def few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no more than 5 positions of 3 rows be whole."""
    monkeypatch.setitem(module.ROOM, "cpu", Room(4 * 3 * 5 * 50, 1))


def draw(config: ModelConfig) -> tuple[Params, jax.Array]:
    windows_BU = jax.random.randint(jax.random.key(1), (3, 12), 0, config.vocab_size)
    return init(declare(config), 0), windows_BU


def plain_loss(config: ModelConfig, params: Params, windows_BU: jax.Array) -> jax.Array:
    log_BTV = jax.nn.log_softmax(forward(config, params, windows_BU[:, :-1]))
    return -jnp.take_along_axis(log_BTV, windows_BU[:, 1:, None], axis=-1).mean()


def agree(ours: Any, theirs: Any) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6, rtol=1e-5)


@every_shape
def test_loss_and_gradient_in_chunks_are_those_of_whole_logits(config: ModelConfig) -> None:
    params, windows_BU = draw(config)
    assert count_chunks(config, 3, 11) == 3  # 4 positions each, the last filled up
    ours = jax.jit(jax.value_and_grad(lambda p: mean_loss(config, p, windows_BU)))(params)
    agree(ours, jax.jit(jax.value_and_grad(lambda p: plain_loss(config, p, windows_BU)))(params))


def test_every_tokens_loss_and_its_gradient() -> None:
    config = SHAPES["tied"]
    params, windows_BU = draw(config)
    x_BTD = jax.random.normal(jax.random.key(2), (3, 11, 16))
    weights_BT = jax.random.uniform(jax.random.key(3), (3, 11))

    def whole(params: Params, x_BTD: jax.Array) -> jax.Array:
        return (weights_BT * cross_entropy(x_BTD @ params["embed/tokens"].T, windows_BU[:, 1:])).sum()

    def one_by_one(params: Params, x_BTD: jax.Array) -> jax.Array:
        return (weights_BT * token_losses(Pass(config), params, x_BTD, windows_BU[:, 1:])).sum()

    def together(params: Params, x_BTD: jax.Array) -> jax.Array:
        return summed_loss(Pass(config), params, x_BTD, windows_BU[:, 1:], weights_BT) * 1.0

    theirs = jax.value_and_grad(whole, (0, 1))(params, x_BTD)
    agree(jax.value_and_grad(one_by_one, (0, 1))(params, x_BTD), theirs)
    agree(jax.value_and_grad(together, (0, 1))(params, x_BTD), theirs)
    agree(together(params, x_BTD), theirs[0])


def low_rank_head(point: Any, x: jax.Array, apply: Any) -> jax.Array:
    if point.path != "head":
        return apply(x)
    return apply(x) + linear(linear(x, point.weights["head_a"]), point.weights["head_b"])


@pytest.mark.parametrize(("shape", "lanes"), [("tied", 3), ("untied", 1)])
def test_only_an_adapter_of_the_head_trains(shape: str, lanes: int) -> None:
    config = SHAPES[shape]
    base, windows_BU = draw(config)
    hooks = Hooks(linear=low_rank_head)
    adapters = {
        "head_a": jax.random.normal(jax.random.key(4), (lanes, 16, 2)),
        "head_b": jax.random.normal(jax.random.key(5), (lanes, 2, 50)),
    }
    inputs, targets = Inputs(windows_BU[:, :-1]), windows_BU[:, 1:]

    def ours(adapter: Params) -> jax.Array:
        params = {**base, **adapter}
        x_BTD = encode(config, params, inputs, hooks, None)
        return (
            summed_loss(Pass(config, hooks), params, x_BTD, targets, jnp.ones(targets.shape)) / targets.size
        )

    def theirs(adapter: Params) -> jax.Array:
        return cross_entropy(forward(config, {**base, **adapter}, inputs, hooks), targets).mean()

    agree(
        jax.jit(jax.vmap(jax.value_and_grad(ours)))(adapters),
        jax.jit(jax.vmap(jax.value_and_grad(theirs)))(adapters),
    )


def equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def test_no_array_holds_all_logits_and_a_frozen_head_has_no_gradient() -> None:
    config = dataclasses.replace(SHAPES["untied"], vocab_size=1000)
    params, windows_BU = draw(config)
    head = {"head": params.pop("head")}

    def made(trainable: Params, frozen: Params) -> tuple[int, set[tuple[int, ...]]]:
        """Return the size of the largest array of logits, and the shapes of what loops carry or stack."""
        traced = jax.make_jaxpr(jax.grad(lambda p: mean_loss(config, {**p, **frozen}, windows_BU)))(trainable)
        found = [(e.primitive.name, v.aval.shape) for e in equations(traced.jaxpr) for v in e.outvars]
        largest = max(math.prod(shape) for _, shape in found if shape[-1:] == (1000,) and shape[0] != 16)
        return largest, {shape for name, shape in found if name == "scan"}

    assert made(params, head)[0] == 3 * 1000  # one position of each row a chunk, of 11
    assert (16, 1000) not in made(params, head)[1]
    assert (16, 1000) in made({**params, **head}, {})[1]


def test_small_logits_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert count_chunks(SHAPES["tied"], 3, 11) == 1
    large = dataclasses.replace(SHAPES["tied"], vocab_size=50257)
    assert count_chunks(large, 16, 128) == 8  # 256 tokens each, though they are 51 MB
    assert count_chunks(dataclasses.replace(large, vocab_size=512), 64, 128) == 1
    with compiling_for(parse_target("h100")):
        assert count_chunks(large, 16, 128) == 1
        assert count_chunks(large, 32, 1024) == 13
    params, windows_BU = draw(SHAPES["tied"])
    x_BTD = encode(SHAPES["tied"], params, Inputs(windows_BU[:, :-1]), NO_HOOKS, None)
    weights_BT = jnp.full((3, 11), 1 / 33)
    total = summed_loss(Pass(SHAPES["tied"]), params, x_BTD, windows_BU[:, 1:], weights_BT)
    assert float(total) == pytest.approx(float(plain_loss(SHAPES["tied"], params, windows_BU)), rel=1e-6)
