"""Where the labelled tasks lie that are known by a bare name."""

import os
from pathlib import Path

from lora_jax.errors import LoraJaxError

VARIABLE = "LORA_JAX_TASKS"
BESIDE = Path(__file__).resolve().parents[4] / "shared" / "data" / "tasks"  # of the checkout


def find_folder(name: str, instead: str) -> Path:
    """Return the folder of task `name`: in $LORA_JAX_TASKS, else in ../shared/data/tasks from the checkout.

    Raises:
        LoraJaxError: there is none; the message says how to get one, `instead` being a name that does.
    """
    folder = _locate(name)
    if not folder.is_dir():
        raise LoraJaxError(
            f"The task {name!r} is not in {describe_place()}: set {VARIABLE} to a folder that holds {name}/,"
            f" or use {instead!r}, which tensorflow-datasets downloads."
        )
    return folder


def is_absent(name: str) -> bool:
    """Is task `name` nowhere, and no folder of tasks named where it should be?"""
    return not os.environ.get(VARIABLE) and not _locate(name).is_dir()


def describe_place() -> str:
    """Return where tasks are looked for."""
    chosen = os.environ.get(VARIABLE)
    return f"${VARIABLE} ({chosen})" if chosen else f"../shared/data/tasks, and ${VARIABLE} is not set"


def _locate(name: str) -> Path:
    chosen = os.environ.get(VARIABLE)
    return (Path(chosen).expanduser() if chosen else BESIDE) / name
