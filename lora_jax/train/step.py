"""TrainState and the training step of a language model as a pure function; its evaluation, compiled."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax

from lora_jax.config import ModelConfig, OptimConfig
from lora_jax.model.declare import declare
from lora_jax.params import Params, combine, init
from lora_jax.train.loss import mean_loss, window_losses
from lora_jax.train.optim import Knobs, adamw


@flax.struct.dataclass
class TrainState:
    """What a step changes. Frozen weights are not: they are never differentiated, donated or returned."""

    step: jax.Array  # int32, steps taken
    trainable: Params
    opt_state: optax.OptState


class StepInput(NamedTuple):
    """What a training step takes in besides its state."""

    windows_BU: Any  # int32 (B, U): U - 1 predictions each
    knobs: Knobs


# (state, frozen, what the step takes in) -> (state, mean loss); pure, compiled by `train.lanes`
Step = Callable[[TrainState, Params, Any], tuple[TrainState, jax.Array]]


def init_state(model: ModelConfig, optim: OptimConfig, seed: int) -> TrainState:
    """Draw the parameters of a seed and the optimizer's empty state."""
    specs = declare(model)
    trainable = init(specs, seed)
    return TrainState(
        step=jnp.zeros((), jnp.int32), trainable=trainable, opt_state=adamw(optim, specs).init(trainable)
    )


def make_step(model: ModelConfig, optim: OptimConfig) -> Step:
    """Return the pure `step(state, frozen, StepInput) -> (state, loss)`.

    Runs that differ in rate, schedule, decay, clipping, seed or length have one and the same step.
    """
    return _make_step(model, optim.beta1, optim.beta2, optim.eps)


@lru_cache(maxsize=4)  # seeds, rates and branches of one size come one after another
def _make_step(model: ModelConfig, beta1: float, beta2: float, eps: float) -> Step:
    specs, numbers = declare(model), OptimConfig(beta1=beta1, beta2=beta2, eps=eps)

    def step(state: TrainState, frozen: Params, given: StepInput) -> tuple[TrainState, jax.Array]:
        def loss_of(trainable: Params) -> jax.Array:
            return mean_loss(model, combine(trainable, frozen), given.windows_BU)

        loss, gradient = jax.value_and_grad(loss_of)(state.trainable)
        optimizer = adamw(numbers, specs, given.knobs)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.trainable)
        rate = given.knobs.learning_rate
        trainable = jax.tree.map(lambda w, u: w - rate * u, state.trainable, updates)
        return TrainState(step=state.step + 1, trainable=trainable, opt_state=opt_state), loss

    return step


@lru_cache(maxsize=4)
def make_evaluate(model: ModelConfig) -> Callable[[Params, jax.Array], jax.Array]:
    """Return the compiled `evaluate(params, windows_BU) -> mean loss of each window (B,)`."""
    return jax.jit(partial(window_losses, model))
