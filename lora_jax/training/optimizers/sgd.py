"""Stochastic gradient descent with momentum (Polyak 1964; Sutskever et al. 2013)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import optax

from lora_jax.params import Spec
from lora_jax.ranges import BelowOne, check_fields
from lora_jax.training.optimizers.around import around
from lora_jax.training.optimizers.optimizer import Optimizer, Scale


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    The update is v = momentum v + g, or g + momentum v with Nesterov's step, as in PyTorch.

    Attributes:
        momentum: Decay of the momentum. 0 is plain descent, which holds no state.
        nesterov: Whether to look one step ahead.
    """

    kind: Literal["sgd"] = "sgd"
    momentum: BelowOne = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "optim.optimizer")

    def transform(
        self, specs: Mapping[str, Spec], scales: Mapping[str, Scale]
    ) -> optax.GradientTransformationExtraArgs:
        """Return optax's momentum, with clipping before it and decay after it."""
        rule = optax.trace(self.momentum, self.nesterov) if self.momentum else optax.identity()
        return around(rule, specs, scales)

    def rule_of(self, spec: Spec) -> str:
        """Return "SGD"."""
        return "SGD"

    def update_norm(self, spec: Spec) -> None:
        """Return None, because an update is as large as the gradient."""
        return None

    def state_arrays(self, spec: Spec) -> int:
        """Return 1 for the momentum, or 0 without momentum."""
        return 1 if self.momentum else 0


OPTIMIZERS = (SGD,)
