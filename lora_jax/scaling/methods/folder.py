"""A results folder of fine-tuning runs: its records read, its comparison written."""

import json
from pathlib import Path
from typing import Any

from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.scaling.methods.comparison import KIND, compare_methods


def is_finetuning(folder: Path) -> bool:
    """Say whether a folder holds a comparison of methods (not of laws), or fine-tuning runs."""
    comparison = folder / "comparison.json"
    if comparison.exists() and _read_object(comparison).get("kind") == KIND:
        return True
    first = next(iter(_record_paths(folder)), None)
    return first is not None and _read_object(first).get("finetuning") is not None


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Return the records in the order of the sweep's run_ids, those it does not name after them."""
    paths = _record_paths(folder)
    if not paths:
        raise LoraJaxError(f"{folder / 'runs'} holds no run: run `./launch.sh finetune` first.")
    sweep = folder / "sweep.json"
    order = _read_object(sweep).get("run_ids", []) if sweep.exists() else []
    place = {run_id: i for i, run_id in enumerate(order)}
    paths.sort(key=lambda path: (place.get(path.stem, len(place)), path.stem))
    return [_read_object(path) for path in paths]


def write_comparison(folder: Path, out: Path | None = None) -> dict[str, Any]:
    """Compare the methods of a folder and write comparison.json there, or into `out`; return its content."""
    comparison = compare_methods(read_records(folder))
    target = (out or folder) / "comparison.json"
    write_atomically(target, json.dumps(comparison, indent=1, allow_nan=False) + "\n")
    return comparison


def _record_paths(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("runs/*.json") if not path.name.startswith("."))


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoraJaxError(
            f"{path} cannot be read ({error}): restore or delete it, then run again."
        ) from error
    if not isinstance(value, dict):
        raise LoraJaxError(f"{path} holds a {type(value).__name__}, wanted an object: delete it.")
    return value
