"""Pretraining a language model: its start, what its steps take in, its step, and its evaluation, compiled."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig, OptimConfig, RunConfig
from lora_jax.data import Dataset
from lora_jax.model.compiled_for import current_target
from lora_jax.model.declare import declare
from lora_jax.params import Params, init
from lora_jax.training.accumulate import Accumulation
from lora_jax.training.device_memory import Rows, Split
from lora_jax.training.loss import mean_loss, window_losses
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.optimizer import Optimizer, Scale, make_hyperparams
from lora_jax.training.remat import choose_remat
from lora_jax.training.scales import scales_of
from lora_jax.training.schedules import peak_learning_rate, unit_rate
from lora_jax.training.step import Step, StepInput, TrainState, init_state, make_step


def init_pretraining(model: ModelConfig, optim: OptimConfig, seed: int) -> TrainState:
    """Draw a model's initial weights from a seed and make the optimizer's empty state."""
    specs = declare(model)
    return init_state(init(specs, seed), specs, make_optimizer(optim))


def make_input(run: RunConfig, dataset: Dataset, step: int) -> StepInput:
    """Return the batch and the hyperparameters of a run's training step, counted from 0."""
    hyperparams = make_hyperparams(run.optim, peak_learning_rate(run) * unit_rate(run, step))
    return StepInput(dataset.batch(step, run.optim.batch_size, run.seed), hyperparams)


def make_pretraining_step(model: ModelConfig, optim: OptimConfig) -> Step:
    """Return the training step of a language model.

    The batch of the step is windows of tokens (B, U), int32. Each window gives U - 1 predictions. Runs that
    differ only in rate, schedule, decay, clipping, seed or length get the same step.
    """
    scales = scales_of(declare(model), optim, model=model)
    return _make_step(model, make_optimizer(optim), tuple(scales.items()), optim.accumulate)


@lru_cache(maxsize=4)  # seeds, rates and branches of one size come one after another
def _make_step(
    model: ModelConfig, optimizer: Optimizer, scales: tuple[tuple[str, Scale], ...], n_parts: int
) -> Step:
    def loss_of_batch(params: Params, windows_BU: Any, key: jax.Array | None) -> jax.Array:
        return mean_loss(_as_traced(model, optimizer, windows_BU.shape, n_parts), params, windows_BU)

    def count_losses(windows_BU: Any) -> jax.Array:
        return jnp.float32(windows_BU[:, 1:].size)

    accumulation = Accumulation(n_parts, count_losses) if n_parts > 1 else None
    return make_step(loss_of_batch, declare(model), optimizer, dict(scales), accumulation)


def _as_traced(model: ModelConfig, optimizer: Optimizer, shape: tuple[int, int], n_parts: int) -> ModelConfig:
    """Replace remat "fit" by the policy that it stands for, given windows (B, U) and the traced devices."""
    if model.remat != "fit":
        return model
    sizes = jax.sharding.get_abstract_mesh().shape
    split = Split(**{axis: sizes.get(axis, 1) for axis in Split._fields})
    rows = Rows(shape[0], shape[1] - 1, n_parts)
    choice = choose_remat(model, optimizer, rows, current_target(), split)
    return replace(model, remat=choice.remat)


@lru_cache(maxsize=4)
def make_evaluate(model: ModelConfig) -> Callable[[Params, jax.Array], jax.Array]:
    """Return the compiled `evaluate(params, windows_BU) -> mean loss of each window (B,)`."""
    return jax.jit(partial(window_losses, model))
