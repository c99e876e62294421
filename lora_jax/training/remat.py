"""What the backward pass computes again where a config leaves it to us: model.remat = "fit".

The config keeps "fit", and so does a run's identity: it is the same on every machine. Which policy that is
follows, while the step is traced, from the shapes and from the memory of what it is traced for.
"""

import os
from dataclasses import replace
from typing import NamedTuple

from lora_jax.config import ModelConfig, RunConfig
from lora_jax.errors import LoraJaxError
from lora_jax.target import Target, device_of
from lora_jax.training.cpu_memory import training_bytes
from lora_jax.training.device_memory import ALONE, Rows, Split, predict_step, rows_of
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.optimizer import Optimizer

CHEAPEST_FIRST = ("none", "dots", "full")  # by what is computed again
# Of the memory: JAX takes three quarters of a GPU's for itself, and elsewhere the prediction may err by 15 %.
# A CPU has other work beside ours.
USABLE = {"gpu": 0.75, "tpu": 0.85, "cpu": 0.5}


class RematChoice(NamedTuple):
    """The policy that was chosen.

    Attributes:
        remat: A value of model.remat, never "fit".
        needed: Bytes of a device by prediction, for every policy that was tried, the cheapest first.
        usable: Bytes of a device that a step may take.
    """

    remat: str
    needed: tuple[tuple[str, float], ...]
    usable: float

    @property
    def fits(self) -> bool:
        """Does the chosen policy fit?"""
        return self.needed[-1][1] <= self.usable

    def explain(self) -> str:
        """Return which policy was chosen and why, in a sentence."""
        tried = ", ".join(f"{name} {needed / 1e9:.1f} GB" for name, needed in self.needed)
        end = "the cheapest that fits" if self.fits else "the least, and even this does not fit by prediction"
        return f"remat fit is {self.remat}, {end} in {self.usable / 1e9:.1f} GB of a device ({tried})."


def choose_remat(
    model: ModelConfig, optimizer: Optimizer, rows: Rows, target: Target, split: Split = ALONE
) -> RematChoice:
    """Return the policy that computes least again among those that fit a device's memory by prediction.

    Raises:
        LoraJaxError: The memory of the target is not known.
    """
    usable, needed = usable_bytes(target), []
    for remat in CHEAPEST_FIRST:
        tried = replace(model, remat=remat)
        if target.platform == "cpu":
            found = training_bytes(tried, optimizer, rows)
        else:
            found = predict_step(tried, optimizer, rows, target, split).peak
        needed.append((remat, found))
        if found <= usable:
            break
    return RematChoice(needed[-1][0], tuple(needed), usable)


def resolve_run(run: RunConfig, target: Target, split: Split = ALONE) -> tuple[RunConfig, RematChoice | None]:
    """Return a run as its step is traced, for prediction alone, and the choice; None where it is not ours."""
    if run.model.remat != "fit":
        return run, None
    choice = choose_remat(run.model, make_optimizer(run.optim), rows_of(run), target, split)
    return replace(run, model=replace(run.model, remat=choice.remat)), choice


def usable_bytes(target: Target) -> float:
    """Return the bytes of a device that a step may take; raises LoraJaxError where they are not known."""
    if target.platform == "cpu":
        return USABLE["cpu"] * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    device = device_of(target)
    if device is None:
        raise LoraJaxError(
            f"model.remat is 'fit' and the memory of {target.kind!r} is not known: choose 'none', 'dots' or"
            " 'full'."
        )
    return USABLE[device.platform] * device.memory_bytes
