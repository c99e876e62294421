"""What a model's folder holds beside weights and config.json: tokenizer, chat template, and the rest."""

import shutil
from pathlib import Path

from lora_jax.digests import MANIFEST

# Weights in any framework's format, and their indices. An adapter among them would be applied twice.
WEIGHTS = (
    *("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt"),
    *("*.h5", "*.msgpack", "*.onnx", "*.onnx_data", "*.gguf", "*.tflite", "*.ot", "*.npz"),
)
OF_OTHERS = (*WEIGHTS, "config.json", "adapter_config.json", MANIFEST, ".*")  # hidden: .git, .cache


def copy_companions(source: Path, target: Path) -> list[str]:
    """Copy everything but weights, config.json, adapters, digests and hidden files.

    Folders are copied in the same way. A folder of which nothing is left is left out. A folder keeps its own
    config.json, such as that of a pooling layer.

    Returns:
        The names of what was copied, folders last.
    """
    copied: list[str] = []
    for path in sorted(source.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if any(path.match(pattern) for pattern in OF_OTHERS):
            continue
        if path.is_file():
            shutil.copyfile(path, target / path.name)
        elif not _copy_folder(path, target / path.name):
            continue
        copied.append(path.name)
    return copied


def _copy_folder(source: Path, target: Path) -> bool:
    """Copy a folder's files except weights and hidden ones, and return whether there were any."""
    kept = [
        path
        for path in sorted(source.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(source).parts)
        and not any(path.match(pattern) for pattern in WEIGHTS)
    ]
    for path in kept:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    return bool(kept)
