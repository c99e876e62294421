"""Several steps in one call, where a step takes less time than the host needs to ask for the next."""

from functools import lru_cache
from typing import Any

import jax

from lora_jax.params import Params
from lora_jax.train.step import Step, TrainState


@lru_cache(maxsize=8)  # what is compiled of it is kept by the function itself
def repeat_step(step: Step) -> Step:
    """Return `steps(state, frozen, given) -> (state, losses (K,))`: K steps, one after another.

    given: the inputs of all K, each array with a step axis in front; K follows from it. As pure as `step`, so
    that lanes may be vmapped over it: their inputs are then (G, K, ...) and the losses (G, K).
    """

    def steps(state: TrainState, frozen: Params, given: Any) -> tuple[TrainState, jax.Array]:
        return jax.lax.scan(lambda state, one: step(state, frozen, one), state, given)

    return steps
