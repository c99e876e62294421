"""The learning rate of a run: its peak by the model's size, and its schedule as functions of the step."""

import math

from lora_jax.config import RunConfig
from lora_jax.model.declare import count_parameters

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
