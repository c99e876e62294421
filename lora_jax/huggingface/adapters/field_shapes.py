"""The kind of value that each field of an adapter_config.json holds.

A field that is null counts as missing, as in peft.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from lora_jax.errors import LoraJaxError


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def _is_pattern(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _are_names(value: Any) -> bool:
    return _is_pattern(value) or _are_patterns(value)


def _are_patterns(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_pattern, value))


def _are_layers(value: Any) -> bool:
    many = value if isinstance(value, list) else [value]
    return all(isinstance(one, int) and not isinstance(one, bool) for one in many)


def _is_table_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, dict) and all(_is_pattern(key) and holds(one) for key, one in value.items())
    )


_KINDS: tuple[tuple[Callable[[Any], bool], str, tuple[str, ...]], ...] = (
    (_is_count, "a whole number above 0", (
        "r", "num_virtual_tokens", "token_dim", "num_layers", "num_attention_heads",
        "num_transformer_submodules", "encoder_hidden_size",
    )),
    (_is_number, "a number", ("lora_alpha", "lora_dropout")),
    (lambda value: isinstance(value, bool), "true or false", (
        "use_rslora", "use_dora", "fan_in_fan_out", "inference_mode", "prefix_projection",
    )),
    (lambda value: isinstance(value, str), "text", ("peft_type", "task_type", "bias")),
    (_are_names, "a regular expression or a list of names", (
        "target_modules", "exclude_modules", "feedforward_modules", "layers_pattern",
    )),
    (_are_patterns, "a list of names", ("modules_to_save",)),
    (_are_layers, "numbers of layers", ("layers_to_transform",)),
    (_is_table_of(_is_count), "names with whole numbers above 0", ("rank_pattern",)),
    (_is_table_of(_is_number), "names with numbers", ("alpha_pattern",)),
)  # fmt: skip


def check_shapes(fields: Mapping[str, Any]) -> None:
    """Check that each field holds the kind of value that peft writes there.

    Raises:
        LoraJaxError: A field holds another kind of value.
    """
    for holds, wanted, names in _KINDS:
        for name in names:
            value = fields.get(name)
            if value is not None and not holds(value):
                raise LoraJaxError(
                    f"adapter_config.json has {name} = {repr(value)[:80]}, but it must be {wanted}: mend it,"
                    " or save the adapter again with peft."
                )
