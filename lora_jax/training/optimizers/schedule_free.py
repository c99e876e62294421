"""Schedule-free AdamW: an average in place of a cooldown (Defazio et al. 2024, arXiv 2405.15682)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lora_jax.params import Params, Spec
from lora_jax.ranges import ProperShare, Small, check_fields
from lora_jax.training.optimizers.around import clip
from lora_jax.training.optimizers.optimizer import Hyperparams, Optimizer, Scale, complete_scales


class ScheduleFreeState(NamedTuple):
    """The state of the rule.

    Attributes:
        count: Steps taken.
        largest_rate: The largest learning rate so far.
        weight_sum: Sum of the weights of the average.
        nu: Mean of the squared gradients, by path.
        z: The point that the plain steps have reached, by path.
    """

    count: jax.Array
    largest_rate: jax.Array
    weight_sum: jax.Array
    nu: Params
    z: Params


@dataclass(frozen=True, kw_only=True)
class ScheduleFree(Optimizer):
    """AdamW without a schedule. We evaluate an average x of the points z that the steps reach.

    The rate is constant after warmup. The gradient is taken at y = (1 - beta1) z + beta1 x, which are the
    weights in training. Each step is z = z - rate (g / (sqrt(nu) + eps) + decay y). Then x moves towards z.
    How far it moves is the share of this step's squared rate in the sum of all. The weights that are
    evaluated, kept and exported are x.

    Attributes:
        beta1: Share of the average in the point at which the gradient is taken. More than 0.
        beta2: Decay of the squared gradient's mean.
        eps: Added to the root of that mean.
    """

    kind: Literal["schedule_free"] = "schedule_free"
    beta1: ProperShare = 0.9
    beta2: ProperShare = 0.95
    eps: Small = 1e-8
    takes_rate: ClassVar[bool] = True
    has_second_moment: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self, "optim.optimizer")

    def transform(
        self, specs: Mapping[str, Spec], scales: Mapping[str, Scale]
    ) -> optax.GradientTransformationExtraArgs:
        """Return the rule. It multiplies by the rate itself, so the step only subtracts its updates."""
        found = complete_scales(specs, scales)

        def init(params: Any) -> ScheduleFreeState:
            nu = {path: jnp.zeros_like(weight) for path, weight in params.items()}
            z = {path: jnp.array(weight, copy=True) for path, weight in params.items()}
            count, largest_rate, weight_sum = (
                jnp.zeros((), dtype) for dtype in ("int32", "float32", "float32")
            )
            return ScheduleFreeState(count, largest_rate, weight_sum, nu, z)

        def update(updates: Any, state: Any, params: Any = None, **given: Any) -> tuple[Any, Any]:
            hyperparams: Hyperparams = given["hyperparams"]
            gradients = clip(updates, found, hyperparams.clip_norm)
            count, largest = state.count + 1, jnp.maximum(state.largest_rate, hyperparams.learning_rate)
            total = state.weight_sum + largest**2
            share = largest**2 / jnp.maximum(total, jnp.finfo(jnp.float32).tiny)
            changes, nu, z = {}, {}, {}
            for path, scale in found.items():
                y, g = params[path], gradients[path]
                nu[path] = self.beta2 * state.nu[path] + (1 - self.beta2) * g * g
                root = jnp.sqrt(nu[path] / (1 - self.beta2**count))
                direction = g / (root + self.eps * scale.eps) + hyperparams.weight_decay * scale.decay * y
                z[path] = state.z[path] - hyperparams.learning_rate * scale.rate * direction
                x = self._average(y, state.z[path])
                x = x + share * (z[path] - x)
                changes[path] = y - (self.beta1 * x + (1 - self.beta1) * z[path])
            return changes, ScheduleFreeState(count, largest, total, nu, z)

        return optax.GradientTransformationExtraArgs(init, update)

    def _average(self, y: jax.Array, z: jax.Array) -> jax.Array:
        return (y - (1 - self.beta1) * z) / self.beta1

    def rule_of(self, spec: Spec) -> str:
        """Return "schedule-free AdamW"."""
        return "schedule-free AdamW"

    def evaluation_point(self, trainable: Params, opt_state: Any) -> Params:
        """Return the average x."""
        return {path: self._average(weight, opt_state.z[path]) for path, weight in trainable.items()}

    def update_norm(self, spec: Spec) -> float:
        """Return sqrt(fan_in * fan_out), because entries have size 1 and are aligned."""
        return (spec.fan_in * spec.fan_out) ** 0.5

    def state_arrays(self, spec: Spec) -> int:
        """Return 2, for the squared gradient's mean and z."""
        return 2


OPTIMIZERS = (ScheduleFree,)
