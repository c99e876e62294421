"""Several steps in one call, if a step takes less time than the host needs to start the next."""

from functools import lru_cache
from typing import Any

import jax

from lora_jax.model.compiled_for import on_cpu
from lora_jax.params import Params
from lora_jax.training.step import Measured, Step, TrainState

STEPS_A_CALL = 10
# In FLOPs. An H100 takes some 3 ms for it. The host needs up to 1 ms to start a step of a hundred arrays.
SMALL_STEP = 1e12


def steps_per_call(flops_per_step: float) -> int:
    """Return how many steps to take in one call. It is more than one for a small model on an accelerator.

    A CPU gains nothing from it, because a step takes tens of milliseconds at width 32 and more.
    """
    is_small = flops_per_step < SMALL_STEP and not on_cpu()
    return STEPS_A_CALL if is_small else 1


@lru_cache(maxsize=8)  # a function keeps its compiled program, so equal arguments must give the same function
def repeat_step(step: Step) -> Step:
    """Return a function that takes K steps, one after another.

    It is pure, so it can be vmapped over G lanes. The inputs are then (G, K, ...) and the measurements
    (G, K).

    Args:
        step: The step to repeat.

    Returns:
        `steps(state, frozen, given) -> (state, Measured)`. Each array of `given` has a step axis of length K
        in front, and so have the arrays of `Measured`.
    """

    def steps(state: TrainState, frozen: Params, given: Any) -> tuple[TrainState, Measured]:
        return jax.lax.scan(lambda state, one: step(state, frozen, one), state, given)

    return steps
