"""What a parametrisation multiplies learning rates, weight decay and eps by, weight by weight.

Everything follows from two Specs: that of the weight, and that of the same weight in the base model. See
model/parametrisation.py for starts and multipliers of the forward pass.
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

    The rate of a matrix is such that an update has a spectral norm of sqrt(fan_out / fan_in), up to a
    constant that all sizes share (Yang et al. 2023, arXiv 2310.17813). For Adam that is muP's 1 / m_N, where
    m_N is the width over the base's. The decay of a matrix is multiplied by the inverse, so that rate times
    decay stays what it is. In blocks eps is divided by m_N and, with `completep`, by depth over base depth.
    Everything else keeps its rate (Dey et al. 2025, arXiv 2505.01618, table 1, alpha = 1).

    Args:
        model: The model.
        optimizer: The optimizer, whose updates have a size of its own.
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
