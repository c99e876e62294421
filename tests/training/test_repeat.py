"""Several steps in one call are those steps, one by one or side by side."""

import jax
import numpy as np
import pytest

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.training.lanes import compile_step
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.repeat import repeat_step
from lora_jax.training.step import StepInput


@pytest.mark.slow
def test_steps_in_one_call_are_the_steps_one_by_one(base: RunConfig, dataset: Dataset) -> None:
    step = make_pretraining_step(base.model, base.optim)
    given = [
        StepInput(dataset.batch(i, 4, 0), make_hyperparams(base.optim, 0.01 / (i + 1))) for i in range(3)
    ]
    state, losses = init_pretraining(base.model, base.optim, 0), []
    for one in given:
        state, measured = compile_step(step, False)(state, {}, {}, one)
        losses.append(float(measured.loss))
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *given)
    several = repeat_step(step)
    after, found = compile_step(several, False)(init_pretraining(base.model, base.optim, 0), {}, {}, stacked)
    np.testing.assert_allclose(found.loss, losses, rtol=1e-6)
    assert int(after.step) == 3
    lanes = [init_pretraining(base.model, base.optim, seed) for seed in (0, 1)]
    both = jax.tree.map(lambda *leaves: np.stack(leaves), *lanes)
    twice = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), stacked)
    _, side_by_side = compile_step(several, True)(both, {}, {}, twice)
    assert side_by_side.loss.shape == (2, 3)
    np.testing.assert_allclose(side_by_side.loss[0], losses, rtol=1e-5)
    assert repeat_step(step) is several
