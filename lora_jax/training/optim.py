"""Optimizers by optax, and the learning-rate schedules as functions of the step."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import optax

from lora_jax.config import OptimConfig, RunConfig
from lora_jax.model.declare import count_parameters
from lora_jax.params import Spec


class Hyperparams(NamedTuple):
    """What the optimizer takes as data: runs that differ in these alone share one compiled step."""

    learning_rate: Any  # of this step: the peak times the schedule
    weight_decay: Any
    clip_norm: Any


# An optimizer: of the Specs of what trains, the transformation at unit learning rate. Its `update` takes the
# step's hyperparameters besides, as `hyperparams`; the step multiplies by the rate. Equal ones give the same
# program.
Optimizer = Callable[[Mapping[str, Spec]], optax.GradientTransformationExtraArgs]


def make_hyperparams(config: OptimConfig, learning_rate: float) -> Hyperparams:
    """Return the hyperparams of one step as float32 numbers."""
    return Hyperparams(
        np.float32(learning_rate), np.float32(config.weight_decay), np.float32(config.clip_norm)
    )


@dataclass(frozen=True)
class AdamW:
    """AdamW of clipped gradients; decay is of matrices alone (Loshchilov & Hutter 2019, arXiv 1711.05101)."""

    beta1: float
    beta2: float
    eps: float

    def __call__(self, specs: Mapping[str, Spec]) -> optax.GradientTransformationExtraArgs:
        decays = {path: spec.decays for path, spec in specs.items()}

        def chain(clip_norm: Any, weight_decay: Any) -> optax.GradientTransformation:
            return optax.chain(
                optax.clip_by_global_norm(clip_norm),
                optax.scale_by_adam(b1=self.beta1, b2=self.beta2, eps=self.eps),
                optax.add_decayed_weights(weight_decay, decays),
            )

        def update(
            updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None, **given: Any
        ) -> tuple[optax.Updates, optax.OptState]:
            hyperparams: Hyperparams = given["hyperparams"]
            return chain(hyperparams.clip_norm, hyperparams.weight_decay).update(updates, state, params)

        # The empty state is the same whatever the clip and the decay are.
        return optax.GradientTransformationExtraArgs(chain(1.0, 0.0).init, update)


def make_optimizer(config: OptimConfig) -> AdamW:
    """Return the optimizer of a configuration; its rate, decay and clip are data (`make_hyperparams`)."""
    return AdamW(config.beta1, config.beta2, config.eps)


REFERENCE_SIZE = 100_000  # parameters without embeddings, at which learning_rate is the peak


def peak_learning_rate(run: RunConfig) -> float:
    """Return learning_rate * (100,000 / N) ** lr_size_exponent, N without embeddings."""
    n_params = count_parameters(run.model).non_embedding
    return run.optim.learning_rate * (REFERENCE_SIZE / n_params) ** run.optim.lr_size_exponent


def cooldown_start(run: RunConfig) -> int:
    """Return the step at which a warmup-stable-decay run leaves its trunk; a cosine run never does."""
    if run.optim.schedule == "cosine":
        return run.n_steps
    return run.n_steps - max(1, round(run.optim.cooldown_fraction * run.n_steps))


def unit_rate(run: RunConfig, step: int) -> float:
    """Return the learning rate of a step (counted from 0) as a share of the peak.

    Linear warmup, then either constant with a 1 - sqrt cooldown (Haegele et al. 2024, arXiv 2405.18392,
    equation 1) or a cosine to final_lr_fraction. On the trunk the value does not depend on n_tokens.
    """
    optim = run.optim
    if step < optim.warmup_steps:
        return (step + 1) / optim.warmup_steps
    if optim.schedule == "cosine":
        progress = (step + 1 - optim.warmup_steps) / (run.n_steps - optim.warmup_steps)
        end = optim.final_lr_fraction
        return end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2
    start = cooldown_start(run)
    if step < start:
        return 1.0
    return 1 - math.sqrt((step - start) / (run.n_steps - start))
