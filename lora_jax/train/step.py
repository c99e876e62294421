"""TrainState and the compiled functions: one optimisation step, one evaluation batch."""

from collections.abc import Callable
from functools import lru_cache, partial

import flax.struct
import jax
import jax.numpy as jnp
import optax

from lora_jax.config import ModelConfig, OptimConfig
from lora_jax.model.declare import declare
from lora_jax.params import Params, combine, init
from lora_jax.train.loss import window_losses
from lora_jax.train.optim import adamw


@flax.struct.dataclass
class TrainState:
    """What a step changes. Frozen weights are not: they are never differentiated, donated or returned."""

    step: jax.Array  # int32, steps taken
    trainable: Params
    opt_state: optax.OptState


Step = Callable[[TrainState, Params, jax.Array, jax.Array], tuple[TrainState, jax.Array]]


def init_state(model: ModelConfig, optim: OptimConfig, seed: int) -> TrainState:
    """Draw the parameters of a seed and the optimizer's empty state."""
    specs = declare(model)
    trainable = init(specs, seed)
    return TrainState(
        step=jnp.zeros((), jnp.int32), trainable=trainable, opt_state=adamw(optim, specs).init(trainable)
    )


def make_step(model: ModelConfig, optim: OptimConfig) -> Step:
    """Return `step(state, frozen, windows_BU, learning_rate) -> (state, loss)`, compiled at its first call.

    The state is donated. Runs that differ in rate, schedule, seed or length share one compiled program.
    """
    return _make_step(model, optim.beta1, optim.beta2, optim.eps, optim.clip_norm, optim.weight_decay)


@lru_cache(maxsize=4)  # seeds, rates and branches of one size come one after another
def _make_step(
    model: ModelConfig, beta1: float, beta2: float, eps: float, clip_norm: float, weight_decay: float
) -> Step:
    numbers = OptimConfig(beta1=beta1, beta2=beta2, eps=eps, clip_norm=clip_norm, weight_decay=weight_decay)
    optimizer = adamw(numbers, declare(model))

    @partial(jax.jit, donate_argnums=0)
    def step(
        state: TrainState, frozen: Params, windows_BU: jax.Array, learning_rate: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        def mean_loss(trainable: Params) -> jax.Array:
            return window_losses(model, combine(trainable, frozen), windows_BU).mean()

        loss, gradient = jax.value_and_grad(mean_loss)(state.trainable)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.trainable)
        trainable = jax.tree.map(lambda w, u: w - learning_rate * u, state.trainable, updates)
        return TrainState(step=state.step + 1, trainable=trainable, opt_state=opt_state), loss

    return step


@lru_cache(maxsize=4)
def make_evaluate(model: ModelConfig) -> Callable[[Params, jax.Array], jax.Array]:
    """Return the compiled `evaluate(params, windows_BU) -> mean loss of each window (B,)`."""
    return jax.jit(partial(window_losses, model))
