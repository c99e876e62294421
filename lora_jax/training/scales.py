"""The factors by which each weight multiplies the step's rate, decay and eps. Here they all come together."""

from collections.abc import Mapping

from lora_jax.config import ClassConfig, ModelConfig, OptimConfig
from lora_jax.errors import LoraJaxError
from lora_jax.params import Spec
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.optimizer import Clip, Scale
from lora_jax.training.parametrisation import parametrisation_scales
from lora_jax.weight_class import classify


def scales_of(
    specs: Mapping[str, Spec],
    optim: OptimConfig,
    method_rates: Mapping[str, float] | None = None,
    model: ModelConfig | None = None,
) -> dict[str, Scale]:
    """Return the scale of every weight.

    Args:
        specs: The weights, by path.
        optim: The configuration. Its `classes` give factors and clip norms for a class of weights. Its
            optimizer may have factors of its own.
        method_rates: By path, a learning rate as a multiple of the step's, as LoRA+ sets it. A missing path
            has 1.
        model: The model, if its parametrisation sets the rates. Fine-tuning gives None, because there the
            rate is chosen for each method and base.

    Returns:
        The scale of every path of `specs`.

    Raises:
        LoraJaxError: `optim.classes` names a class that none of the weights has.
    """
    optimizer, rates, classes = make_optimizer(optim), method_rates or {}, _classes_of(specs, optim)
    by_size = {} if model is None else parametrisation_scales(model, optimizer, specs)
    scales: dict[str, Scale] = {}
    for path, spec in specs.items():
        own = classes[classify(spec)]
        decay = float(spec.decays) if own.decay is None else own.decay
        scale = optimizer.own_scale(spec).times(rate=own.rate * rates.get(path, 1.0), decay=decay)
        sized = by_size.get(path, Scale())
        scale = scale.times(sized.rate, sized.decay, sized.eps)
        if own.clip_norm is not None:
            scale = scale._replace(clip=Clip(classify(spec), own.clip_norm))
        scales[path] = scale
    return scales


def _classes_of(specs: Mapping[str, Spec], optim: OptimConfig) -> dict[str, ClassConfig]:
    """Return the configuration of each class that occurs."""
    there = {str(classify(spec)) for spec in specs.values()}
    given = {} if optim.classes is None else optim.classes.given
    for name in given:
        if name not in there:
            raise LoraJaxError(
                f"optim.classes.{name} is given, and none of the {len(specs)} weights that train is of that"
                f" class, only {', '.join(sorted(there))}: leave it out."
            )
    return {name: given.get(name, ClassConfig()) for name in there}
