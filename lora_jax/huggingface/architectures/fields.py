"""The fields of a config.json that several architectures share, and refusals by their names."""

from collections.abc import Mapping
from typing import Any

from lora_jax.config import ModelConfig, RopeScaling
from lora_jax.errors import LoraJaxError, nearest

# Activations by transformers' names; those of one row are the same function.
GELUS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu_fast": "gelu", "gelu": "gelu_exact"}
# config.json's name for a field of RopeScaling (https://arxiv.org/abs/2407.21783)
LLAMA3 = {
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "original_max_position_embeddings": "original_context",
}


def read_size(source: Mapping[str, Any], name: str) -> int:
    """Return a whole number that must be there."""
    value = source.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        got = f"has {name} {value!r}" if name in source else f"has no {name}"
        raise LoraJaxError(f"config.json {got}, it must be a whole number above 0: mend the file.")
    return value


def refuse_unless(source: Mapping[str, Any], **wanted: Any) -> None:
    """Raise unless each field is as wanted or absent."""
    for name, value in wanted.items():
        if source.get(name, value) != value:
            raise LoraJaxError(
                f"config.json has {name} {source[name]!r}, supported is {value!r} alone: choose another"
                " checkpoint."
            )


def read_activation(
    source: Mapping[str, Any], name: str, default: str, known: Mapping[str, str] = GELUS
) -> Any:
    """Return ModelConfig.mlp of an activation's name."""
    value = source.get(name, default)
    if value not in known:
        raise LoraJaxError(
            f"config.json has {name} {value!r}, which is not supported{nearest(str(value), known)}: choose"
            " another checkpoint."
        )
    return known[value]


def name_activation(config: ModelConfig) -> str:
    """Return the first of the names that an activation has; swiglu has none among these."""
    names = [name for name, ours in GELUS.items() if ours == config.mlp]
    if not names:
        raise LoraJaxError(
            f"model.mlp is {config.mlp!r}, this architecture has {sorted(set(GELUS.values()))}: choose"
            " another model_type."
        )
    return names[0]


def read_rope(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return ModelConfig's rope_theta and rope_scaling.

    transformers 5 keeps them in rope_parameters, earlier ones in rope_theta and rope_scaling.

    Raises:
        LoraJaxError: a scaling other than Llama 3.1's, named, or one without its numbers.
    """
    fields = source.get("rope_parameters") or source.get("rope_scaling") or {}
    kind = fields.get("rope_type", fields.get("type", "default"))
    theta = fields.get("rope_theta", source.get("rope_theta", 10_000.0))
    if kind == "default":
        return {"rope_theta": theta}
    if kind != "llama3":
        raise LoraJaxError(
            f"config.json scales RoPE by {kind!r}, supported are 'default' and 'llama3': choose another"
            " checkpoint."
        )
    missing = sorted(LLAMA3.keys() - fields.keys())
    if missing:
        raise LoraJaxError(
            f"config.json scales RoPE by 'llama3' without {', '.join(missing)}: mend the file."
        )
    scaling = RopeScaling(**{ours: fields[theirs] for theirs, ours in LLAMA3.items()})
    return {"rope_theta": theta, "rope_scaling": scaling}


def write_rope(config: ModelConfig) -> dict[str, Any]:
    """Return the fields of both conventions: readers of either find theirs."""
    scaling = config.rope_scaling
    kind: dict[str, Any] = {"rope_type": "default"}
    if scaling is not None:
        kind = {"rope_type": "llama3"} | {theirs: getattr(scaling, ours) for theirs, ours in LLAMA3.items()}
    return {
        "rope_theta": config.rope_theta,
        "rope_scaling": None if scaling is None else kind,
        "rope_parameters": {"rope_theta": config.rope_theta, **kind},
    }
