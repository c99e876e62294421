"""The compiled functions of fine-tuning: one optimisation step, and the losses of an evaluation batch.

Frozen weights are an argument of the step: never differentiated, donated, in the optimizer, or returned.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig, OptimConfig
from lora_jax.data.tasks import Batch
from lora_jax.model.hooks import Hooks
from lora_jax.model.transformer import Inputs, forward
from lora_jax.params import Params, combine
from lora_jax.peft.method import Adapted, Method, MethodConfig
from lora_jax.train.optim import adamw
from lora_jax.train.step import TrainState


class ExampleLosses(NamedTuple):
    """Of each row of a batch (B,): summed loss in nats, the weight that it is a sum over, and the best label.

    A classifier's row has weight 1; a language model's as many as it has completion tokens, and no label.
    """

    loss_B: jax.Array
    weight_B: jax.Array
    predicted_B: jax.Array | None


def measure_losses(
    model: ModelConfig, params: Params, batch: Batch, hooks: Hooks, key: jax.Array | None = None
) -> ExampleLosses:
    """Return each row's cross-entropy: of its label, or of the tokens of its completion."""
    tokens_BT, segments_BT, positions_BT, types_BT, *answers = (jnp.asarray(array) for array in batch)
    targets, weights, labels_B, example_weights_B = answers
    inputs = Inputs(tokens_BT, segments_BT, positions_BT, types_BT if model.n_token_types else None)
    logits = forward(model, params, inputs, hooks, key)
    if model.n_classes is not None:
        targets, weights = labels_B, example_weights_B
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    losses = weights * (jax.nn.logsumexp(logits, axis=-1) - picked)
    if model.n_classes is not None:
        return ExampleLosses(losses, weights, logits.argmax(-1))
    return ExampleLosses(losses.sum(-1), weights.sum(-1), None)


TuneStep = Callable[
    [TrainState, Params, Batch, jax.Array, jax.Array], tuple[TrainState, jax.Array]
]  # (state, frozen, batch, learning rate, key of dropout) -> (state, mean loss)


def init_tuning(adapted: Adapted, method: Method, numbers: OptimConfig) -> TrainState:
    """Return the state before the first step: moments for what trains, for nothing else."""
    specs = {path: method.specs[path] for path in adapted.trainable}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        trainable=adapted.trainable,
        opt_state=adamw(numbers, specs).init(adapted.trainable),
    )


@lru_cache(maxsize=2)  # rates and seeds of a method come one after another and share its programs
def make_tune_step(model: ModelConfig, config: MethodConfig, numbers: OptimConfig) -> TuneStep:
    """Return a method's step, compiled once for each shape of batch; the rate is data, the state donated."""
    method = config.build(model)
    optimizer = adamw(numbers, {path: method.specs[path] for path in method.trainable})

    @partial(jax.jit, donate_argnums=0)
    def step(
        state: TrainState, frozen: Params, batch: Batch, learning_rate: jax.Array, key: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        def mean_loss(trainable: Params) -> jax.Array:
            found = measure_losses(model, combine(trainable, frozen), batch, method.hooks, key)
            return found.loss_B.sum() / found.weight_B.sum()

        loss, gradient = jax.value_and_grad(mean_loss)(state.trainable)
        found, opt_state = optimizer.update(gradient, state.opt_state, state.trainable)
        updates = cast(Params, found)
        trainable = {
            path: weight - learning_rate * method.rates.get(path, 1.0) * updates[path]
            for path, weight in state.trainable.items()
        }
        return TrainState(step=state.step + 1, trainable=trainable, opt_state=opt_state), loss

    return step


@lru_cache(maxsize=2)
def make_measure(
    model: ModelConfig, config: MethodConfig
) -> Callable[[Params, Params, Batch], ExampleLosses]:
    """Return the compiled `measure(trainable, frozen, batch)`."""
    hooks = config.build(model).hooks

    @jax.jit
    def measure(trainable: Params, frozen: Params, batch: Batch) -> ExampleLosses:
        return measure_losses(model, combine(trainable, frozen), batch, hooks)

    return measure
