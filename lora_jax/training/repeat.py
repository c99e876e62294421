"""Several steps in one call, where a step takes less time than the host needs to ask for the next."""

from functools import lru_cache
from typing import Any

import jax

from lora_jax.model.compiled_for import on_cpu
from lora_jax.params import Params
from lora_jax.training.step import Measured, Step, TrainState

STEPS_A_CALL = 10
# FLOPs: some 3 ms of an H100; the host needs up to 1 ms to ask for a step of a hundred arrays.
SMALL_STEP = 1e12


def steps_per_call(flops_per_step: float) -> int:
    """Return how many steps to ask for in one call: several of a small model's on an accelerator, else one.

    A CPU is not faster by it: at width 32 and more a step takes tens of milliseconds.
    """
    is_small = flops_per_step < SMALL_STEP and not on_cpu()
    return STEPS_A_CALL if is_small else 1


@lru_cache(maxsize=8)  # what is compiled of it is kept by the function itself
def repeat_step(step: Step) -> Step:
    """Return `steps(state, frozen, given) -> (state, Measured of (K,))`: K steps, one after another.

    given: the inputs of all K, each array with a step axis in front; K follows from it. As pure as `step`, so
    that lanes may be vmapped over it: their inputs are then (G, K, ...) and what is measured (G, K).
    """

    def steps(state: TrainState, frozen: Params, given: Any) -> tuple[TrainState, Measured]:
        return jax.lax.scan(lambda state, one: step(state, frozen, one), state, given)

    return steps
