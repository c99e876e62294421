"""AdamW by optax, and the learning-rate schedules as functions of the step."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import optax

from lora_jax.config import OptimConfig, RunConfig
from lora_jax.model.declare import count_parameters
from lora_jax.params import Spec


class Knobs(NamedTuple):
    """What the optimizer takes as data: runs that differ in these alone share one compiled step."""

    learning_rate: Any  # of this step: the peak times the schedule
    weight_decay: Any
    clip_norm: Any


def make_knobs(config: OptimConfig, learning_rate: float) -> Knobs:
    """Return the knobs of one step as float32 numbers."""
    return Knobs(np.float32(learning_rate), np.float32(config.weight_decay), np.float32(config.clip_norm))


def adamw(
    config: OptimConfig, specs: Mapping[str, Spec], knobs: Knobs | None = None
) -> optax.GradientTransformation:
    """Return clipped AdamW at unit learning rate; the step multiplies by the rate, which is data, not code.

    Weight decay reaches matrices only and is scaled by the rate (Loshchilov & Hutter 2019, arXiv 1711.05101).
    knobs: take decay and clipping from there, as arrays, and not from the config; the state is the same.
    """
    clip_norm, weight_decay = (
        (config.clip_norm, config.weight_decay) if knobs is None else (knobs.clip_norm, knobs.weight_decay)
    )
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.scale_by_adam(b1=config.beta1, b2=config.beta2, eps=config.eps),
        optax.add_decayed_weights(weight_decay, {path: spec.decays for path, spec in specs.items()}),
    )


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
