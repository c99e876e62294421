"""E2E NLG (arXiv 1706.09254): a restaurant's attributes, and sentences that express them."""

from pathlib import Path

from lora_jax.data.tasks.place import find_folder
from lora_jax.data.tasks.task import Row, Source
from lora_jax.errors import LoraJaxError
from lora_jax.rows import read_text

BAR = "||"
# The bar ends the prompt, as in the E2E experiments of arXiv 2106.09685.
TEMPLATE = "{attributes} " + BAR


def read_e2e() -> Source:
    """Read valid.txt, from which train and dev are cut by input, and test.txt.

    A line is `attributes||sentence`.
    """
    folder = find_folder("e2e", "tfds:e2e_cleaned")
    splits = {
        name: _read_split(folder / f"{file}.txt") for name, file in (("train", "valid"), ("test", "test"))
    }
    note = "train and dev are cut from E2E's valid.txt: its train set is not in the folder"
    return Source("e2e", "generation", (), splits, "attributes", template=TEMPLATE, notes=(note,))


def _read_split(path: Path) -> tuple[Row, ...]:
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        attributes, bar, sentence = (part.strip() for part in line.partition(BAR))
        if not (attributes and bar and sentence):
            raise LoraJaxError(
                f"Line {number} of {path} is {line[:60]!r}, but it must be 'attributes{BAR}sentence': mend"
                " it."
            )
        rows.append(Row(number, {"attributes": attributes}, None, sentence))
    return tuple(rows)
