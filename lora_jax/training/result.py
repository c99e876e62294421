"""The result of one run, in pretraining as in fine-tuning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.params import Params
from lora_jax.training.heldout import HeldOut
from lora_jax.training.heldout_points import measure_heldout
from lora_jax.training.history import LossHistory
from lora_jax.training.trial import Cost, StepTimer


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a training run produced and cost.

    Attributes:
        losses: Training loss of each step (n_steps,), in nats per token, or per example for a classifier. It
            is shorter if the run diverged or was halted.
        tokens: Tokens that each step trained on (n_steps,), without padding.
        cost: Its time and tokens.
        diverged_at: The step at which it diverged. None if it did not.
        halted_at: The step of the rung at which other runs were better. None if it was not halted.
        heldout: Held-out loss of the weights. None if the run diverged or was halted.
        heldout_by_source: The same for each source of a mixture.
        weights: The final weights. In fine-tuning, those with the best dev score.
    """

    losses: np.ndarray
    tokens: np.ndarray
    cost: Cost
    diverged_at: int | None = None
    halted_at: int | None = None
    heldout: HeldOut | None = None
    heldout_by_source: Mapping[str, HeldOut] = field(default_factory=dict)
    weights: Params | None = None


@dataclass(frozen=True, kw_only=True)
class PretrainResult(RunResult):
    """The result of one pretraining run. Its `weights` are None if it diverged or was halted.

    Attributes:
        run: The run's configuration.
    """

    run: RunConfig


def make_result(
    run: RunConfig, history: LossHistory, params: Params | None, dataset: Dataset, timer: StepTimer
) -> PretrainResult:
    """Evaluate a run that has ended.

    A run whose final training loss is above its first one counts as diverged, and so does a run whose
    held-out loss is not finite.

    Args:
        run: The run.
        history: The losses and tokens of its steps.
        params: Its final weights. None if it ended early.
        dataset: Its data, with the held-out text.
        timer: What it cost.
    """
    diverged_at, heldout, by_source = history.diverged_at, None, {}
    if not history.ended and final_train_loss(history.losses) > history.losses[0]:
        diverged_at = len(history.losses)  # it ended worse than it began, so its numbers mean nothing
    elif params is not None:
        heldout, by_source = measure_heldout(run, params, dataset)
        if not np.isfinite(heldout.loss):
            diverged_at, heldout, by_source = len(history.losses), None, {}
    return PretrainResult(
        run=run,
        losses=np.asarray(history.losses, np.float32),
        tokens=np.asarray(history.tokens, np.int64),
        diverged_at=diverged_at,
        halted_at=history.halted_at,
        heldout=heldout,
        heldout_by_source=by_source,
        weights=params if heldout is not None else None,
        cost=timer.cost(),
    )


def final_train_loss(losses: Sequence[float] | np.ndarray) -> float:
    """Return the mean loss over the last twentieth of the steps."""
    last = np.asarray(losses[-max(1, len(losses) // 20) :], np.float64)
    return float(last.mean())
