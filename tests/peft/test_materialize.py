"""LoRA on trees of flax.linen and nnx: ordinary trees out, the right matrices, gradients of A and B alone."""

from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from flax.core import freeze

from lora_jax.errors import LoraJaxError
from lora_jax.params import combine, partition
from lora_jax.peft.materialize import LowRank, declare_lora, init_delta, materialize


class Layers(linen.Module):
    """A convolution, attention heads of three axes, and a matrix."""

    @linen.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        x_BTD = linen.Conv(6, (3,), name="conv")(x_BTD)
        x_BTD = linen.MultiHeadDotProductAttention(2, name="attention")(x_BTD)
        return linen.Dense(5, name="out")(x_BTD)


AXES = [("conv/kernel", "iio"), ("attention/[qkv]*/kernel", "ioo"), ("attention/out/kernel", "iio")]


@pytest.fixture(scope="module")
def model() -> Layers:
    return Layers()


@pytest.fixture(scope="module")
def base(model: Layers) -> Any:
    return jax.jit(model.init)(jax.random.key(0), jnp.ones((1, 4, 6)))["params"]


def trained(delta: dict[str, LowRank]) -> dict[str, LowRank]:
    """Return delta as after training: no B is zero."""
    leaves, tree = jax.tree.flatten(delta)
    rng = np.random.default_rng(0)
    return jax.tree.unflatten(tree, [rng.standard_normal(x.shape).astype(np.float32) for x in leaves])


def test_at_step_0_it_is_the_base_and_later_the_base_with_s_a_b(model: Layers, base: Any) -> None:
    declared = declare_lora(base, ["*/kernel"], rank=2, alpha=6.0, axes=AXES, ranks=[("out/*", 3)])
    start = jax.jit(lambda: init_delta(declared, seed=0))()
    build = jax.jit(materialize)
    same = build(base, start)
    assert jax.tree.structure(same) == jax.tree.structure(base)
    assert jax.tree.all(jax.tree.map(lambda a, b: jnp.array_equal(a, b), same, base))
    delta = trained(start)
    full = build(base, delta)
    by_hand = {
        "conv": np.einsum("wir,ro->wio", delta["conv/kernel"].a, delta["conv/kernel"].b) * 3,
        "out": np.einsum("ir,ro->io", delta["out/kernel"].a, delta["out/kernel"].b) * 2,
    }
    for name, update in by_hand.items():
        np.testing.assert_allclose(full[name]["kernel"], base[name]["kernel"] + update, rtol=1e-5, atol=1e-5)
    query, out = delta["attention/query/kernel"], delta["attention/out/kernel"]
    assert (query.a.shape, query.b.shape) == ((6, 2), (2, 2, 3))
    assert (out.a.shape, out.b.shape) == ((2, 3, 2), (2, 6))
    np.testing.assert_allclose(
        full["attention"]["out"]["kernel"] - base["attention"]["out"]["kernel"],
        3 * np.einsum("hkr,ro->hko", out.a, out.b),
        rtol=1e-4,
        atol=1e-5,
    )
    np.testing.assert_array_equal(full["out"]["bias"], base["out"]["bias"])
    assert jax.eval_shape(model.apply, {"params": full}, jnp.ones((2, 4, 6))).shape == (2, 4, 5)


def test_gradients_are_of_a_and_b_alone(base: Any) -> None:
    delta = trained(init_delta(declare_lora(base, ["out/kernel"], rank=2, alpha=4.0), seed=0))
    (gradient,) = jax.grad(lambda delta: jnp.sum(materialize(base, delta)["out"]["kernel"] ** 2))(
        delta
    ).values()
    a, b = delta["out/kernel"].a, delta["out/kernel"].b
    g_IO = 2 * (base["out"]["kernel"] + 2 * a @ b)
    np.testing.assert_allclose(gradient.a, 2 * g_IO @ b.T, rtol=1e-4)
    np.testing.assert_allclose(gradient.b, 2 * a.T @ g_IO, rtol=1e-4)
    assert len(jax.tree.leaves(gradient)) == 2


def test_stacked_layers_get_an_update_each_and_bfloat16_stays() -> None:
    base = {"blocks": {"kernel": jnp.ones((3, 4, 5), jnp.bfloat16), "bias": jnp.ones((3, 5))}}
    declared = declare_lora(base, ["blocks/kernel"], rank=1, alpha=1.0, axes=[("*", "sio")])
    delta = trained(init_delta(declared, seed=0))
    full = materialize(base, delta)["blocks"]["kernel"]
    assert full.dtype == jnp.bfloat16
    update = delta["blocks/kernel"]
    for layer in range(3):
        np.testing.assert_allclose(
            np.asarray(full[layer], np.float32), 1 + update.a[layer] @ update.b[layer], rtol=1e-2, atol=1e-2
        )


def test_a_draw_depends_on_path_and_seed_and_is_declared_from_shapes(model: Layers, base: Any) -> None:
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.ones((1, 4, 6)))["params"])
    targets = ["out/kernel", "conv/kernel"]
    alone, both = ["out/kernel"], declare_lora(shapes, targets, rank=2, axes=AXES[:1])
    assert both == declare_lora(base, targets, rank=2, axes=AXES[:1])
    one = init_delta(declare_lora(base, alone, rank=2), seed=3)["out/kernel"].a
    np.testing.assert_array_equal(one, init_delta(both, seed=3)["out/kernel"].a)
    assert not np.array_equal(one, init_delta(both, seed=4)["out/kernel"].a)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"targets": ["Dense_0/kernel"]}, ["matches no whole path", "out/kernel (6 x 5)"]),
        ({"targets": ["out/kernal"]}, ["nearest: 'out/kernel'"]),
        ({"targets": ["kernel"]}, ["only a part of"]),
        ({"targets": ["out/*"]}, ["half-matches: out/bias", "(5,)"]),
        ({"targets": []}, ["no targets"]),
        ({"targets": ["conv/kernel"]}, ["conv/kernel has 3 axes", "'iio'"]),
        ({"targets": ["conv/kernel"], "axes": [("conv/*", "io")]}, ["'io'", "(3, 6, 6)"]),
        ({"targets": ["conv/kernel"], "axes": [("conv/*", "oio")]}, ["'oio'"]),
        ({"targets": ["out/kernel"], "rank": 6}, ["rank 6 of out/kernel", "6 x 5"]),
        ({"targets": ["out/kernel"], "ranks": [("ut/kernel", 1)]}, ["ranks", "nearest: 'out/kernel'"]),
    ],
)
def test_targets_bite(base: Any, settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(LoraJaxError) as caught:
        declare_lora(base, **settings)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_delta_for_another_base_is_refused(base: Any) -> None:
    delta = init_delta(declare_lora(base, ["out/kernel"], rank=1), seed=0)
    with pytest.raises(LoraJaxError, match=r"\(6, 5\), which is of shape \(5, 6\)"):
        materialize({"out": {"kernel": jnp.ones((5, 6))}}, delta)
    with pytest.raises(LoraJaxError, match=r"not there.*nearest: 'ut/kernel'"):
        materialize({"ut": {"kernel": jnp.ones((6, 5))}}, delta)


class Nnx(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(2)])
        self.dropout = nnx.Dropout(0.1, rngs=rngs)


def test_nnx_states_and_pure_dicts_are_trees_as_well() -> None:
    structure, params, rest = nnx.split(Nnx(nnx.Rngs(0)), nnx.Param, ...)
    pure = nnx.to_pure_dict(params)
    declared = declare_lora(params, ["layers/1/kernel"], rank=2)
    assert declared == declare_lora(pure, ["layers/1/kernel"], rank=2)
    delta = trained(init_delta(declared, seed=0))
    state, plain = materialize(params, delta), materialize(pure, delta)
    whole = nnx.merge(structure, state, rest)
    np.testing.assert_array_equal(whole.layers[1].kernel[...], plain["layers"][1]["kernel"])
    assert not np.array_equal(whole.layers[1].kernel[...], pure["layers"][1]["kernel"])
    np.testing.assert_array_equal(whole.layers[0].kernel[...], pure["layers"][0]["kernel"])


@pytest.mark.parametrize("kind", ["linen", "frozen", "nnx"])
@pytest.mark.parametrize("pattern", ["*bias", "layers/1/*", "attention/*"])
def test_nested_trees_are_split_by_path_and_joined_again(base: Any, kind: str, pattern: str) -> None:
    tree = nnx.split(Nnx(nnx.Rngs(0)), nnx.Param, ...)[1]
    if kind != "nnx":
        tree = base if kind == "linen" else freeze(base)
    seen: list[str] = []

    def choose(path: str) -> bool:
        seen.append(path)
        return fnmatchcase(path, pattern)

    trainable, frozen = partition(tree, choose)
    assert ("layers/1/bias" if kind == "nnx" else "attention/query/bias") in seen
    assert len(seen) == len(jax.tree.leaves(tree))
    assert type(trainable) is type(frozen) is type(tree)
    assert len(jax.tree.leaves(trainable)) == sum(fnmatchcase(path, pattern) for path in seen)
    for again in (combine(trainable, frozen), combine(frozen, trainable)):
        assert jax.tree.structure(again) == jax.tree.structure(tree)
        assert all(a is b for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(tree), strict=True))
    if jax.tree.leaves(trainable):
        with pytest.raises(
            LoraJaxError, match=next(path for path in sorted(seen) if fnmatchcase(path, pattern))
        ):
            combine(tree, trainable)


def test_a_node_is_not_joined_with_a_weight_of_its_name() -> None:
    with pytest.raises(LoraJaxError, match="'a/b'"):
        combine({"a": {"b": jnp.ones(1)}}, {"a": {"b": {"c": jnp.ones(1)}}})
