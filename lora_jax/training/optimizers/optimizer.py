"""What an optimizer is: a rule at unit learning rate. Numbers that differ between lanes are data."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import optax

from lora_jax.config import OptimConfig
from lora_jax.params import Params, Spec


class Hyperparams(NamedTuple):
    """The optimizer's numbers that are data. Runs that differ only in these share one compiled step.

    Attributes:
        learning_rate: Learning rate of this step, which is the peak times the schedule.
        weight_decay: Weight decay.
        clip_norm: The norm to which gradients are clipped.
    """

    learning_rate: Any
    weight_decay: Any
    clip_norm: Any


def make_hyperparams(config: OptimConfig, learning_rate: float) -> Hyperparams:
    """Return the hyperparameters of one step as float32 numbers."""
    return Hyperparams(
        np.float32(learning_rate), np.float32(config.weight_decay), np.float32(config.clip_norm)
    )


class Clip(NamedTuple):
    """A group of weights whose gradients are clipped together, separately from all others.

    Attributes:
        group: Name of the group.
        norm: The norm they are clipped to.
    """

    group: str
    norm: float


class Scale(NamedTuple):
    """The factors of one weight. They are static: part of the compiled program.

    Attributes:
        rate: Multiplies the step's learning rate.
        decay: Multiplies the run's weight decay. 0 for a weight that does not decay.
        eps: Multiplies the optimizer's eps, if its rule has one.
        clip: The group in which its gradient is clipped. None clips it with all weights that have no group.
    """

    rate: float = 1.0
    decay: float = 1.0
    eps: float = 1.0
    clip: Clip | None = None

    def times(self, rate: float = 1.0, decay: float = 1.0, eps: float = 1.0) -> "Scale":
        """Return the scale multiplied by further factors."""
        return self._replace(rate=self.rate * rate, decay=self.decay * decay, eps=self.eps * eps)


def default_scale(spec: Spec) -> Scale:
    """Return the scale of a weight about which nothing else is said. A weight decays if it is a matrix."""
    return Scale(decay=float(spec.decays))


def complete_scales(specs: Mapping[str, Spec], scales: Mapping[str, Scale]) -> dict[str, Scale]:
    """Return the scale of every weight. A missing one is `default_scale`."""
    return {path: scales.get(path) or default_scale(spec) for path, spec in specs.items()}


@runtime_checkable
class Optimizer(Protocol):
    """A rule that turns gradients into updates, as a frozen, hashable dataclass.

    Equal optimizers give the same program. The step multiplies the updates by the rate and subtracts them. If
    `takes_rate` is set, it only subtracts them.

    Attributes:
        kind: Its name, a field of the dataclass.
        takes_rate: Whether its updates are already multiplied by the learning rate and by `Scale.rate`.
        acts_by_entry: Whether the update of each number depends only on that number's own gradients, and is
            zero if they are. Runs of different ranks can then train side by side, padded with zeros.
        has_second_moment: Whether it has a `beta2`, the decay of the squared gradient's mean. The batch size
            may move it (`optim.base_batch`).
    """

    @property
    def kind(self) -> str:
        """The optimizer's name, such as "adamw"."""
        ...

    takes_rate: ClassVar[bool] = False
    acts_by_entry: ClassVar[bool] = True
    has_second_moment: ClassVar[bool] = False

    def transform(
        self, specs: Mapping[str, Spec], scales: Mapping[str, Scale]
    ) -> optax.GradientTransformationExtraArgs:
        """Return the transformation of some weights at unit learning rate.

        Args:
            specs: The weights, by path. Their axes and contraction are right. In the arrays a rank may have
                another size.
            scales: Their scales. A missing path has `default_scale`. The step multiplies by `Scale.rate`,
                unless `takes_rate` is set.

        Returns:
            The transformation. Its `update` also takes the step's `Hyperparams`, as `hyperparams`.
        """
        ...

    def own_scale(self, spec: Spec) -> Scale:
        """Return the optimizer's own factors for a weight's rate and decay."""
        return Scale()

    def rule_of(self, spec: Spec) -> str:
        """Return the name of the rule that a weight gets, such as "Muon" or "AdamW"."""
        ...

    def evaluation_point(self, trainable: Params, opt_state: Any) -> Params:
        """Return the weights to evaluate and keep, given the weights at which gradients are taken."""
        return trainable

    def update_norm(self, spec: Spec) -> float | None:
        """Return the spectral norm of an update of one layer's weight at unit rate.

        It is known up to a constant that all sizes share. Aligned entries of size 1 give sqrt(fan_in *
        fan_out). It is None if the update grows with the gradient.
        """
        ...

    def state_arrays(self, spec: Spec) -> int:
        """Return how many float32 arrays of the weight's shape the state holds."""
        ...

    def flops(self, spec: Spec) -> float:
        """Return the FLOPs of the matrix products in one update, over all layers of the weight."""
        return 0.0
