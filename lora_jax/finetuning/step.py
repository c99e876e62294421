"""The functions of fine-tuning: the loss, the initial state, the step, and the losses of evaluation."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.config import ModelConfig, OptimConfig
from lora_jax.data.tasks import Batch
from lora_jax.model.hooks import Hooks, Pass
from lora_jax.model.transformer import Inputs, encode, forward
from lora_jax.params import Params, combine
from lora_jax.peft.method import Adapted, Method, MethodConfig
from lora_jax.training.accumulate import Accumulation
from lora_jax.training.lanes import stack_inputs
from lora_jax.training.loss import cross_entropy, summed_loss, token_losses
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.optimizer import Optimizer, Scale
from lora_jax.training.scales import scales_of
from lora_jax.training.step import Step, StepInput, TrainState, init_state, make_step


class ExampleLosses(NamedTuple):
    """The loss of each row of a batch.

    Attributes:
        loss_B: Summed loss (B,), in nats.
        weight_B: Number of losses in the sum (B,): 1 for a classifier, the number of completion tokens for a
            language model.
        predicted_B: The best label of a classifier (B,). None for a language model.
    """

    loss_B: jax.Array
    weight_B: jax.Array
    predicted_B: jax.Array | None


def measure_losses(
    model: ModelConfig, params: Params, batch: Batch, hooks: Hooks, key: jax.Array | None = None
) -> ExampleLosses:
    """Return the cross-entropy of each row: of its label, or of the tokens of its completion.

    Args:
        model: The model.
        params: All its weights.
        batch: The rows.
        hooks: The hooks of the method.
        key: Dropout key. None drops nothing.
    """
    inputs, (targets_BT, weights_BT, labels_B, example_weights_B) = _read_batch(model, batch)
    if model.n_classes is None:
        x_BTD = encode(model, params, inputs, hooks, key)
        losses_BT = weights_BT * token_losses(Pass(model, hooks, key), params, x_BTD, targets_BT)
        return ExampleLosses(losses_BT.sum(-1), weights_BT.sum(-1), None)
    logits_BC = forward(model, params, inputs, hooks, key)
    losses_B = example_weights_B * cross_entropy(logits_BC, labels_B)
    return ExampleLosses(losses_B, example_weights_B, logits_BC.argmax(-1))


def mean_loss(
    model: ModelConfig, params: Params, batch: Batch, hooks: Hooks, key: jax.Array | None
) -> jax.Array:
    """Return the mean loss of a batch over its labels or completion tokens. The step differentiates it.

    A part of a batch may hold only filling rows. It predicts nothing, and its loss is 0.
    """
    n_losses = jnp.maximum(count_losses(model, batch), 1)
    if model.n_classes is not None:
        return measure_losses(model, params, batch, hooks, key).loss_B.sum() / n_losses
    inputs, (targets_BT, weights_BT, *_) = _read_batch(model, batch)
    x_BTD = encode(model, params, inputs, hooks, key)
    return summed_loss(Pass(model, hooks, key), params, x_BTD, targets_BT, weights_BT) / n_losses


def count_losses(model: ModelConfig, batch: Batch) -> jax.Array:
    """Return the number of labels, or of completion tokens, that a batch predicts."""
    return jnp.sum(batch.weights_BT if model.n_classes is None else batch.example_weights_B)


def _read_batch(model: ModelConfig, batch: Batch) -> tuple[Inputs, list[jax.Array]]:
    """Return the inputs of the model, and a list: targets, their weights, labels, the examples' weights."""
    tokens_BT, segments_BT, positions_BT, types_BT, *answers = (jnp.asarray(array) for array in batch)
    return Inputs(tokens_BT, segments_BT, positions_BT, types_BT if model.n_token_types else None), answers


def dropout_key(seed: int) -> np.ndarray:
    """Return the data of the key from which a run's dropout follows."""
    return np.asarray(jax.random.key_data(jax.random.fold_in(jax.random.key(seed), 1)))


def join_inputs(given: Sequence[StepInput]) -> Any:
    """Stack the inputs of all lanes. Batches are padded to the longest, which adds no loss.

    The padding has segment 0. No token attends to it, and it has no target.
    """
    longest = max(one.batch.tokens_BT.shape[1] for one in given)
    return stack_inputs([one._replace(batch=_lengthen(one.batch, longest)) for one in given])


def _lengthen(batch: Batch, length: int) -> Batch:
    missing = length - batch.tokens_BT.shape[1]
    if missing == 0:
        return batch
    return Batch(*(np.pad(a, ((0, 0), (0, missing))) if a.ndim == 2 else a for a in batch))


def init_tuning(adapted: Adapted, method: Method, numbers: OptimConfig) -> TrainState:
    """Return the state before the first step. Only the weights that train have moments."""
    return init_state(adapted.trainable, method.specs, make_optimizer(numbers))


def make_tune_step(model: ModelConfig, config: MethodConfig, numbers: OptimConfig) -> Step:
    """Make a method's training step. Its batch is a `Batch`, and its input has a dropout key.

    Runs that differ only in learning rate, decay, clipping or seed share one step. If `config` is the program
    of their methods (`peft.stacking`), runs that differ in rank or scale share it too. `training.lanes`
    compiles it once for each shape of batch.

    Args:
        model: The model.
        config: The method, or the program of several methods.
        numbers: The optimizer.
    """
    method = config.build(model)
    scales = scales_of({path: method.specs[path] for path in method.trainable}, numbers, method.rates)
    of_paths = tuple(sorted(scales.items()))
    return _make_tune_step(model, config, make_optimizer(numbers), of_paths, numbers.accumulate)


@lru_cache(maxsize=4)  # the rates and seeds of a method come one after another and share its programs
def _make_tune_step(
    model: ModelConfig,
    config: MethodConfig,
    optimizer: Optimizer,
    scales: tuple[tuple[str, Scale], ...],
    n_parts: int,
) -> Step:
    method = config.build(model)

    def loss_of_batch(params: Params, batch: Batch, key: jax.Array | None) -> jax.Array:
        return mean_loss(model, params, batch, method.hooks, key)

    accumulation = Accumulation(n_parts, partial(count_losses, model)) if n_parts > 1 else None
    return make_step(loss_of_batch, method.specs, optimizer, dict(scales), accumulation)


Measure = Callable[[Params, Params, Batch], ExampleLosses]  # (trainable, frozen, batch)


@lru_cache(maxsize=2)
def make_measure(model: ModelConfig, config: MethodConfig) -> Measure:
    """Return the compiled `measure(trainable, frozen, batch)`, which scores one adapter on one batch."""
    hooks = config.build(model).hooks

    @jax.jit
    def measure(trainable: Params, frozen: Params, batch: Batch) -> ExampleLosses:
        return measure_losses(model, combine(trainable, frozen), batch, hooks)

    return measure


@lru_cache(maxsize=2)
def make_measure_many(
    model: ModelConfig, config: MethodConfig
) -> Callable[[Params, Params, Params, Batch], ExampleLosses]:
    """Return the compiled `measure(trainable, shared, own, batch)`. It scores several adapters on one batch.

    `trainable` and `own` are each adapter's weights, with a lane axis in front. The result has that axis too.
    `shared` are the frozen weights that all adapters share, without that axis.
    """
    hooks = config.build(model).hooks

    def measure(trainable: Params, shared: Params, own: Params, batch: Batch) -> ExampleLosses:
        return measure_losses(model, combine(trainable, combine(shared, own)), batch, hooks)

    return jax.jit(jax.vmap(measure, in_axes=(0, None, 0, None)))
