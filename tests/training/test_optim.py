"""Laws of the schedules and of AdamW."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lora_jax.config import OptimConfig, RunConfig
from lora_jax.model.declare import count_parameters
from lora_jax.params import Spec
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.schedules import cooldown_start, peak_learning_rate, unit_rate


def test_runs_of_one_trunk_have_one_rate_until_the_cooldown(base: RunConfig) -> None:
    longer = dataclasses.replace(base, n_tokens=2 * base.n_tokens)
    start = cooldown_start(base)
    assert [unit_rate(base, s) for s in range(start)] == [unit_rate(longer, s) for s in range(start)]
    assert start < cooldown_start(longer)


def test_the_cooldown_is_one_minus_sqrt(base: RunConfig) -> None:
    start, end = cooldown_start(base), base.n_steps
    assert end - start == round(base.optim.cooldown_fraction * end)
    for step in range(start, end):
        assert unit_rate(base, step) == pytest.approx(1 - math.sqrt((step - start) / (end - start)))
    assert 0 < unit_rate(base, end - 1) < 0.2


def test_the_peak_rate_falls_with_size(base: RunConfig) -> None:
    deep = dataclasses.replace(base, model=dataclasses.replace(base.model, n_layers=4))
    sizes = [count_parameters(run.model).non_embedding for run in (base, deep)]
    ratio = peak_learning_rate(base) / peak_learning_rate(deep)
    assert ratio == pytest.approx((sizes[1] / sizes[0]) ** base.optim.lr_size_exponent)
    level = dataclasses.replace(deep, optim=dataclasses.replace(deep.optim, lr_size_exponent=0.0))
    assert peak_learning_rate(level) == level.optim.learning_rate


def test_cosine_agrees_with_optax(base: RunConfig) -> None:
    run = dataclasses.replace(base, optim=dataclasses.replace(base.optim, schedule="cosine"))
    warmup, n = run.optim.warmup_steps, run.n_steps
    theirs = optax.cosine_decay_schedule(1.0, n - warmup, run.optim.final_lr_fraction)
    ours = [unit_rate(run, step) for step in range(warmup, n)]
    np.testing.assert_allclose(ours, np.array([theirs(s + 1) for s in range(n - warmup)]), rtol=1e-5)
    assert cooldown_start(run) == n


def test_weight_decay_reaches_matrices_only() -> None:
    specs = {"w": Spec((("x", 3), ("y", 3)), ("x",)), "b": Spec((("x", 3),))}
    params = {path: jnp.ones(spec.shape) for path, spec in specs.items()}
    config = OptimConfig(weight_decay=0.5)
    optimizer = make_optimizer(config).transform(specs, {})
    updates: Any
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(
        nothing, optimizer.init(params), params, hyperparams=make_hyperparams(config, 1.0)
    )
    np.testing.assert_allclose(updates["w"], 0.5)
    np.testing.assert_array_equal(updates["b"], 0.0)


def test_adamw_agrees_with_optax() -> None:
    specs = {"w": Spec((("x", 4), ("y", 4)), ("x",))}
    config, rate = OptimConfig(clip_norm=1e9), 0.01
    ours = make_optimizer(config).transform(specs, {})
    theirs = optax.adamw(rate, config.beta1, config.beta2, config.eps, weight_decay=config.weight_decay)
    mine: Any
    other: Any
    mine = other = {"w": jax.random.normal(jax.random.key(0), (4, 4))}
    my_state, other_state = ours.init(mine), theirs.init(other)
    for step in range(5):
        gradient = {"w": jax.random.normal(jax.random.key(step), (4, 4))}
        updates, my_state = ours.update(gradient, my_state, mine, hyperparams=make_hyperparams(config, rate))
        mine = jax.tree.map(lambda w, u: w - rate * u, mine, updates)
        updates, other_state = theirs.update(gradient, other_state, other)
        other = optax.apply_updates(other, updates)
    np.testing.assert_allclose(mine["w"], other["w"], rtol=1e-5)
