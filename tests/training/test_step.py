"""The training step learns, and compiles once for runs that differ in numbers only."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.training.lanes import compile_step
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.step import StepInput


def test_one_batch_overfits(base: RunConfig, dataset: Dataset) -> None:
    step = compile_step(make_pretraining_step(base.model, base.optim), False)
    state = init_pretraining(base.model, base.optim, seed=0)
    windows = jnp.asarray(dataset.batch(0, 2, 0))
    losses = []
    for _ in range(250):
        state, measured = step(state, {}, {}, StepInput(windows, make_hyperparams(base.optim, 0.02)))
        losses.append(float(measured.loss))
    assert losses[0] > 4.5
    assert losses[-1] < 0.1
    assert int(state.step) == 250


def test_rates_schedules_and_lengths_share_one_program(base: RunConfig) -> None:
    other = dataclasses.replace(base.optim, learning_rate=1.0, weight_decay=0.0, schedule="cosine")
    assert make_pretraining_step(base.model, base.optim) is make_pretraining_step(base.model, other)
    assert make_pretraining_step(base.model, base.optim) is not make_pretraining_step(
        base.model, dataclasses.replace(base.optim, beta1=0.8)
    )


def test_frozen_weights_are_not_changed(base: RunConfig, dataset: Dataset) -> None:
    state = init_pretraining(base.model, base.optim, seed=0)
    frozen = {path: w for path, w in state.trainable.items() if path.startswith("embed/")}
    trainable = {path: w for path, w in state.trainable.items() if path not in frozen}
    before = {path: np.asarray(w) for path, w in frozen.items()}
    from lora_jax.model.declare import declare
    from lora_jax.training.optimizers import make_optimizer

    specs = {path: spec for path, spec in declare(base.model).items() if path in trainable}
    opt_state: Any = make_optimizer(base.optim).transform(specs, {}).init(trainable)
    assert len(opt_state[1].mu) == len(trainable), "moments exist for what trains, and for nothing else"
    assert before.keys() == {"embed/tokens"}
