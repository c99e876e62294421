"""The factors by which a parametrisation multiplies each weight's learning rate, weight decay and eps.

They follow from two Specs: that of the weight, and that of the same weight in the base model. How weights
start and what the forward pass multiplies by is in model/parametrisation.py.
"""

from collections.abc import Mapping

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.model.parametrisation import base_of, has_base, residual_multiplier
from lora_jax.model.stacks import inside_block
from lora_jax.params import Spec
from lora_jax.training.optimizers.optimizer import Optimizer, Scale
from lora_jax.weight_class import WeightClass, classify


def parametrisation_scales(
    model: ModelConfig, optimizer: Optimizer, specs: Mapping[str, Spec]
) -> dict[str, Scale]:
    """Return the factors of a parametrisation. All are 1 without a base model.

    A matrix gets a rate at which an update has a spectral norm of sqrt(fan_out / fan_in), up to a constant
    that all sizes share (Yang et al. 2023, arXiv 2310.17813). For Adam this is muP's 1 / m_N, where m_N is
    the width over the base's width. The decay of a matrix is divided by the same factor, so that rate times
    decay does not change. In blocks eps is divided by m_N and, with `completep`, also by depth over base
    depth. Everything else keeps its rate (Dey et al. 2025, arXiv 2505.01618, table 1, alpha = 1).

    Args:
        model: The model.
        optimizer: The optimizer. It knows the size of its updates.
        specs: The weights, by path.

    Returns:
        The factors of every path of `specs`.

    Raises:
        LoraJaxError: The model has a base, and the size of the optimizer's updates is not known.
    """
    if not has_base(model):
        return dict.fromkeys(specs, Scale())
    smaller = base_of(model)
    base = declare(smaller)
    eps = smaller.d_model / model.d_model * residual_multiplier(model)
    scales: dict[str, Scale] = {}
    for path, spec in specs.items():
        rate = 1.0
        if classify(spec) is WeightClass.MATRIX:
            rate = _relative_rate(model, optimizer, spec) / _relative_rate(model, optimizer, base[path])
        in_block = inside_block(path) is not None
        scales[path] = Scale(rate=rate, decay=1 / rate, eps=eps if in_block else 1.0)
    return scales


def _relative_rate(model: ModelConfig, optimizer: Optimizer, spec: Spec) -> float:
    norm = optimizer.update_norm(spec)
    if norm is None:
        raise LoraJaxError(
            f"model.parametrisation is {model.parametrisation!r} and optim.optimizer is {optimizer.kind!r},"
            " for which its rates are not known: choose AdamW, Lion, schedule-free AdamW or Muon, or the"
            " parametrisation 'standard'."
        )
    return (spec.fan_out / spec.fan_in) ** 0.5 / norm
