"""A step at once and the same in parts, compared: for the tests of pretraining and of fine-tuning."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lora_jax.config import OptimConfig
from lora_jax.params import Params
from lora_jax.training.lanes import Lanes
from lora_jax.training.optimizers.optimizer import Hyperparams
from lora_jax.training.step import Step, StepInput, TrainState

UNCLIPPED = Hyperparams(np.float32(1e-3), np.float32(0), np.float32(1e9))
WHOLE, PARTS = OptimConfig(batch_size=16), OptimConfig(batch_size=16, accumulate=4)


def gradient_of(state: TrainState) -> Params:
    """Return the gradient of the first step: Adam's first moment after it is (1 - beta1) times it."""
    moments: Any = state.opt_state
    return {path: moment / (1 - WHOLE.beta1) for path, moment in moments[1].mu.items()}


def assert_equal_in_parts(
    make_step: Callable[[OptimConfig], Step],
    start: Callable[[OptimConfig], Any],
    join: Any,
    given: list[StepInput],
) -> None:
    """Compare losses and gradients of a step at once and of one in four parts, in every lane.

    start: returns fresh states and the frozen weights, a list of each.
    """
    found = []
    for optim in (WHOLE, PARTS):
        states, frozen = start(optim)
        lanes = Lanes(make_step(optim), states, frozen, join)
        losses = np.asarray(lanes.step(given))
        found.append((losses, [gradient_of(lanes.read(lane)) for lane in range(lanes.n_lanes)]))
    (whole, gradients), (parts, others) = found
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-6)
    for one, other in zip(gradients, others, strict=True):
        assert one.keys() == other.keys()
        assert max(float(abs(weight).max()) for weight in one.values()) > 1e-3
        for path, weight in one.items():
            np.testing.assert_allclose(other[path], weight, rtol=0, atol=1e-6, err_msg=path)
