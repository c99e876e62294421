"""LoRA's numbers: scale, ranks, dropout, start, rates, and the invariance that ties them; its kin."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import ModelConfig, OptimConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.hooks import HookPoint
from lora_jax.model.transformer import forward
from lora_jax.params import Params, combine
from lora_jax.peft.low_rank import column_norms, drop
from lora_jax.peft.method import adapt
from lora_jax.peft.methods.dora import DoRA, dora_hooks
from lora_jax.peft.methods.lora import LoRA, low_rank_hooks
from lora_jax.peft.methods.pissa import PiSSA
from lora_jax.peft.methods.vera import VeRA
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.optimizer import make_hyperparams


@pytest.mark.bits
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("gpt2", LoRA(targets=("down",))),
        pytest.param("llama", LoRA(targets=("all", "embedding", "head")), marks=pytest.mark.slow),
        ("bert", LoRA(targets=("all", "embedding"))),
        pytest.param("bert", VeRA(rank=4, targets=("o", "down")), marks=pytest.mark.slow),
    ],
)
def test_the_first_output_has_the_bases_bits(
    name: str,
    config: LoRA | VeRA,
    models: dict[str, ModelConfig],
    bases: dict[str, Params],
    tokens_BT: jax.Array,
    run: Any,
) -> None:
    model, base, method = models[name], bases[name], config.build(models[name])
    start = run(model, combine(*adapt(base, method, 0)), tokens_BT, method.hooks)
    np.testing.assert_array_equal(start, run(model, base, tokens_BT))


def test_scales_and_ranks_by_pattern(models: dict[str, ModelConfig]) -> None:
    choice: dict[str, Any] = dict(
        targets=("q", "down"), rank=4, alpha=8.0, ranks=(("down", 2),), alphas=(("q", 12.0),)
    )
    plain, rooted = LoRA(**choice), LoRA(**choice, rslora=True)
    specs = plain.build(models["gpt2"]).specs
    assert specs["blocks/attn/q_lora_a"].shape == (2, 16, 4)
    assert specs["blocks/mlp/down_lora_b"].shape == (2, 2, 16)
    assert plain.scale("blocks/attn/q") == 12 / 4
    assert plain.scale("blocks/mlp/down") == 8 / 2
    assert rooted.scale("blocks/attn/q") == 12 / 4**0.5
    assert rooted.scale("blocks/mlp/down") == 8 / 2**0.5


def test_the_update_is_s_b_a_x() -> None:
    draw = np.random.default_rng(0).standard_normal
    x, a, b = draw((5, 6)), draw((6, 2)), draw((2, 3, 4))
    point = HookPoint("attn/q", {"attn/q_lora_a": jnp.asarray(a), "attn/q_lora_b": jnp.asarray(b)})
    hook = low_rank_hooks({"attn/q": 0.7}).linear
    assert hook is not None
    got = hook(point, jnp.asarray(x, jnp.float32), lambda x: jnp.ones((5, 3, 4)))
    np.testing.assert_allclose(got, 1 + 0.7 * np.einsum("xk,kr,rij->xij", x, a, b), rtol=1e-5, atol=1e-5)


def test_dropout_keeps_the_mean_and_needs_a_key() -> None:
    x = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (5, 10)), jnp.float32)
    np.testing.assert_array_equal(drop(x, 0.3, None), x)
    dropped = jax.vmap(lambda key: drop(x, 0.3, key))(jax.random.split(jax.random.key(0), 4000))
    np.testing.assert_allclose(dropped.mean(0), x, atol=5 * 2 * (0.3 / 0.7 / 4000) ** 0.5)
    assert abs(float((dropped == 0).mean()) - 0.3) < 0.01
    key = jax.random.key(1)
    np.testing.assert_array_equal(drop(x[:, :7], 0.3, key), drop(x, 0.3, key)[:, :7], "padding adds alone")


def test_a_starts_within_its_bounds(models: dict[str, ModelConfig], bases: dict[str, Params]) -> None:
    def start(config: LoRA) -> np.ndarray:
        trainable = adapt(bases["gpt2"], config.build(models["gpt2"]), 0).trainable
        assert not np.any(trainable["blocks/mlp/down_lora_b"])
        return np.asarray(trainable["blocks/mlp/down_lora_a"])

    k = 64  # what the matrix takes in
    uniform = start(LoRA(targets=("down",), rank=16, init="uniform", init_scale=3.0))
    assert 2.9 * k**-0.5 < np.abs(uniform).max() <= 3.0 * k**-0.5
    normal = start(LoRA(targets=("down",), rank=16))
    assert abs(normal.std() * k**0.5 - 1) < 0.05
    assert np.abs(normal).max() > 2.5 * k**-0.5


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (LoRA, {"dropout": 1.0}),
        (LoRA, {"top_layers": 0}),
        (LoRA, {"rate_ratio": 0.0}),
        (LoRA, {"rank": 17}),
        (LoRA, {"rank": 0}),
        (VeRA, {"rank": 17}),
    ],
)
def test_numbers_out_of_range_are_named(
    kind: type, fields: dict[str, Any], models: dict[str, ModelConfig]
) -> None:
    names = r"dropout is|top_layers is|rate_ratio is|LoRA.rank is 0|rank 17 of blocks/attn/q"
    with pytest.raises(LoraJaxError, match=names):
        kind(**fields).build(models["gpt2"])


def test_alpha_start_and_rates_trade_off(
    models: dict[str, ModelConfig], bases: dict[str, Params], tokens_BT: jax.Array
) -> None:
    """alpha / (p q), p A, p lr of A, q lr of B: the same function of each step, under Adam with eps near 0.

    B starts at q times a draw and not at 0, where A's gradient would be 0 / 0 in Adam. rate_ratio carries
    the rates (LoRA+), so that Method.rates is held to as well.
    """
    model, base = models["gpt2"], bases["gpt2"]

    def train(p: float, q: float) -> np.ndarray:
        config = LoRA(rank=2, alpha=6.0 / (p * q), init_scale=p, rate_ratio=q / p)
        method = config.build(model)
        trainable, frozen = adapt(base, method, 0)
        draw = np.random.default_rng(1).standard_normal
        for path in sorted(trainable):
            if path.endswith("_lora_b"):
                trainable[path] = jnp.asarray(0.1 * q * draw(trainable[path].shape), jnp.float32)
        numbers = OptimConfig(eps=1e-30, weight_decay=0.0, clip_norm=1e9)
        optimizer = make_optimizer(numbers).transform({path: method.specs[path] for path in trainable}, {})
        state = optimizer.init(trainable)

        @jax.jit
        def step(trainable: Params, state: Any) -> tuple[Params, Any, jax.Array]:
            def loss(trainable: Params) -> jax.Array:
                logits = forward(model, combine(trainable, frozen), tokens_BT, method.hooks)
                return -jax.nn.log_softmax(logits)[..., 0].mean()

            value, gradient = jax.value_and_grad(loss)(trainable)
            raw, state = optimizer.update(
                gradient, state, trainable, hyperparams=make_hyperparams(numbers, 1.0)
            )
            updates = cast(Params, raw)
            rate = {path: 1e-3 * p * method.rates.get(path, 1.0) for path in trainable}
            return {path: w - rate[path] * updates[path] for path, w in trainable.items()}, state, value

        losses = []
        for _ in range(25):
            trainable, state, value = step(trainable, state)
            losses.append(float(value))
        return np.array(losses)

    plain, traded = train(1.0, 1.0), train(3.0, 0.7)
    assert plain[0] - plain[-1] > 0.05, "it learns"
    np.testing.assert_allclose(traded, plain, atol=1e-5)


def test_dora_norms_are_those_of_the_whole_matrix() -> None:
    draw = np.random.default_rng(0).standard_normal
    w, a, b = draw((3, 4, 5)), draw((3, 4, 2)), draw((2, 5))
    wanted = np.linalg.norm((w + 0.6 * np.einsum("hkr,ro->hko", a, b)).reshape(12, 5), axis=0)
    w_HKO, a_HKR, b_RO = (jnp.asarray(x, jnp.float32) for x in (w, a, b))
    got = column_norms(w_HKO, a_HKR, b_RO, 0.6, 2)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_dora_changes_one_product_as_its_equation_says() -> None:
    draw = np.random.default_rng(0).standard_normal
    x, w, a, b, m, bias = draw((5, 6)), draw((6, 4)), draw((6, 2)), draw((2, 4)), draw(4), draw(4)
    names = ("attn/q", "attn/q_lora_a", "attn/q_lora_b", "attn/q_dora_m", "attn/q_bias")
    weights = {
        name: jnp.asarray(value, jnp.float32) for name, value in zip(names, (w, a, b, m, bias), strict=True)
    }
    hook = dora_hooks({"attn/q": 0.7}, 0.0).linear
    assert hook is not None

    def apply(x: jax.Array) -> jax.Array:
        return x @ weights["attn/q"] + weights["attn/q_bias"]

    def loss(a: jax.Array) -> jax.Array:
        point = HookPoint("attn/q", {**weights, "attn/q_lora_a": a})
        return hook(point, jnp.asarray(x, jnp.float32), apply).sum()

    whole = w + 0.7 * a @ b
    norms = np.linalg.norm(whole, axis=0)
    got = hook(HookPoint("attn/q", weights), jnp.asarray(x, jnp.float32), apply)
    np.testing.assert_allclose(got, x @ (whole * m / norms) + bias, rtol=1e-4, atol=1e-4)
    # the norm is a constant of the gradient: paper, section 4.3
    wanted = 0.7 * np.outer(x.sum(0), 1.0) * ((m / norms) @ b.T)
    np.testing.assert_allclose(jax.grad(loss)(weights["attn/q_lora_a"]), wanted, rtol=1e-4, atol=1e-4)


def test_pissa_takes_the_largest_singular_values(
    models: dict[str, ModelConfig], bases: dict[str, Params]
) -> None:
    config = PiSSA(rank=3, targets=("down",))
    trainable, frozen = adapt(bases["gpt2"], config.build(models["gpt2"]), 0)
    path = "blocks/mlp/down"
    for layer in range(2):
        before = np.linalg.svd(np.asarray(bases["gpt2"][path][layer]), compute_uv=False)
        rest = np.linalg.svd(np.asarray(frozen[path][layer]), compute_uv=False)
        np.testing.assert_allclose(rest[:-3], before[3:], rtol=1e-4)
        a, b = (np.asarray(trainable[path + name][layer]) for name in ("_lora_a", "_lora_b"))
        np.testing.assert_allclose(a.T @ a, b @ b.T, atol=1e-4)
        np.testing.assert_allclose(config.scale(path) * np.diag(a.T @ a), before[:3], rtol=1e-4)


def test_veras_projections_come_from_their_own_seed(
    models: dict[str, ModelConfig], bases: dict[str, Params]
) -> None:
    def frozen(config: VeRA, seed: int) -> Params:
        return adapt(bases["gpt2"], config.build(models["gpt2"]), seed).frozen

    one, same = frozen(VeRA(rank=4), 0), frozen(VeRA(rank=4), 1)
    other = frozen(VeRA(rank=4, projection_seed=1), 0)
    np.testing.assert_array_equal(one["vera/a"], same["vera/a"])
    assert not np.allclose(one["vera/b"], other["vera/b"])


def test_dora_starts_with_the_bases_norms(models: dict[str, ModelConfig], bases: dict[str, Params]) -> None:
    trainable = adapt(bases["gpt2"], DoRA(targets=("o",)).build(models["gpt2"]), 0).trainable
    w_YKD = np.asarray(bases["gpt2"]["blocks/attn/o"]).reshape(2, 16, 16)
    np.testing.assert_allclose(trainable["blocks/attn/o_dora_m"], np.linalg.norm(w_YKD, axis=1), rtol=1e-5)
