"""What an adapter_config.json says: the fields that have an effect, and the modules that it names."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError, nearest

Fields = dict[str, Any]
DEFAULT_RANK = DEFAULT_ALPHA = 8  # peft's defaults for a config that leaves them out
PREPARED = ("pissa", "olora", "corda", "loftq", "lora_ga")  # initialisations that change the base's weights
# Fields that we read, or that have no effect on what an adapter computes.
COMMON = {
    *("peft_type", "task_type", "base_model_name_or_path", "auto_mapping", "revision"),
    *("inference_mode", "peft_version"),
}
MODULES = {"target_modules", "exclude_modules", "modules_to_save", "fan_in_fan_out"}
LOW_RANK = {
    *("r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "bias"),
    *("layers_to_transform", "layers_pattern", "init_lora_weights", "loftq_config", "eva_config"),
    *("corda_config", "lora_ga_config", "megatron_core", "qalora_group_size", "ensure_weight_tying"),
}
PROMPTS = {
    *("num_virtual_tokens", "token_dim", "num_transformer_submodules", "num_attention_heads", "num_layers"),
    *("prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs"),
}
PREFIXES = {"encoder_hidden_size", "prefix_projection", "init_weights"}
READ: Mapping[str, set[str]] = {
    "LORA": COMMON | MODULES | LOW_RANK,
    "IA3": COMMON | MODULES | {"feedforward_modules", "init_ia3_weights"},
    "PROMPT_TUNING": COMMON | PROMPTS,
    "PREFIX_TUNING": COMMON | PROMPTS | PREFIXES,
}
TASKS = ("CAUSAL_LM", "SEQ_CLS")


def common_fields(peft_type: str, model: ModelConfig) -> Fields:
    """Return the fields that every config has."""
    task = "SEQ_CLS" if model.n_classes is not None else "CAUSAL_LM" if model.causal else "FEATURE_EXTRACTION"
    return {
        "peft_type": peft_type,
        "task_type": task,
        "auto_mapping": None,
        "revision": None,
        "inference_mode": True,
    }


def check_fields(fields: Fields, model: ModelConfig) -> str:
    """Return the peft_type of a config, if we can read it.

    Raises:
        LoraJaxError: The peft_type or task is unknown, or a field that changes what the adapter computes is
            not supported. The message names it.
    """
    kind = str(fields.get("peft_type"))
    if kind not in READ:
        raise LoraJaxError(
            f"adapter_config.json has peft_type {kind!r}, which cannot be imported{nearest(kind, READ)}:"
            " merge it into the base in peft and load that."
        )
    for name, value in fields.items():
        if name not in READ[kind] and value not in (None, False, "", [], {}):
            raise LoraJaxError(
                f"adapter_config.json has {name} = {value!r}, which is not supported for {kind}: merge the"
                " adapter into the base in peft and load that."
            )
    _check_start(fields)
    task = fields.get("task_type")
    if task in TASKS and (task == "SEQ_CLS") != (model.n_classes is not None):
        ours = "language model" if model.n_classes is None else "classifier"
        raise LoraJaxError(
            f"the adapter is for the task {task}, and the model is a {ours}: load the other kind."
        )
    if task not in (*TASKS, None, "FEATURE_EXTRACTION"):
        raise LoraJaxError(
            f"the adapter is for the task {task!r}, but it must be for one of {', '.join(TASKS)}."
        )
    return kind


def _check_start(fields: Fields) -> None:
    start = fields.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower().startswith(PREPARED):
        raise LoraJaxError(
            f"adapter_config.json has init_lora_weights = {start!r}, so that the adapter belongs to a base"
            " that was changed: save it in peft with path_initial_model_for_weight_conversion."
        )
    if fields.get("bias", "none") != "none":
        raise LoraJaxError(
            f"adapter_config.json has bias = {fields['bias']!r}, but it must be 'none': merge the adapter"
            " into the base in peft and load that."
        )
    if fields.get("prefix_projection"):
        raise LoraJaxError(
            "adapter_config.json has prefix_projection = true, which cannot be imported: save the prefix in"
            " peft with prefix_projection = false."
        )


def names_module(fields: Fields, name: str) -> bool:
    """Return whether a config puts an adapter on the module with this whole name, by peft's rules.

    A string is a regular expression for the whole name. A list holds whole names, or ends of names that
    layers_to_transform may narrow. Modules in exclude_modules or modules_to_save get no adapter.

    Raises:
        LoraJaxError: The config has no target_modules.
    """
    if _is_in(fields.get("exclude_modules"), name):
        return False
    if any(re.match(rf"(^|.*\.){saved}($|\..*)", name) for saved in fields.get("modules_to_save") or ()):
        return False
    targets = fields.get("target_modules")
    if targets is None:
        raise LoraJaxError("adapter_config.json has no target_modules: save the adapter again with peft.")
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    if name in targets:
        return True
    return any(name.endswith(f".{target}") for target in targets) and _is_chosen_layer(fields, name)


def _is_in(names: str | Collection[str] | None, name: str) -> bool:
    if not names:
        return False
    if isinstance(names, str):
        return re.fullmatch(names, name) is not None
    return name in names or any(name.endswith(f".{one}") for one in names)


def _is_chosen_layer(fields: Fields, name: str) -> bool:
    layers, patterns = fields.get("layers_to_transform"), fields.get("layers_pattern") or ()
    if layers is None or layers == []:
        return True
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    expressions = [rf"(?:^|.*?\.){one}\.(\d+)\." for one in patterns] or [r".*?\.[^.]*\.(\d+)\."]
    found = next(filter(None, (re.match(one, name) for one in expressions)), None)
    return found is not None and int(found[1]) in ([layers] if isinstance(layers, int) else layers)


def is_all_linear(fields: Fields) -> bool:
    """Return whether it says "all-linear": every matrix except the head's and the embedding."""
    targets = fields.get("target_modules")
    return isinstance(targets, str) and targets.lower() == "all-linear"


def by_name(choices: Mapping[str, Any] | None, name: str, default: Any) -> Any:
    """Return what a rank_pattern or an alpha_pattern gives a module.

    The first match counts, otherwise the default.
    """
    for key, value in (choices or {}).items():
        if re.match(rf"(.*\.)?({key})$", name):
            return value
    return default


def refuse_none(found: Sequence[str], fields: Fields, model_type: str, names: Iterable[str]) -> None:
    """Refuse a config that names no module of this architecture.

    Raises:
        LoraJaxError: It names none.
    """
    if not found:
        targets = fields.get("target_modules")
        first = targets if isinstance(targets, str) else next(iter(sorted(targets or [""])))
        raise LoraJaxError(
            f"target_modules {targets!r} names no module of a {model_type}{nearest(first, set(names))}: the"
            " adapter is for another architecture, load its base."
        )
