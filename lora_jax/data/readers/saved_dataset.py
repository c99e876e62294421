"""Folders that Hugging Face's `datasets` wrote with save_to_disk: Arrow files, and JSON that names them."""

from pathlib import Path
from typing import Any

from lora_jax.config import SourceConfig
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.files import load_json
from lora_jax.names import inside


def is_saved_dataset(folder: Path) -> bool:
    """Did save_to_disk write this folder?"""
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def list_arrow_files(folder: Path, split: str) -> list[Path]:
    """Return the files of a saved dataset. If the folder has several splits, return those of one split.

    Raises:
        LoraJaxError: There is no such split, or a file is missing or damaged.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = _read(folder / "dataset_dict.json", "splits")
        if split not in splits:
            raise LoraJaxError(
                f"data.sources has split {split!r}, which {folder} does not have{nearest(split, splits)}:"
                " name one of its splits, without a part in brackets."
            )
        folder = inside(folder, split, str(folder / "dataset_dict.json"))
    elif split != SourceConfig.split:
        raise LoraJaxError(
            f"data.sources has split {split!r}, and {folder} has one split alone: leave split out."
        )
    state = folder / "state.json"
    files = _read(state, "_data_files")
    if not files or not all(isinstance(one, dict) and isinstance(one.get("filename"), str) for one in files):
        raise LoraJaxError(f"{state} names no data files: save the dataset again with save_to_disk.")
    paths = [inside(folder, one["filename"], str(state)) for one in files]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise LoraJaxError(
            f"{missing[0]} is missing, and {state} names it: save the dataset again with save_to_disk."
        )
    return paths


def _read(path: Path, field: str) -> list[Any]:
    try:
        content = load_json(path)
        found = content.get(field)
    except (OSError, ValueError, AttributeError) as error:
        raise LoraJaxError(
            f"{path} cannot be read ({error}): save the dataset again with save_to_disk."
        ) from error
    if not isinstance(found, list):
        raise LoraJaxError(f"{path} has no list {field!r}: save the dataset again with save_to_disk.")
    return found
