"""The training step, one for pretraining and fine-tuning, as a pure function."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

import flax.struct
import jax
import jax.numpy as jnp
import optax

from lora_jax.params import Params, Spec, combine
from lora_jax.training.accumulate import Accumulation, GradientOf, accumulate
from lora_jax.training.optimizers.optimizer import Hyperparams, Optimizer, Scale, complete_scales

Value = TypeVar("Value")  # of a path: its Spec or its Scale


@flax.struct.dataclass
class TrainState:
    """What a step changes. Frozen weights are not: they are never differentiated, donated or returned."""

    step: jax.Array  # int32, steps taken
    trainable: Params
    opt_state: optax.OptState


class StepInput(NamedTuple):
    """What a training step takes in besides its state and the frozen weights."""

    batch: Any  # what the loss reads: arrays
    hyperparams: Hyperparams
    # The data of the run's dropout key, uint32 (2,), the same at every step; None: nothing is dropped.
    key: Any = None


class Measured(NamedTuple):
    """What a step tells of itself: numbers, arrays of them where it was repeated or run side by side."""

    loss: Any  # mean of the batch
    gradient_norm: Any  # L2, before clipping
    update_ratio: Any  # RMS of the update over RMS of the weights that train, before it


# (state, frozen, StepInput) -> (state, Measured); pure, compiled by `training.lanes`
Step = Callable[[TrainState, Params, StepInput], tuple[TrainState, Measured]]
# (all weights, batch, key of dropout or None) -> the mean loss, which a step differentiates
LossOfBatch = Callable[[Params, Any, jax.Array | None], jax.Array]


def init_state(trainable: Params, specs: Mapping[str, Spec], optimizer: Optimizer) -> TrainState:
    """Return the state before the first step: moments for what trains, for nothing else."""
    opt_state = optimizer.transform(_of(trainable, specs), {}).init(trainable)
    return TrainState(step=jnp.zeros((), jnp.int32), trainable=trainable, opt_state=opt_state)


def evaluation_weights(state: TrainState, optimizer: Optimizer) -> Params:
    """Return the weights to evaluate, keep and export: those in training, or the optimizer's average."""
    return optimizer.evaluation_point(state.trainable, state.opt_state)


def make_step(
    loss_of_batch: LossOfBatch,
    specs: Mapping[str, Spec],
    optimizer: Optimizer,
    scales: Mapping[str, Scale] | None = None,
    accumulation: Accumulation | None = None,
) -> Step:
    """Return the pure `step(state, frozen, StepInput) -> (state, Measured)`.

    The gradient is taken of the state's trainable weights alone. The frozen ones are an argument, which lanes
    that share them hand over without a lane axis. `training.lanes` takes each function returned for another
    program, so the caller keeps it for the runs that it serves.

    Args:
        loss_of_batch: The mean loss of a batch. Its key is the run's, folded with the number of the step.
        specs: The Specs of every trainable weight, at least.
        optimizer: Turns gradients into updates at unit rate (`training.optimizers`).
        scales: What a path multiplies the step's rate, decay and eps by (`training.scales`). A path that is
            absent has `default_scale`.
        accumulation: Reads the batch in parts. None reads it at once.
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
        # Padding of a lane is zero in all of these, so that it does not count.
        ratio = optax.tree.norm(changes) / optax.tree.norm(state.trainable)
        measured = Measured(loss, optax.tree.norm(gradient), ratio)
        return TrainState(step=state.step + 1, trainable=trainable, opt_state=opt_state), measured

    return step


def _of(trainable: Params, found: Mapping[str, Value]) -> dict[str, Value]:
    return {path: found[path] for path in trainable}
