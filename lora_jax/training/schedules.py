"""The learning rate of a run: its peak, which depends on the model's size, and its schedule."""

import math
from collections.abc import Callable
from typing import NamedTuple

from lora_jax.config import Cooldown, RunConfig, ScheduleName
from lora_jax.model.declare import count_parameters

REFERENCE_SIZE = 100_000  # at so many parameters without embeddings, learning_rate is the peak


def peak_learning_rate(run: RunConfig) -> float:
    """Return learning_rate * (100,000 / N) ** lr_size_exponent, where N counts no embeddings.

    If `optim.base_batch` is set, it is multiplied by sqrt(batch_size / base_batch). If `optim.base_tokens` is
    set, it is multiplied by (base_tokens / n_tokens) ** horizon_exponent.
    """
    n_params, optim = count_parameters(run.model).non_embedding, run.optim
    rate = optim.learning_rate * (REFERENCE_SIZE / n_params) ** optim.lr_size_exponent
    if optim.base_batch is not None:
        rate *= math.sqrt(optim.batch_size / optim.base_batch)
    if optim.base_tokens is not None:
        rate *= (optim.base_tokens / run.n_tokens) ** optim.horizon_exponent
    return rate


class Schedule(NamedTuple):
    """A run's learning rate as a share of its peak: linear warmup, and then a shape.

    Attributes:
        name: The shape, a key of SHAPES.
        warmup: Steps of warmup.
        n_steps: Steps of the run.
        cooldown: How the rate of "wsd" (warmup, stable, decay) falls at the end.
        cooldown_fraction: Share of the steps in which the rate of "wsd" falls.
        final_fraction: The share of the peak at which "cosine" ends.
    """

    name: ScheduleName
    warmup: int
    n_steps: int
    cooldown: Cooldown = "1-sqrt"
    cooldown_fraction: float = 0.2
    final_fraction: float = 0.1

    @property
    def cooldown_start(self) -> int:
        """The step at which a run leaves what it shares with longer runs.

        Without a cooldown it is `n_steps`.
        """
        if self.name != "wsd":
            return self.n_steps
        return self.n_steps - max(1, round(self.cooldown_fraction * self.n_steps))

    def rate(self, step: int) -> float:
        """Return the rate of a step, counted from 0, as a share of the peak."""
        return (step + 1) / self.warmup if step < self.warmup else SHAPES[self.name](self, step)


def stay_and_cool(schedule: Schedule, step: int) -> float:
    """Return 1, and in the cooldown a fall to zero, either as 1 - sqrt(share of the cooldown) or linearly.

    Before the cooldown, the value does not depend on the length of the run.

    Reference: Haegele et al. 2024 (arXiv 2405.18392), equation 1.
    """
    start = schedule.cooldown_start
    if step < start:
        return 1.0
    share = (step - start) / (schedule.n_steps - start)
    return 1 - (math.sqrt(share) if schedule.cooldown == "1-sqrt" else share)


def fall_as_cosine(schedule: Schedule, step: int) -> float:
    """Return half a cosine from 1 to the final fraction (Loshchilov & Hutter 2017, arXiv 1608.03983)."""
    progress = (step + 1 - schedule.warmup) / (schedule.n_steps - schedule.warmup)
    end = schedule.final_fraction
    return end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2


def fall_linearly(schedule: Schedule, step: int) -> float:
    """Return a line from 1 at the end of warmup to 0 after the last step."""
    return (schedule.n_steps - step) / max(1, schedule.n_steps - schedule.warmup)


def fall_as_inverse_sqrt(schedule: Schedule, step: int) -> float:
    """Return sqrt(warmup / step), which is 1 at the end of warmup (Vaswani et al. 2017, arXiv 1706.03762)."""
    return math.sqrt(max(1, schedule.warmup) / (step + 1))


def stay(schedule: Schedule, step: int) -> float:
    """Return 1."""
    return 1.0


SHAPES: dict[str, Callable[[Schedule, int], float]] = {
    "wsd": stay_and_cool,
    "cosine": fall_as_cosine,
    "linear": fall_linearly,
    "inverse_sqrt": fall_as_inverse_sqrt,
    "constant": stay,
}


def schedule_of(run: RunConfig) -> Schedule:
    """Return the schedule of a pretraining run."""
    optim = run.optim
    return Schedule(
        optim.schedule,
        run.warmup_steps,
        run.n_steps,
        optim.cooldown,
        optim.cooldown_fraction,
        optim.final_lr_fraction,
    )


def cooldown_start(run: RunConfig) -> int:
    """Return the step at which a run leaves its trunk. A run without a cooldown leaves it at its end."""
    return schedule_of(run).cooldown_start


def unit_rate(run: RunConfig, step: int) -> float:
    """Return the learning rate of a step (counted from 0) as a share of the peak."""
    return schedule_of(run).rate(step)
