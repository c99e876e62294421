"""What a model's folder holds beside weights and config.json: tokenizer, chat template, and the rest."""

import shutil
from pathlib import Path

from lora_jax.digests import MANIFEST

# Weights in any framework's format, their indices, and an adapter, which would be applied a second time.
WEIGHTS = (
    *("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt"),
    *("*.h5", "*.msgpack", "*.onnx", "*.onnx_data", "*.gguf", "*.tflite", "*.ot", "*.npz"),
)
OF_OTHERS = (*WEIGHTS, "config.json", "adapter_config.json", MANIFEST, ".*")  # hidden: .git, .cache


def copy_companions(source: Path, target: Path) -> list[str]:
    """Copy all but weights, config.json, adapters, digests and hidden files; return the names, folders last.

    A folder inside is copied in the same way, and left out where nothing of it is left; its own config.json,
    such as a pooling layer's, stays.
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
    """Copy a folder's files but for weights and hidden ones; return whether there were any."""
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
