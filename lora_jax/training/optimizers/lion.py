"""Lion: the sign of a momentum (Chen et al. 2023, arXiv 2302.06675)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import optax

from lora_jax.params import Spec
from lora_jax.ranges import BelowOne, check_fields
from lora_jax.training.optimizers.around import around
from lora_jax.training.optimizers.optimizer import Optimizer, Scale


@dataclass(frozen=True, kw_only=True)
class Lion(Optimizer):
    """Lion: every number moves by the learning rate, in the direction of the sign of its momentum.

    Its best rate is some 3 to 10 times below AdamW's. Its decay is larger by the same factor.

    Attributes:
        beta1: Share of the momentum in the direction of a step.
        beta2: Decay of the momentum.
    """

    kind: Literal["lion"] = "lion"
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.99

    def __post_init__(self) -> None:
        check_fields(self, "optim.optimizer")

    def transform(
        self, specs: Mapping[str, Spec], scales: Mapping[str, Scale]
    ) -> optax.GradientTransformationExtraArgs:
        """Return optax's Lion, with clipping before it and decay after it."""
        return around(optax.scale_by_lion(b1=self.beta1, b2=self.beta2), specs, scales)

    def rule_of(self, spec: Spec) -> str:
        """Return "Lion"."""
        return "Lion"

    def update_norm(self, spec: Spec) -> float:
        """Return sqrt(fan_in * fan_out), because entries have size 1 and are aligned."""
        return (spec.fan_in * spec.fan_out) ** 0.5

    def state_arrays(self, spec: Spec) -> int:
        """Return 1, the momentum."""
        return 1


OPTIMIZERS = (Lion,)
