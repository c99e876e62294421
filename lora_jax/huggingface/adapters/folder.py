"""An adapter's folder: adapter_config.json and adapter_model.safetensors, read and written whole."""

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from lora_jax.errors import LoraJaxError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # of every tensor's name, before the module's
Tensors = dict[str, np.ndarray]


def write_folder(folder: Path, fields: dict[str, Any], tensors: Tensors) -> None:
    """Write an adapter beside its place and rename it there; an adapter that was there is replaced.

    Raises:
        LoraJaxError: there is something else at that place.
    """
    from safetensors.numpy import save_file

    folder = Path(folder)
    _refuse_other(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        fresh.mkdir()
        (fresh / CONFIG).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        save_file(whole, fresh / WEIGHTS, metadata={"format": "pt"})
        if folder.exists():
            old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.old")
            folder.rename(old)
            fresh.rename(folder)
            shutil.rmtree(old)
        else:
            fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


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
    """Return an adapter's config and its tensors in float32.

    Raises:
        LoraJaxError: a file is missing, cut short or unreadable.
    """
    from safetensors import SafetensorError
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
        fields = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LoraJaxError(f"{config} is no JSON ({error}): copy it again.") from None
    if not isinstance(fields, dict):
        raise LoraJaxError(f"{config} holds no table of settings: copy it again.")
    try:
        tensors = load_file(weights)
    except SafetensorError as error:
        raise LoraJaxError(
            f"{weights} cannot be read ({error}): it may be cut short, copy it again."
        ) from None
    return fields, {name: np.asarray(tensor, dtype=np.float32) for name, tensor in tensors.items()}
