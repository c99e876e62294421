"""AdamW on clipped gradients (Loshchilov & Hutter 2019, arXiv 1711.05101)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import optax

from lora_jax.params import Spec
from lora_jax.ranges import BelowOne, Small, check_fields
from lora_jax.training.optimizers.around import around, scale_gradients
from lora_jax.training.optimizers.optimizer import Optimizer, Scale, complete_scales


@dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay. It is the default: `optim.optimizer` = None stands for it.

    Its numbers are then those of the config, such as `optim.beta1`.

    Attributes:
        beta1: Decay of the gradient's mean.
        beta2: Decay of the mean of its square.
        eps: Added to the root of that mean.
    """

    kind: Literal["adamw"] = "adamw"
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.95
    eps: Small = 1e-8
    has_second_moment: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self, "optim.optimizer")

    def transform(
        self, specs: Mapping[str, Spec], scales: Mapping[str, Scale]
    ) -> optax.GradientTransformationExtraArgs:
        """Return Adam's rule, with clipping before it and decay after it."""
        adam = adam_rule(self.beta1, self.beta2, self.eps, complete_scales(specs, scales))
        return around(adam, specs, scales)

    def rule_of(self, spec: Spec) -> str:
        """Return "AdamW"."""
        return "AdamW"

    def update_norm(self, spec: Spec) -> float:
        """Return sqrt(fan_in * fan_out), because entries have size 1 and are aligned."""
        return (spec.fan_in * spec.fan_out) ** 0.5

    def state_arrays(self, spec: Spec) -> int:
        """Return 2, for the two moments."""
        return 2


def adam_rule(
    beta1: float, beta2: float, eps: float, scales: Mapping[str, Scale]
) -> optax.GradientTransformation:
    """Return optax's Adam, where each weight has its own eps."""
    adam = optax.scale_by_adam(b1=beta1, b2=beta2, eps=eps)
    if all(scale.eps == 1.0 for scale in scales.values()):
        return adam
    divide = scale_gradients(scales)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return adam.update(divide(updates), state, params)

    return optax.GradientTransformation(adam.init, update)


OPTIMIZERS = (AdamW,)
