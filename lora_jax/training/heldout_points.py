"""Held-out losses during training: at which steps and on which windows they are measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.params import Params
from lora_jax.training.evaluate import EVALUATION_BATCH, average, measure_windows
from lora_jax.training.heldout import HeldOut
from lora_jax.training.measuring import Measuring

STEP_OVER_FORWARD = 3  # FLOPs of a training step over those of its forward pass


class HeldoutLosses(NamedTuple):
    """Held-out loss of some weights.

    Attributes:
        whole: The loss over all sources.
        by_source: The loss for each source of a mixture, by name. It is empty if there is only one source.
    """

    whole: HeldOut
    by_source: Mapping[str, HeldOut]


def measure_heldout(
    run: RunConfig, params: Params, dataset: Dataset, chosen_W: np.ndarray | slice = slice(None)
) -> HeldoutLosses:
    """Return the held-out loss of a run's weights.

    Args:
        run: The run.
        params: Its weights.
        dataset: Its data.
        chosen_W: Which of the dataset's held-out windows to use, by default all.
    """
    losses_W = measure_windows(run.model, params, dataset.heldout_WT[chosen_W])
    documents_W, sources_W = dataset.heldout_documents_W[chosen_W], dataset.heldout_sources_W[chosen_W]
    by_source, names = {}, dataset.heldout_names
    for number, name in enumerate(names if len(names) > 1 else ()):
        rows = sources_W == number
        if rows.any():
            by_source[name] = average(losses_W[rows], documents_W[rows])
    return HeldoutLosses(average(losses_W, documents_W), by_source)


@dataclass(frozen=True)
class HeldoutPoints:
    """When the held-out loss of a run is measured, and on which windows.

    The windows are the same at every step, so that the losses of a run can be compared.

    Attributes:
        steps: The steps after which it is measured.
        chosen_W: Indices of the windows among the dataset's held-out windows.
    """

    steps: tuple[int, ...]
    chosen_W: np.ndarray


def choose_points(run: RunConfig, n_windows: int, measuring: Measuring) -> HeldoutPoints:
    """Choose when a run's held-out loss is measured, within the share of its training that this may cost.

    Each measurement reads as many windows as the share allows, in whole batches, spread over the held-out
    text. If one batch at each step would cost too much, there are fewer steps.

    Args:
        run: The run.
        n_windows: Number of held-out windows.
        measuring: The number of steps, their spacing and the share.
    """
    # Forward passes of so many windows cost as much as one training step.
    per_step = run.optim.batch_size * STEP_OVER_FORWARD
    allowed = int(measuring.share * run.n_steps * per_step)
    n_points = min(measuring.n_points, allowed // EVALUATION_BATCH)  # a smaller batch is padded to it
    steps = measuring.choose_steps(run.n_steps, n_points)
    if not steps:
        return HeldoutPoints((), np.arange(0))
    n_chosen = min(n_windows, allowed // len(steps) // EVALUATION_BATCH * EVALUATION_BATCH)
    return HeldoutPoints(tuple(steps), np.arange(n_chosen) * n_windows // n_chosen)
