"""work.json of a results folder: the command that a sweep was started with. Every worker runs it again."""

from dataclasses import dataclass
from pathlib import Path

from lora_jax.digests import read_object, to_sealed_json
from lora_jax.documents import from_document, reading, to_document
from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically

NAME = "work.json"


@dataclass(frozen=True)
class Task:
    """A command that trains into a results folder.

    Attributes:
        command: The command, such as "scaling".
        words: Its arguments, as they were typed.
        folder: The folder in which it was started. Relative paths in the arguments begin there.
        program: The program that started it: "lora-jax", or "./launch.sh" of a checkout.
        root: The folder that this program puts results into.
        place: What help texts call that folder.
    """

    command: str
    words: tuple[str, ...]
    folder: str
    program: str
    root: str
    place: str


def write_task(results: Path, task: Task) -> None:
    """Write a task into a results folder.

    Raises:
        OSError: It cannot be written.
    """
    write_atomically(results / NAME, to_sealed_json(to_document(task)))


def read_task(results: Path) -> Task:
    """Return the task of a results folder.

    Raises:
        LoraJaxError: There is none, or its file is damaged.
    """
    path = results / NAME
    if not path.exists():
        raise LoraJaxError(
            f"{results} holds no {NAME}, but it must be a results folder that a sweep was started in: start"
            " it with --workers 0, which only prepares the folder, or with --workers N."
        )
    remedy = "start the sweep again with its own command, which writes it anew"
    with reading(path, remedy):
        return from_document(Task, read_object(path, remedy))
