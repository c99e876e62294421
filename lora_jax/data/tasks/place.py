"""Where the labelled tasks lie that are known by a bare name."""

import os
from pathlib import Path

from lora_jax.errors import LoraJaxError

VARIABLE = "LORA_JAX_TASKS"


def find_folder(name: str, instead: str) -> Path:
    """Return the folder of task `name`: in $LORA_JAX_TASKS, else in ../shared/data/tasks from the checkout.

    Raises:
        LoraJaxError: there is none; the message says how to get one, `instead` being a name that does.
    """
    chosen = os.environ.get(VARIABLE)
    beside = Path(__file__).resolve().parents[4] / "shared" / "data" / "tasks"
    folder = (Path(chosen).expanduser() if chosen else beside) / name
    if not folder.is_dir():
        where = f"${VARIABLE} ({chosen})" if chosen else f"../shared/data/tasks, and ${VARIABLE} is not set"
        raise LoraJaxError(
            f"The task {name!r} is not in {where}: set {VARIABLE} to a folder that holds {name}/, or use"
            f" {instead!r}, which tensorflow-datasets downloads."
        )
    return folder
