"""Where we look for labelled tasks that are known by a bare name."""

import os
from pathlib import Path

from lora_jax.errors import LoraJaxError

VARIABLE = "LORA_JAX_TASKS"
BESIDE = Path(__file__).resolve().parents[4] / "shared" / "data" / "tasks"  # beside the checkout


def find_folder(name: str, instead: str) -> Path:
    """Return the folder of task `name`: in $LORA_JAX_TASKS, or else in ../shared/data/tasks of the checkout.

    Args:
        name: The task.
        instead: Name of a task that can be had otherwise, for the message.

    Raises:
        LoraJaxError: There is none. The message says how to get one.
    """
    folder = _locate(name)
    if not folder.is_dir():
        raise LoraJaxError(
            f"The task {name!r} is not in {describe_place()}: set {VARIABLE} to a folder that holds {name}/,"
            f" or use {instead!r}, which tensorflow-datasets downloads."
        )
    return folder


def is_absent(name: str) -> bool:
    """Is task `name` missing, and has the user named no folder of tasks?"""
    return not os.environ.get(VARIABLE) and not _locate(name).is_dir()


def describe_place() -> str:
    """Return where we look for tasks, in words."""
    chosen = os.environ.get(VARIABLE)
    return f"${VARIABLE} ({chosen})" if chosen else f"../shared/data/tasks, and ${VARIABLE} is not set"


def _locate(name: str) -> Path:
    chosen = os.environ.get(VARIABLE)
    return (Path(chosen).expanduser() if chosen else BESIDE) / name
