"""What each weight multiplies the step's rate, decay and eps by: the one place where the factors meet."""

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
        optim: The configuration. Its `classes` have factors and clips of a class of weights, and its
            optimizer may have some of its own.
        method_rates: The learning rate of a path as a multiple of the step's, as a method sets it (LoRA+).
            A path that is absent has 1.
        model: The model, if its parametrisation sets the rates. Fine-tuning gives none: there the rate is
            chosen for each method and base.

    Returns:
        The scale by path, for every path of `specs`.

    Raises:
        LoraJaxError: `optim.classes` names a class that no weight is of.
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
    """Return what the configuration says of each class that there is."""
    there = {str(classify(spec)) for spec in specs.values()}
    given = {} if optim.classes is None else optim.classes.given
    for name in given:
        if name not in there:
            raise LoraJaxError(
                f"optim.classes.{name} is given, and none of the {len(specs)} weights that train is of that"
                f" class, only {', '.join(sorted(there))}: leave it out."
            )
    return {name: given.get(name, ClassConfig()) for name in there}
