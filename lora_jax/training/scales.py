"""What each weight multiplies the step's rate, decay and eps by: the one place where the factors meet."""

from collections.abc import Mapping

from lora_jax.config import OptimConfig
from lora_jax.params import Spec
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.optimizer import Scale


def scales_of(
    specs: Mapping[str, Spec], optim: OptimConfig, method_rates: Mapping[str, float] | None = None
) -> dict[str, Scale]:
    """Return the scale of every weight.

    Args:
        specs: The weights, by path.
        optim: The configuration.
        method_rates: The learning rate of a path as a multiple of the step's, as a method sets it (LoRA+).
            A path that is absent has 1.

    Returns:
        The scale by path, for every path of `specs`.
    """
    optimizer, rates = make_optimizer(optim), method_rates or {}
    return {path: optimizer.own_scale(spec).times(rate=rates.get(path, 1.0)) for path, spec in specs.items()}
