"""Rotary positions in a config.json, which has several places for each of their numbers.

transformers 5 keeps all of them in rope_parameters. Earlier versions have rope_theta and rope_scaling at the
top, and GPT-NeoX has rotary_emb_base and rotary_pct. transformers 5 reads them all. If rope_scaling is not
empty, it replaces rope_parameters as a whole. What the chosen table leaves out comes from the top
(`RotaryEmbeddingConfigMixin` in its modeling_rope_utils.py).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lora_jax.config import ModelConfig, RopeScaling
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.architectures.fields import check_agree, read_number

DEFAULT_THETA = 10_000.0
ORIGINAL = "original_max_position_embeddings"
# our field of RopeScaling, by config.json's name (https://arxiv.org/abs/2407.21783)
LLAMA3 = {
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    ORIGINAL: "original_context",
}


class RopeNames(NamedTuple):
    """An architecture's names at the top of its config.json.

    Attributes:
        theta: The name of theta.
        share: The name of the rotated share of a head. None if heads are always rotated whole.
        default_share: The share if config.json does not give it.
    """

    theta: str = "rope_theta"
    share: str | None = None
    default_share: float = 1.0


WHOLE_HEADS = RopeNames()


def read_rope(source: Mapping[str, Any], names: RopeNames = WHOLE_HEADS) -> dict[str, Any]:
    """Return ModelConfig's rope_theta, rope_scaling and rope_fraction, as transformers 5 takes them.

    Raises:
        LoraJaxError: The scaling is not Llama 3.1's, lacks its numbers, or places disagree. The message names
            them.
    """
    scaling, parameters = (_read_table(source, name) for name in ("rope_scaling", "rope_parameters"))
    taken = scaling or parameters
    kind = taken.get("rope_type", taken.get("type", "default"))
    theta = read_number("rope_theta", taken.get("rope_theta", source.get(names.theta, DEFAULT_THETA)))
    check_agree("RoPE's theta", theta, _find(source, scaling, parameters, "rope_theta", names.theta))
    found: dict[str, Any] = {"rope_theta": theta}
    if names.share is not None:
        share = taken.get("partial_rotary_factor", source.get(names.share, names.default_share))
        share = read_number("partial_rotary_factor", share)
        said = _find(source, scaling, parameters, "partial_rotary_factor", names.share)
        check_agree("the share of a head that is rotated", share, said)
        found["rope_fraction"] = share
    if kind == "default":
        return found
    if kind != "llama3":
        raise LoraJaxError(
            f"config.json scales RoPE by {kind!r}, supported are 'default' and 'llama3': choose another"
            " checkpoint."
        )
    if names.share is None and taken.get("partial_rotary_factor", 1.0) != 1.0:
        raise LoraJaxError(
            f"config.json rotates {taken['partial_rotary_factor']} of each head and scales RoPE by 'llama3',"
            " which this architecture cannot: mend the file."
        )
    missing = sorted(LLAMA3.keys() - taken.keys())
    if missing:
        raise LoraJaxError(
            f"config.json scales RoPE by 'llama3' without {', '.join(missing)}: mend the file."
        )
    check_agree("RoPE's original context", taken[ORIGINAL], {ORIGINAL: source.get(ORIGINAL)})
    numbers: dict[str, Any] = {ours: read_number(theirs, taken[theirs]) for theirs, ours in LLAMA3.items()}
    return found | {"rope_scaling": RopeScaling(**numbers)}


def _read_table(source: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a table of RoPE's numbers. It is empty if there is none."""
    table = source.get(name) or {}
    if not isinstance(table, dict):
        raise LoraJaxError(f"config.json has {name} {table!r}, but it must be a table: mend the file.")
    nested = [key for key, value in table.items() if isinstance(value, dict)]
    if nested:
        raise LoraJaxError(
            f"config.json has {name} of its own for {nested[0]!r}, supported is one for all layers: choose"
            " another checkpoint."
        )
    return table


def _find(
    source: Mapping[str, Any],
    scaling: Mapping[str, Any],
    parameters: Mapping[str, Any],
    inside: str,
    at_top: str,
) -> dict[str, Any]:
    """Return what every place says about one number, by the place's name."""
    return {
        at_top: source.get(at_top),
        inside: source.get(inside),
        f"rope_scaling.{inside}": scaling.get(inside),
        f"rope_parameters.{inside}": parameters.get(inside),
    }


def write_rope(config: ModelConfig) -> dict[str, Any]:
    """Return the fields of both conventions, so that readers of either find theirs."""
    scaling = config.rope_scaling
    kind: dict[str, Any] = {"rope_type": "default"}
    if scaling is not None:
        kind = {"rope_type": "llama3"} | {theirs: getattr(scaling, ours) for theirs, ours in LLAMA3.items()}
    return {
        "rope_theta": config.rope_theta,
        "rope_scaling": None if scaling is None else kind,
        "rope_parameters": {"rope_theta": config.rope_theta, **kind},
    }
