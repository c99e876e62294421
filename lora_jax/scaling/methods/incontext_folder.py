"""A results folder of an in-context comparison: its records read, incontext.json written."""

import json
from pathlib import Path
from typing import Any

from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.scaling.methods.incontext import compare_incontext

NAME = "incontext.json"


def read_records(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the records of prompts and of fine-tuning runs, in the order of their tasks and numbers."""
    prompts = [_read_object(path) for path in _paths(folder, "prompts")]
    runs = [_read_object(path) for path in _paths(folder, "runs")]
    wanted = (
        _read_object(folder / "sweep.json").get("run_ids", []) if (folder / "sweep.json").exists() else []
    )
    place = {run_id: i for i, run_id in enumerate(wanted)}
    prompts.sort(key=lambda r: (r["config"]["label"], r["config"]["k"], r["config"]["draw"]))
    runs.sort(key=lambda r: (place.get(r["run_id"], len(place)), r["run_id"]))
    return prompts, runs


def write_incontext(folder: Path) -> dict[str, Any]:
    """Compare what a folder holds and write incontext.json there; return its content."""
    found = compare_incontext(*read_records(folder))
    write_atomically(folder / NAME, json.dumps(found, indent=1, allow_nan=False) + "\n")
    return found


def _paths(folder: Path, kind: str) -> list[Path]:
    return sorted(path for path in (folder / kind).glob("*.json") if not path.name.startswith("."))


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
