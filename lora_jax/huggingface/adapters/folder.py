"""An adapter's folder: adapter_config.json and adapter_model.safetensors, read and written whole."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lora_jax.digests import FIELD
from lora_jax.errors import Damaged, LoraJaxError
from lora_jax.files import load_json
from lora_jax.foreign import reading_tensors, write_safetensors
from lora_jax.huggingface.adapters.field_shapes import check_shapes
from lora_jax.peft.checkpoint import digest_tensors
from lora_jax.temporaries import held, sweep, temporary_beside

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE = "base_model_name_or_path"  # where the base lies, which is no property of the adapter
PREFIX = "base_model.model."  # stands in front of the module's name in every tensor's name
Tensors = dict[str, np.ndarray]


def write_folder(folder: Path, fields: dict[str, Any], tensors: Tensors) -> None:
    """Write an adapter under a temporary name and rename it. It replaces an older adapter.

    Raises:
        LoraJaxError: Something else than an adapter is there.
    """
    folder = Path(folder)
    _refuse_other(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent, folder.name)
    fresh = temporary_beside(folder)
    fresh.mkdir()
    try:
        with held(fresh):
            (fresh / CONFIG).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
            write_safetensors(fresh / WEIGHTS, whole, {"format": "pt", FIELD: _digest(fields, whole)})
            if folder.exists():
                old = temporary_beside(folder, "old")
                folder.rename(old)
                fresh.rename(folder)
                shutil.rmtree(old)
            else:
                fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _digest(fields: Mapping[str, Any], tensors: Mapping[str, Any]) -> str:
    """Return the digest of an adapter's tensors and settings, without the name of its base."""
    settings = {name: value for name, value in fields.items() if name != BASE}
    return digest_tensors({CONFIG: json.dumps(settings, sort_keys=True)}, tensors)


def _refuse_other(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise LoraJaxError(f"{folder} is a file, an adapter is a folder: give another name.")
    others = sorted(path.name for path in folder.iterdir() if path.name not in (CONFIG, WEIGHTS))
    if others:
        raise LoraJaxError(
            f"{folder} holds {others[0]!r}, which no adapter of ours has, so it is not overwritten: give"
            " another folder."
        )


def read_folder(folder: Path) -> tuple[dict[str, Any], Tensors]:
    """Return an adapter's config, and its tensors in float32.

    Raises:
        LoraJaxError: A file is missing, cut short or unreadable.
        Damaged: We exported it with a digest, and the digest does not match any more.
    """
    from safetensors import safe_open
    from safetensors.flax import load_file

    folder = Path(folder)
    config, weights = folder / CONFIG, folder / WEIGHTS
    if not config.is_file():
        raise LoraJaxError(f"{config} does not exist: give the folder that peft's save_pretrained wrote.")
    if not weights.is_file():
        if (folder / "adapter_model.bin").is_file():
            raise LoraJaxError(
                f"{folder} holds adapter_model.bin, a pickle that could run code: save it again in peft with"
                " safe_serialization=True."
            )
        raise LoraJaxError(f"{weights} does not exist: give the folder that peft's save_pretrained wrote.")
    try:
        fields = load_json(config)
    except (OSError, ValueError) as error:
        raise LoraJaxError(f"{config} is no JSON ({error}): copy it again.") from None
    if not isinstance(fields, dict):
        raise LoraJaxError(f"{config} holds no table of settings: copy it again.")
    check_shapes(fields)
    with reading_tensors(weights, "it may be cut short, copy it again"):
        tensors = load_file(weights)
        with safe_open(weights, "numpy") as file:
            wanted = (file.metadata() or {}).get(FIELD)
    if wanted is not None and wanted != _digest(fields, tensors):
        raise Damaged(
            f"{folder} is damaged, the digest in {WEIGHTS} is not that of its tensors and settings: copy it"
            " again, or save it again in peft if you changed it."
        )
    return fields, {name: np.asarray(tensor, dtype=np.float32) for name, tensor in tensors.items()}
