"""Weights, adaptation, merging and text by the names of `import lora_jax as lj`."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lora_jax as lj
from lora_jax.model.declare import count_parameters
from tests.prompting.places import make_places

TINY = lj.ModelConfig(d_model=16, n_layers=2, n_heads=2, vocab_size=64, context=16)
TOKENS = jax.random.randint(jax.random.key(0), (4, 12), 0, 64)
METHODS = [
    lj.LoRA(rank=2),
    lj.DoRA(rank=2),
    lj.PiSSA(rank=2),
    lj.VeRA(rank=4),
    lj.IA3(),
    lj.BitFit(),
    lj.Full(),
    lj.TopLayers(layers=1),
    lj.AdapterH(rank=2),
    lj.Prefix(length=2),
]


@pytest.fixture(scope="module")
def base():
    return TINY, lj.init(TINY, seed=3)


def test_init_draws_every_weight_once(base) -> None:
    _, params = base
    assert sum(w.size for w in params.values()) == count_parameters(TINY).total
    again, other = lj.init(TINY, seed=3), lj.init(TINY, seed=4)
    assert all(jnp.array_equal(params[k], again[k]) for k in params)
    assert not jnp.array_equal(params["embed/tokens"], other["embed/tokens"])


@pytest.mark.parametrize(
    "method",
    [pytest.param(m, marks=() if i < 2 else pytest.mark.slow) for i, m in enumerate(METHODS)],
    ids=[type(m).__name__ for m in METHODS],
)
def test_one_step_of_an_optax_loop_moves_the_trainable_weights_alone(base, method) -> None:
    model = lj.adapt(base, method)
    assert not set(model.trainable) & set(model.frozen)

    @jax.jit
    def step(trainable, frozen, state):
        def loss(trainable):
            logits = model.forward(lj.combine(trainable, frozen), TOKENS[:, :-1])
            return optax.softmax_cross_entropy_with_integer_labels(logits, TOKENS[:, 1:]).mean()

        value, gradient = jax.value_and_grad(loss)(trainable)
        updates, state = optimizer.update(gradient, state, trainable)
        return value, optax.apply_updates(trainable, updates), state

    optimizer = optax.adam(1e-2)
    trainable, state, losses = model.trainable, optimizer.init(model.trainable), []
    for _ in range(5):
        value, trainable, state = step(trainable, model.frozen, state)
        losses.append(float(value))
    assert losses[-1] < losses[0]
    assert {a.shape for a in jax.tree.leaves(state) if a.ndim} <= {w.shape for w in trainable.values()}
    if model.built.merge is None:
        return
    merged = lj.merge(model, trainable)
    plain = lj.forward(TINY, merged.params, TOKENS)
    np.testing.assert_allclose(model.forward(lj.combine(trainable, model.frozen), TOKENS), plain, atol=2e-5)
    untouched = lj.merge(model)
    np.testing.assert_allclose(
        lj.forward(TINY, untouched.params, TOKENS), lj.forward(TINY, base[1], TOKENS), atol=2e-5
    )


def test_text_goes_on_from_a_prompt(tmp_path: Path) -> None:
    make_places(tmp_path)
    model = lj.load_pretrained(str(tmp_path / "models" / "decoder"))
    [one] = lj.generate(model, "good", n_new=4)
    assert lj.generate(model, ["good", "bad good"], n_new=4)[0] == one
    adapted = lj.adapt(model, lj.LoRA(rank=2))
    assert lj.generate(model, "good", n_new=4, weights=adapted) == [one]  # B is zero
    drawn = lj.Sampling(temperature=1.0, seed=1)
    assert lj.generate(model, "good", 4, sampling=drawn) == lj.generate(model, "good", 4, sampling=drawn)
    with pytest.raises(lj.LoraJaxError, match="at least 1"):
        lj.generate(model, "good", 0)
