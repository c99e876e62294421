"""Laws of AdamW."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lora_jax.config import OptimConfig
from lora_jax.params import Spec
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.optimizer import make_hyperparams


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
