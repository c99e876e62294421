"""What each weight multiplies the step's rate, decay and eps by: the one place where the factors meet."""

from collections.abc import Mapping

from lora_jax.config import ModelConfig, OptimConfig
from lora_jax.params import Spec
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.optimizer import Scale
from lora_jax.training.parametrisation import parametrisation_scales


def scales_of(
    specs: Mapping[str, Spec],
    optim: OptimConfig,
    method_rates: Mapping[str, float] | None = None,
    model: ModelConfig | None = None,
) -> dict[str, Scale]:
    """Return the scale of every weight.

    Args:
        specs: The weights, by path.
        optim: The configuration.
        method_rates: The learning rate of a path as a multiple of the step's, as a method sets it (LoRA+).
            A path that is absent has 1.
        model: The model, if its parametrisation sets the rates. Fine-tuning gives none: there the rate is
            chosen for each method and base.

    Returns:
        The scale by path, for every path of `specs`.
    """
    optimizer, rates = make_optimizer(optim), method_rates or {}
    by_size = {} if model is None else parametrisation_scales(model, optimizer, specs)
    return {
        path: optimizer.own_scale(spec).times(rate=rates.get(path, 1.0)).times(*by_size.get(path, Scale()))
        for path, spec in specs.items()
    }
