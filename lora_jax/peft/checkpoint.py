"""An adapter's file (safetensors): the trainable tree, the method, the base's hash, and a digest.

The digest covers everything else. A file of an older version has no digest, and we accept it as it is.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.digests import FIELD, digest_json
from lora_jax.errors import Damaged, LoraJaxError, nearest
from lora_jax.files import parse_json, write_atomically
from lora_jax.foreign import reading_tensors
from lora_jax.params import Params
from lora_jax.peft.method import MethodConfig
from lora_jax.peft.methods import method_from_dict, method_to_dict


def fingerprint(params: Mapping[str, jax.Array] | Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of a tree: of every weight's path, type, shape and bytes, in the order of paths."""
    total = hashlib.sha256()
    for path in sorted(params):
        weight = np.ascontiguousarray(params[path])
        total.update(f"{path} {weight.dtype} {weight.shape}\n".encode())
        total.update(weight.tobytes())
    return total.hexdigest()


def save_adapter(path: Path, trainable: Params, config: MethodConfig, base_fingerprint: str) -> None:
    """Write an adapter as one safetensors file. It is written whole or not at all.

    Args:
        path: The file.
        trainable: The trained weights.
        config: The method that was trained.
        base_fingerprint: `fingerprint(base)`, which says which base the adapter belongs to.
    """
    from safetensors.numpy import save

    metadata = {"method": json.dumps(method_to_dict(config)), "base": base_fingerprint}
    tensors = {name: np.ascontiguousarray(weight) for name, weight in trainable.items()}
    write_atomically(path, save(tensors, metadata | {FIELD: digest_tensors(metadata, tensors)}))


def digest_tensors(metadata: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of a safetensors file's content: tensors, and metadata without the digest."""
    return digest_json({"metadata": {**metadata, FIELD: None}, "tensors": fingerprint(tensors)})


def load_adapter(
    path: Path, base_fingerprint: str, model: ModelConfig | None = None
) -> tuple[MethodConfig, Params]:
    """Load an adapter for the base with this fingerprint.

    To run it, call `adapt(base, config.build(model), seed)` for the frozen part. Any seed will do.

    Args:
        path: The file.
        base_fingerprint: `fingerprint(base)`.
        model: The shape of the base, to check the tensors' names and shapes. None does not check them.

    Returns:
        The method's configuration and its trained weights.

    Raises:
        LoraJaxError: There is no such file, it is no whole adapter file, it belongs to another base, or a
            tensor is missing, unexpected or misshapen.
    """
    metadata, tensors = _read(path)
    if metadata["base"] != base_fingerprint:
        raise LoraJaxError(
            f"{path} is an adapter of the base {metadata['base'][:12]}, this base is {base_fingerprint[:12]}:"
            " load the base that it was trained on."
        )
    config = method_from_dict(_read_method(path, metadata["method"]))
    if model is not None:
        _check(path, tensors, config, model)
    return config, {name: jnp.asarray(weight) for name, weight in tensors.items()}


def _read_method(path: Path, text: str) -> dict[str, Any]:
    try:
        fields = parse_json(text)
    except ValueError as error:
        raise LoraJaxError(f"{path} holds a method that is no JSON ({error}): train it again.") from error
    if not isinstance(fields, dict):
        raise LoraJaxError(
            f"{path} holds the method {text[:40]!r}, but it must be an object: train it again."
        )
    return fields


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of an adapter file, by its name."""
    return {name: tensor.shape for name, tensor in _read(path)[1].items()}


def _read(path: Path) -> tuple[Mapping[str, str], dict[str, np.ndarray]]:
    from safetensors import safe_open

    if not path.is_file():
        raise LoraJaxError(f"there is no adapter at {path}: check the path.")
    remedy = "it was cut short or is another kind of file, copy or train it again"
    with reading_tensors(path, remedy), safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        names = file.keys()  # the file itself is no mapping, so we cannot iterate over it
        tensors = {name: file.get_tensor(name) for name in names}
    if not {"method", "base"} <= metadata.keys():
        raise LoraJaxError(
            f"{path} does not say which method and base it is of, so it is no adapter of lora-jax: import"
            " adapters of peft by their folder."
        )
    if metadata.get(FIELD, wanted := digest_tensors(metadata, tensors)) != wanted:
        raise Damaged(
            f"{path} is damaged, its digest is not that of its weights and settings: copy it or train"
            " it again."
        )
    return metadata, tensors


def _check(path: Path, tensors: Mapping[str, Any], config: MethodConfig, model: ModelConfig) -> None:
    method, name = config.build(model), type(config).__name__
    for unexpected in sorted(tensors.keys() - method.trainable):
        raise LoraJaxError(
            f"{path} holds {unexpected}, which {name} does not train on this model"
            f"{nearest(unexpected, method.trainable)}: load it for the model that it was trained on."
        )
    for missing in sorted(method.trainable - tensors.keys()):
        raise LoraJaxError(
            f"{path} lacks {missing}, which {name} trains on this model: it is not complete, train it again."
        )
    for wanted in sorted(tensors):
        shape, got = method.specs[wanted].shape, tensors[wanted].shape
        if shape != got:
            raise LoraJaxError(
                f"{path} holds {wanted} as {got}, {name} on this model wants {shape}: load it for the model"
                " that it was trained on."
            )
