"""What the backward pass computes again if a config leaves it to us: model.remat = "fit".

The config says "fit" on every machine, so a run's identity is the same everywhere. We choose the policy while
the step is traced. It depends on the shapes and on the memory of the device that the step is traced for.
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

CHEAPEST_FIRST = ("none", "dots", "full")  # by how much is computed again
# The share of a device's memory that a step may take. JAX takes three quarters of a GPU's memory. Elsewhere
# the prediction may err by 15 %. A CPU has other work beside ours.
USABLE = {"gpu": 0.75, "tpu": 0.85, "cpu": 0.5}


class RematChoice(NamedTuple):
    """The policy that was chosen.

    Attributes:
        remat: A value of model.remat, never "fit".
        needed: (policy, predicted bytes of a device) for every policy that was tried, the cheapest first.
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
        """Say in a sentence which policy was chosen and why."""
        tried = ", ".join(f"{name} {needed / 1e9:.1f} GB" for name, needed in self.needed)
        end = "the cheapest that fits" if self.fits else "the least, and even this does not fit by prediction"
        return f"remat fit is {self.remat}, {end} in {self.usable / 1e9:.1f} GB of a device ({tried})."


def choose_remat(
    model: ModelConfig, optimizer: Optimizer, rows: Rows, target: Target, split: Split = ALONE
) -> RematChoice:
    """Return the policy that computes least again, among those that fit a device's memory by prediction.

    Args:
        model: The model. Its own remat does not count.
        optimizer: The optimizer, whose state takes memory.
        rows: What a step reads at once.
        target: What the step is compiled for.
        split: How the devices share the work. By default one device does it all.

    Returns:
        The choice. If no policy fits, it is "full", which needs least.

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
    """Replace remat "fit" by the policy that it stands for. Use the result for predictions only.

    Returns:
        The run, and the choice. The choice is None if the config does not say "fit".

    Raises:
        LoraJaxError: The memory of the target is not known.
    """
    if run.model.remat != "fit":
        return run, None
    choice = choose_remat(run.model, make_optimizer(run.optim), rows_of(run), target, split)
    return replace(run, model=replace(run.model, remat=choice.remat)), choice


def usable_bytes(target: Target) -> float:
    """Return the bytes of a device that a step may take.

    Raises:
        LoraJaxError: The memory of the target is not known.
    """
    if target.platform == "cpu":
        return USABLE["cpu"] * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    device = device_of(target)
    if device is None:
        raise LoraJaxError(
            f"model.remat is 'fit' and the memory of {target.kind!r} is not known: choose 'none', 'dots' or"
            " 'full'."
        )
    return USABLE[device.platform] * device.memory_bytes
