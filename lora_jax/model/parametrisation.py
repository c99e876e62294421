"""How a model's start and its multipliers change with its width and depth.

There are four parametrisations. `standard` is ours: matrices start at 1/sqrt(fan-in), embeddings at
1/sqrt(d_model). `plain` starts everything at 0.02, as GPT-2 does, whatever the width. `mup` (Yang et al.
2022, arXiv 2203.03466) and `completep` (Dey et al. 2025, arXiv 2505.01618, table 1, alpha = 1) describe a
model relative to a base model. At the base's width and depth they are the standard model, to the bit.
training/parametrisation.py has the factors by which they multiply learning rates.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.head_widths import RELATIVE, explain_wider_heads
from lora_jax.model.stacks import inside_block
from lora_jax.params import LAYERS, Params, Spec, Specs
from lora_jax.weight_class import WeightClass, classify

PLAIN_STD = 0.02  # GPT-2's (Radford et al. 2019)


def has_base(config: ModelConfig) -> bool:
    """Return whether a model is described relative to a base model."""
    return config.parametrisation in RELATIVE


def base_of(config: ModelConfig) -> ModelConfig:
    """Return the base model, in the standard parametrisation. With `mup` its depth is the model's own."""
    assert config.base_width is not None
    return resize(as_standard(config), config.base_width, config.base_depth or config.n_layers)


def as_standard(config: ModelConfig) -> ModelConfig:
    """Return the model's shape in the standard parametrisation."""
    return replace(config, parametrisation="standard", base_width=None, base_depth=None)


def resize(config: ModelConfig, width: int, depth: int) -> ModelConfig:
    """Return a model of another width and depth, with heads as wide as before.

    The number of heads and d_ff change in proportion to the width. So does the number of key and value heads
    if it stays whole. Otherwise it stays as it is.

    Args:
        config: A model.
        width: d_model of the new one.
        depth: n_layers of the new one.

    Raises:
        LoraJaxError: The number of heads, or d_ff, would not be whole.
    """
    n_heads, n_kv_heads = config.n_heads * width, config.kv_heads * width
    if n_heads % config.d_model:
        raise LoraJaxError(
            f"a model of d_model {config.d_model} and {config.n_heads} heads is compared with one of d_model"
            f" {width}, which would have {n_heads / config.d_model:g} heads of the same width: choose a width"
            " (or model.base_width) that is a multiple of"
            f" {config.d_model // math.gcd(config.d_model, config.n_heads)}."
        )
    if config.d_ff is not None and config.d_ff * width % config.d_model:
        raise LoraJaxError(
            f"a model of d_model {config.d_model} and d_ff {config.d_ff} is compared with one of d_model"
            f" {width}, whose d_ff would be {config.d_ff * width / config.d_model:g}: choose a width (or"
            " model.base_width) that makes it whole."
        )
    return replace(
        config,
        d_model=width,
        head_width=config.head_dim,
        n_heads=n_heads // config.d_model,
        n_kv_heads=config.kv_heads if n_kv_heads % config.d_model else n_kv_heads // config.d_model,
        d_ff=None if config.d_ff is None else config.d_ff * width // config.d_model,
        n_layers=depth,
    )


def restart(config: ModelConfig, specs: Specs, base_specs: Mapping[str, Spec]) -> Specs:
    """Return the Specs of a model with the starts of its parametrisation.

    Args:
        config: The model.
        specs: Its Specs, with the standard starts.
        base_specs: The Specs of its base model, if it has one.
    """
    if config.parametrisation == "standard":
        return specs
    if config.parametrisation == "plain":
        return {path: replace(spec, std=_plain_std(spec)) for path, spec in specs.items()}
    return {path: replace(spec, std=_scaled_std(spec, base_specs[path])) for path, spec in specs.items()}


def _plain_std(spec: Spec) -> float:
    """Return 0.02. A matrix that writes to the residual stream keeps its factor for depth."""
    if classify(spec) is WeightClass.MATRIX:
        return PLAIN_STD * spec.std * spec.fan_in**0.5
    return PLAIN_STD if spec.std else 0.0


def _scaled_std(spec: Spec, base: Spec) -> float:
    """Return the base's start. That of a matrix falls as 1/sqrt(fan-in)."""
    if classify(spec) is WeightClass.MATRIX:
        return base.std * (base.fan_in / spec.fan_in) ** 0.5
    return base.std


def readout_multiplier(config: ModelConfig) -> float:
    """Return the factor of the head's input: base width / width."""
    has_readout = config.has_lm_head or config.n_classes is not None
    if config.base_width is None or not has_readout:
        return 1.0
    return config.base_width / config.d_model


def residual_multiplier(config: ModelConfig) -> float:
    """Return the factor of each sublayer before it is added: base depth / depth."""
    return 1.0 if config.base_depth is None else config.base_depth / config.n_layers


def forward_multiplier(config: ModelConfig, path: str, spec: Spec) -> float:
    """Return the factor by which the output of a weight's product is multiplied on its way on."""
    if not spec.contract:
        return 1.0
    if classify(spec) is not WeightClass.MATRIX:
        return readout_multiplier(config)
    outputs = {name for name, _ in spec.axes} - {*spec.contract, LAYERS}
    writes = inside_block(path) is not None and outputs == {"d_model"}
    return residual_multiplier(config) if writes else 1.0


def check_head_widths(configs: Iterable[ModelConfig]) -> None:
    """Refuse models that share a base but have heads of different widths.

    Raises:
        LoraJaxError: Two models have one base and heads of different widths.
    """
    families: dict[tuple[str, int | None], list[tuple[int, int]]] = {}
    for config in configs:
        if has_base(config):
            family = families.setdefault((config.parametrisation, config.base_width), [])
            family.append((config.d_model, config.head_dim))
    for (parametrisation, _), widths in families.items():
        wrong = explain_wider_heads(widths)
        if wrong is not None:
            raise LoraJaxError(f"under {parametrisation}, {wrong}")


def fold_multipliers(config: ModelConfig, params: Params) -> tuple[ModelConfig, Params]:
    """Return the same function as a model in the standard parametrisation, which has no multipliers.

    The readout's multiplier goes into the final norm. The residual's goes into the matrices and biases that
    write to the residual stream. A trained model needs no starts and learning rates any more.

    Args:
        config: The model.
        params: Its weights, by path.

    Returns:
        The standard model and its weights.
    """
    readout, residual = readout_multiplier(config), residual_multiplier(config)
    writers = ("attn/o", "attn/o_bias", "mlp/down", "mlp/down_bias")
    folded: Params = {}
    for path, weight in params.items():
        if path.startswith("final_norm/") and readout != 1.0:
            weight = weight * readout
        elif path.endswith(writers) and residual != 1.0:
            weight = weight * residual
        folded[path] = weight
    return as_standard(config), folded
