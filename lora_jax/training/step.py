"""The training step as a pure function. Pretraining and fine-tuning share it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

import flax.struct
import jax
import jax.numpy as jnp
import optax

from lora_jax.params import Params, Spec, combine
from lora_jax.training.accumulate import Accumulation, GradientOf, accumulate
from lora_jax.training.optimizers.optimizer import Hyperparams, Optimizer, Scale, complete_scales

Value = TypeVar("Value")  # what a dictionary has for each path: a Spec or a Scale


@flax.struct.dataclass
class TrainState:
    """What a step changes. It has no frozen weights: no step differentiates, donates or returns them.

    Attributes:
        step: Steps taken so far, int32.
        trainable: The weights that train.
        opt_state: The optimizer's state.
    """

    step: jax.Array
    trainable: Params
    opt_state: optax.OptState


class StepInput(NamedTuple):
    """What a training step reads besides its state and the frozen weights.

    Attributes:
        batch: The arrays that the loss reads.
        hyperparams: Learning rate, weight decay and clip norm of this step.
        key: Data of the run's dropout key, uint32 (2,). It is the same at every step. None drops nothing.
    """

    batch: Any
    hyperparams: Hyperparams
    key: Any = None


class Measured(NamedTuple):
    """What a step measures. Each field is a number, or an array for repeated steps or several lanes.

    Attributes:
        loss: Mean loss of the batch.
        gradient_norm: L2 norm of the gradient before clipping.
        update_ratio: RMS of the update over RMS of the trainable weights before it.
    """

    loss: Any
    gradient_norm: Any
    update_ratio: Any


# (state, frozen, StepInput) -> (state, Measured). It is pure, and `training.lanes` compiles it.
Step = Callable[[TrainState, Params, StepInput], tuple[TrainState, Measured]]
# (all weights, batch, dropout key or None) -> the mean loss. The step differentiates it.
LossOfBatch = Callable[[Params, Any, jax.Array | None], jax.Array]


def init_state(trainable: Params, specs: Mapping[str, Spec], optimizer: Optimizer) -> TrainState:
    """Return the state before the first step. Only the weights that train have moments."""
    opt_state = optimizer.transform(_of(trainable, specs), {}).init(trainable)
    return TrainState(step=jnp.zeros((), jnp.int32), trainable=trainable, opt_state=opt_state)


def evaluation_weights(state: TrainState, optimizer: Optimizer) -> Params:
    """Return the weights to evaluate, keep and export.

    They are the weights in training, or the optimizer's average of them if it keeps one.
    """
    return optimizer.evaluation_point(state.trainable, state.opt_state)


def make_step(
    loss_of_batch: LossOfBatch,
    specs: Mapping[str, Spec],
    optimizer: Optimizer,
    scales: Mapping[str, Scale] | None = None,
    accumulation: Accumulation | None = None,
) -> Step:
    """Return the pure `step(state, frozen, StepInput) -> (state, Measured)`.

    The step differentiates only with respect to the state's trainable weights. The frozen weights are an
    argument. Lanes that share them pass them without a lane axis. `training.lanes` compiles each returned
    function anew. So call this once for all runs that share a step, and keep the result.

    Args:
        loss_of_batch: Mean loss of a batch. It gets the run's dropout key, folded with the step's number.
        specs: The Specs of all trainable weights. There may be more.
        optimizer: Turns gradients into updates at unit rate (`training.optimizers`).
        scales: By path, what the step's rate, decay and eps are multiplied by (`training.scales`). A missing
            path has `default_scale`.
        accumulation: How the batch is read in parts. None reads it at once.
    """
    given_scales = complete_scales(specs, scales or {})

    def of_whole(trainable: Params, frozen: Params, batch: Any, key: Any) -> tuple[jax.Array, Params]:
        def loss_of(trainable: Params) -> jax.Array:
            return loss_of_batch(combine(trainable, frozen), batch, key)

        return jax.value_and_grad(loss_of)(trainable)

    gradient_of: GradientOf = of_whole if accumulation is None else accumulate(of_whole, accumulation)

    def step(state: TrainState, frozen: Params, given: StepInput) -> tuple[TrainState, Measured]:
        key = None
        if given.key is not None:
            key = jax.random.fold_in(jax.random.wrap_key_data(given.key), state.step)
        loss, gradient = gradient_of(state.trainable, frozen, given.batch, key)
        transformation = optimizer.transform(_of(state.trainable, specs), _of(state.trainable, given_scales))
        found, opt_state = transformation.update(
            gradient, state.opt_state, state.trainable, hyperparams=given.hyperparams
        )
        updates = cast(Params, found)
        rate = given.hyperparams.learning_rate
        changes = updates
        if not optimizer.takes_rate:
            changes = {path: rate * given_scales[path].rate * updates[path] for path in state.trainable}
        trainable = {path: weight - changes[path] for path, weight in state.trainable.items()}
        # A lane's padding is zero in all of these, so it does not count.
        ratio = optax.tree.norm(changes) / optax.tree.norm(state.trainable)
        measured = Measured(loss, optax.tree.norm(gradient), ratio)
        return TrainState(step=state.step + 1, trainable=trainable, opt_state=opt_state), measured

    return step


def _of(trainable: Params, found: Mapping[str, Value]) -> dict[str, Value]:
    return {path: found[path] for path in trainable}
