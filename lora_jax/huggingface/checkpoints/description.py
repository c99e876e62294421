"""config.json: read it, check it, and write it again without losing what it says besides the shape."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.files import load_json
from lora_jax.huggingface.architectures.architecture import Architecture, Json, is_bare
from lora_jax.huggingface.architectures.fields import check_agree
from lora_jax.model.parametrisation import readout_multiplier, residual_multiplier

CLASSIFIES = "ForSequenceClassification"


def read_json(path: Path) -> Json:
    """Return a JSON object from a file.

    Raises:
        LoraJaxError: The file is missing, or holds no JSON object.
    """
    try:
        value = load_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise LoraJaxError(f"{path} is missing: give a checkpoint's folder.") from None
    except (OSError, ValueError) as error:
        raise LoraJaxError(f"{path} is not JSON ({error}): fetch it again.") from error
    if not isinstance(value, dict):
        raise LoraJaxError(f"{path} holds no JSON object: fetch it again.")
    for name, kind, words in (("architectures", list, "a list of names"), ("id2label", dict, "an object")):
        if not isinstance(value.get(name), kind | None):
            raise LoraJaxError(f"{path} has {name} {value[name]!r}, but it must be {words}: fetch it again.")
    return value


def refuse_foreign(architecture: Architecture, source: Json) -> None:
    """Refuse keys by which transformers would compute something else than we do, or read other files.

    Raises:
        LoraJaxError: There is such a key.
    """
    for name in ("quantization_config", "per_layer_config", "transformers_weights", "configuration_files"):
        if source.get(name):
            raise LoraJaxError(
                f"config.json has {name}, which is not supported: save the model without it in transformers"
                " (a quantised one dequantised) and load that."
            )
    if architecture.lm_class is not None and not source.get("is_causal", True):
        raise LoraJaxError(
            f"config.json has is_causal {source['is_causal']!r}, a {architecture.model_type} here reads from"
            " left to right: choose another checkpoint."
        )


def is_classifier(source: Json) -> bool:
    """Return whether config.json says that the checkpoint classifies whole sequences."""
    return any(str(name).endswith(CLASSIFIES) for name in source.get("architectures") or ())


def is_of_another_task(source: Json) -> bool:
    """Return whether config.json names model classes, and none of them classifies whole sequences."""
    return bool(source.get("architectures")) and not is_classifier(source)


def count_classes(source: Json, asked: int | None) -> int | None:
    """Return the number of classes of the model to load: the checkpoint's, otherwise what was asked for.

    Raises:
        LoraJaxError: The checkpoint has a classifier of another size, or contradicts itself.
    """
    if not is_classifier(source):
        return asked
    # transformers does not write the number of labels if it is the default, 2
    id2label = source.get("id2label")
    n_classes = source.get("num_labels", 2 if id2label is None else len(id2label))
    check_agree(
        "the number of classes", n_classes, {"id2label of": None if id2label is None else len(id2label)}
    )
    if not isinstance(n_classes, int):
        raise LoraJaxError(
            f"config.json has num_labels {n_classes!r}, but it must be a whole number: mend it."
        )
    if asked not in (None, n_classes):
        raise LoraJaxError(
            f"asked for {asked} classes of a checkpoint whose classifier has {n_classes}: ask for"
            f" {n_classes}, or load one without a classifier."
        )
    return n_classes


def describe(
    architecture: Architecture,
    config: ModelConfig,
    dtype: str,
    source: Json | None = None,
    labels: Sequence[str] | None = None,
) -> Json:
    """Make the config.json of a model.

    Settings of `source` that still describe the model stay as they are, such as a context that is longer than
    a sliding window. We overwrite the others, and the setting of a head that was untied.

    Args:
        architecture: The architecture.
        config: The shape of the model.
        dtype: Dtype of the weights.
        source: An earlier config.json. It supplies what our config does not hold.
        labels: Names of the classes.

    Raises:
        LoraJaxError: The architecture cannot express the model. The message names the fields.
    """
    shape = {"model_type": architecture.model_type, **architecture.write_config(config)}
    _check_expressible(architecture, config, shape)
    written = _keep(architecture, config, shape, source)
    written["architectures"] = [_name_class(architecture, config)]
    written.pop("dtype", None)
    written["torch_dtype"] = dtype
    if config.n_classes is not None:
        written |= _name_labels(config.n_classes, labels, source or {})
    return written


def _keep(architecture: Architecture, config: ModelConfig, shape: Json, source: Json | None) -> Json:
    """Return the model's shape, with everything else that an earlier config.json says."""
    if source is None:
        # without these transformers assumes GPT-2's 50256, or Llama's 2
        return {"bos_token_id": None, "eos_token_id": None} | shape
    if source.get("model_type") == architecture.model_type:
        untied = source | {"tie_word_embeddings": config.tied_head}
        for known in (source, untied) if config.has_lm_head else (source,):
            if _settle(architecture.read_config(known, config.n_classes)) == _settle(config):
                return dict(known)
    # drop layer_types, which has one entry for each layer of the source
    return {name: value for name, value in source.items() if name != "layer_types"} | shape


def _name_class(architecture: Architecture, config: ModelConfig) -> str:
    if config.n_classes is not None:
        return architecture.class_prefix + CLASSIFIES
    return f"{architecture.class_prefix}Model" if is_bare(config) else str(architecture.lm_class)


def _name_labels(n_classes: int, labels: Sequence[str] | None, source: Json) -> Json:
    if labels is None:
        known = source.get("id2label") or {}
        named = [known[name] for name in sorted(known, key=int)]
        labels = named if len(named) == n_classes else [f"LABEL_{i}" for i in range(n_classes)]
    if len(labels) != n_classes:
        raise LoraJaxError(f"got {len(labels)} labels for {n_classes} classes: give one name a class.")
    return {
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }


def _check_expressible(architecture: Architecture, config: ModelConfig, written: Json) -> None:
    """Check that what we write reads back as the model. A bare decoder or a head of another kind does not."""
    if is_bare(config) != (architecture.lm_class is None and config.n_classes is None):
        raise LoraJaxError(
            f"{architecture.model_type} is {'an encoder' if architecture.lm_class is None else 'a decoder'},"
            " the model is not: choose another model_type."
        )
    back = _settle(architecture.read_config(written, config.n_classes))
    ours = _settle(config)
    differing = [name for name, value in ours.items() if back[name] != value]
    if differing:
        told = ", ".join(f"{name} {ours[name]!r} (it has {back[name]!r})" for name in differing)
        raise LoraJaxError(
            f"a {architecture.model_type} checkpoint cannot hold a model with {told}: choose another"
            " model_type."
        )


def _settle(config: ModelConfig) -> dict[str, Any]:
    """Return the fields that a forward pass depends on, with defaults resolved."""
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    fields |= {"n_kv_heads": config.kv_heads, "d_ff": config.ff_width, "head_width": config.head_dim}
    fields["qkv_bias"] = config.bias if config.qkv_bias is None else config.qkv_bias
    if config.positions != "rope":
        fields |= {"rope_theta": None, "rope_fraction": None, "rope_scaling": None}
    if not config.has_lm_head:
        fields["tied_head"] = None
    # A trained model keeps only the multipliers of a parametrisation.
    multipliers = {"readout": readout_multiplier(config), "residual": residual_multiplier(config)}
    for name in ("compute_dtype", "parametrisation", "base_width", "base_depth"):
        del fields[name]
    return fields | {f"{name}_multiplier": value for name, value in multipliers.items()}
