"""Laws of the transformer: causality, initial loss, counts, FLOPs, and its hand-written gradients."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.convention import counting
from lora_jax.model.declare import count_parameters, declare, flops_per_token
from lora_jax.model.hooks import Hooks, Pass
from lora_jax.model.layers import linear
from lora_jax.model.transformer import apply_block, forward
from lora_jax.params import Params, init

SMALL: dict[str, Any] = {"d_model": 16, "n_layers": 2, "n_heads": 4, "vocab_size": 50, "context": 12}
SHAPES = {
    "gpt2": ModelConfig(**SMALL),
    "llama": ModelConfig(**SMALL, n_kv_heads=2, tied_head=False, **LLAMA),
    "llama, tied": ModelConfig(**SMALL, **LLAMA),
}
every_shape = pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES.keys())


def draw_tokens(config: ModelConfig, batch: int = 2) -> jax.Array:
    return jax.random.randint(jax.random.key(1), (batch, config.context), 0, config.vocab_size)


@every_shape
def test_no_gradient_flows_from_a_position_to_a_later_token(config: ModelConfig) -> None:
    params = init(declare(config), 0)
    tokens = draw_tokens(config, 1)
    T = config.context

    def logits(embedded_TD: jax.Array) -> jax.Array:
        # Each position looks up a row of its own, so that the gradient by row is the gradient by position.
        table = {**params, "embed/tokens": embedded_TD}
        if config.tied_head:
            table["head"] = params["embed/tokens"].T
        untied = dataclasses.replace(config, tied_head=False, vocab_size=T)
        return forward(untied, table, jnp.arange(T)[None])[0]

    jacobian_TVSD = jax.jacobian(logits)(params["embed/tokens"][tokens[0]])
    reach_TS = jnp.abs(jacobian_TVSD).max(axis=(1, 3))
    assert (jnp.triu(reach_TS, 1) == 0).all(), "a position sees a later token"
    assert (jnp.tril(reach_TS)[jnp.tril_indices(T)] > 0).all(), "a position does not see an earlier token"


@every_shape
def test_the_first_loss_is_about_ln_v(config: ModelConfig) -> None:
    config = dataclasses.replace(config, vocab_size=512)
    tokens = draw_tokens(config, 64)
    log_probability = jax.nn.log_softmax(forward(config, init(declare(config), 0), tokens))
    loss = -jnp.take_along_axis(log_probability[:, :-1], tokens[:, 1:, None], axis=-1).mean()
    assert abs(float(loss) - math.log(512)) < 0.3  # a tied head adds half its logits' variance, 0.18


@every_shape
def test_counts(config: ModelConfig) -> None:
    counts, sizes = count_parameters(config), {p: w.size for p, w in init(declare(config), 0).items()}
    embeddings = sum(size for path, size in sizes.items() if path.startswith(("embed/", "head")))
    assert counts.total == sum(sizes.values())
    assert counts.non_embedding == counts.total - embeddings
    assert counts.with_head == counts.non_embedding + config.d_model * config.vocab_size


def test_gpt2_has_its_published_size() -> None:
    config = ModelConfig(d_model=1600, n_layers=48, n_heads=25, vocab_size=50257, context=1024)
    assert count_parameters(config).total == 1_557_611_200


def test_llama_2_70b_has_its_published_size() -> None:
    config = ModelConfig(
        d_model=8192,
        n_layers=80,
        n_heads=64,
        n_kv_heads=8,
        d_ff=28672,
        vocab_size=32000,
        context=4096,
        tied_head=False,
        **LLAMA,
    )
    assert count_parameters(config).total == 68_976_648_192


@every_shape
def test_flops_agree_with_xla(config: ModelConfig) -> None:
    # Wide enough that matmuls dominate. XLA's analysis counts a scan's body once, so one block is asked for
    # by itself, and it adds the elementwise work, which ours leaves out: a few per cent at this width.
    config = dataclasses.replace(config, d_model=256, n_heads=4, vocab_size=2048, context=128)
    block = {
        path.removeprefix("blocks/"): jax.ShapeDtypeStruct(spec.shape[1:], jnp.float32)
        for path, spec in declare(config).items()
        if path.startswith("blocks/")
    }
    head = jax.ShapeDtypeStruct((config.d_model, config.vocab_size), jnp.float32)
    B, T = 4, config.context
    x_BTD = jax.ShapeDtypeStruct((B, T, config.d_model), jnp.float32)

    # The sine keeps XLA from simplifying the products away, as it may for a plain sum.
    def block_loss(block, x_BTD):
        return jnp.sin(apply_block(Pass(config), block, x_BTD)).sum()

    def head_loss(head_DV, x_BTD):
        return jnp.sin(linear(x_BTD, head_DV)).sum()

    with counting():
        measured = config.n_layers * count_xla_flops(jax.value_and_grad(block_loss, (0, 1)), block, x_BTD)
    measured += count_xla_flops(jax.value_and_grad(head_loss, (0, 1)), head, x_BTD)
    ours = flops_per_token(config, T) * B * T
    assert ours < measured
    assert ours == pytest.approx(measured, rel=0.03)


def count_xla_flops(function, *shapes) -> float:
    analysis = jax.jit(function).lower(*shapes).compile().cost_analysis()
    assert analysis is not None
    return analysis["flops"]


@every_shape
def test_bfloat16_computes_about_the_same(config: ModelConfig) -> None:
    params, tokens = init(declare(config), 0), draw_tokens(config)
    exact = forward(config, params, tokens)
    rough = forward(dataclasses.replace(config, compute_dtype="bfloat16"), params, tokens)
    assert rough.dtype == jnp.float32
    assert 0 < float(jnp.abs(exact - rough).max()) < 0.1


def test_too_long_a_sequence_is_refused() -> None:
    config = SHAPES["gpt2"]
    with pytest.raises(LoraJaxError, match="context is 12"):
        forward(config, init(declare(config), 0), jnp.zeros((1, 13), jnp.int32))


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["dots", "full"])
def test_computing_again_changes_no_gradient(remat: str) -> None:
    config = dataclasses.replace(SHAPES["llama"], n_layers=3)
    params, tokens = init(declare(config), 0), draw_tokens(config)
    hooks = Hooks(
        linear=lambda point, x, apply: apply(x) * (1 + 0.1 * point.weights["final_norm/scale"].mean())
    )

    def loss(params: Params, config: ModelConfig) -> jax.Array:
        return jnp.sin(forward(config, params, tokens, hooks)).mean()

    gradient = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    kept, again = gradient(params, config), gradient(params, dataclasses.replace(config, remat=remat))
    for one, other in zip(jax.tree.leaves(kept), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6, rtol=1e-4)


def test_an_unknown_remat_is_refused() -> None:
    with pytest.raises(
        LoraJaxError, match=r"remat is 'some', but it must be 'none' or 'dots' or 'full' or 'fit'"
    ):
        ModelConfig(**SMALL, remat="some")  # pyright: ignore[reportArgumentType]
