"""What an optimizer is: a rule at unit learning rate, with the numbers that differ by lane as data."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import optax

from lora_jax.config import OptimConfig
from lora_jax.params import Params, Spec


class Hyperparams(NamedTuple):
    """What the optimizer takes as data. Runs that differ only in these share one compiled step."""

    learning_rate: Any  # of this step: the peak times the schedule
    weight_decay: Any
    clip_norm: Any


def make_hyperparams(config: OptimConfig, learning_rate: float) -> Hyperparams:
    """Return the hyperparams of one step as float32 numbers."""
    return Hyperparams(
        np.float32(learning_rate), np.float32(config.weight_decay), np.float32(config.clip_norm)
    )


class Clip(NamedTuple):
    """Weights whose gradients are clipped together, separately from all others.

    Attributes:
        group: Name of the group.
        norm: The norm they are clipped to.
    """

    group: str
    norm: float


class Scale(NamedTuple):
    """What one weight multiplies the numbers of the step by. They are static: part of the program.

    Attributes:
        rate: Multiplies the step's learning rate.
        decay: Multiplies the run's weight decay. 0 for a weight that does not decay.
        eps: Multiplies the optimizer's eps, where its rule has one.
        clip: Where its gradient is clipped apart from the others'. None clips it with them.
    """

    rate: float = 1.0
    decay: float = 1.0
    eps: float = 1.0
    clip: Clip | None = None

    def times(self, rate: float = 1.0, decay: float = 1.0, eps: float = 1.0) -> "Scale":
        """Return the scale multiplied by further factors."""
        return self._replace(rate=self.rate * rate, decay=self.decay * decay, eps=self.eps * eps)


def default_scale(spec: Spec) -> Scale:
    """Return the scale of a weight for which nothing else is said. It decays if it is a matrix."""
    return Scale(decay=float(spec.decays))


def complete_scales(specs: Mapping[str, Spec], scales: Mapping[str, Scale]) -> dict[str, Scale]:
    """Return the scale of every weight. Those that are absent have `default_scale`."""
    return {path: scales.get(path) or default_scale(spec) for path, spec in specs.items()}


@runtime_checkable
class Optimizer(Protocol):
    """A rule that turns gradients into updates, as a frozen, hashable dataclass.

    Equal ones give the same program. The step subtracts the updates, times the rate unless `takes_rate`.

    Attributes:
        kind: Its name, a field of the dataclass.
        takes_rate: Whether its updates are multiplied by the rate and by `Scale.rate` already.
        acts_by_entry: Whether a number's update follows from its own gradients, and is zero where they are.
            Runs whose ranks differ may then stand side by side, padded with zeros.
        has_second_moment: Whether it has a `beta2` that is the decay of the squared gradient's mean. The
            batch size may move it (`optim.base_batch`).
    """

    @property
    def kind(self) -> str: ...

    takes_rate: ClassVar[bool] = False
    acts_by_entry: ClassVar[bool] = True
    has_second_moment: ClassVar[bool] = False

    def transform(
        self, specs: Mapping[str, Spec], scales: Mapping[str, Scale]
    ) -> optax.GradientTransformationExtraArgs:
        """Return the transformation of some weights at unit learning rate.

        Args:
            specs: The weights, by path. Axes and contraction hold; a rank may be another one in the arrays.
            scales: Their scales. A path that is absent has `default_scale`. `Scale.rate` is the step's to
                multiply by, unless `takes_rate`.

        Returns:
            Its `update` takes the step's `Hyperparams` besides, as `hyperparams`.
        """
        ...

    def own_scale(self, spec: Spec) -> Scale:
        """Return the optimizer's own factors of a weight's rate and decay."""
        return Scale()

    def rule_of(self, spec: Spec) -> str:
        """Return the name of the rule that a weight gets, such as "Muon" or "AdamW"."""
        ...

    def evaluation_point(self, trainable: Params, opt_state: Any) -> Params:
        """Return the weights to evaluate and to keep, of those that the gradient is taken at."""
        return trainable

    def update_norm(self, spec: Spec) -> float | None:
        """Return the spectral norm of an update of one layer's weight at unit rate.

        It is known up to a constant that all sizes share. Entries of size 1 that are aligned give
        sqrt(fan_in * fan_out). None where the update grows with the gradient.
        """
        ...

    def state_arrays(self, spec: Spec) -> int:
        """Return how many float32 arrays of the weight's shape the state holds."""
        ...

    def flops(self, spec: Spec) -> float:
        """Return the FLOPs of one update's matrix products, of all layers of the weight."""
        return 0.0
