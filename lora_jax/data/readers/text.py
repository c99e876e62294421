"""Files of plain text. Each is one document."""

from collections.abc import Iterator
from pathlib import Path

from lora_jax.data.documents import Rows, or_empty
from lora_jax.data.readers.packed import open_bytes
from lora_jax.errors import LoraJaxError
from lora_jax.files import parse_json

JSON_HEAD, SNIFFED = 100_000, 20  # how many characters and lines we look at to recognise JSON lines


class TextFile:
    """The one document of a text file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __len__(self) -> int:
        return 1

    def read(self, rows: Rows) -> Iterator[str]:
        """Yield the text for each row."""
        for _ in rows:
            yield read_text(self._path)


def read_text(path: Path) -> str:
    """Return the text of a file. "" if it is blank.

    Raises:
        LoraJaxError: The file cannot be read, is not UTF-8, or holds JSON lines.
    """
    with open_bytes(path) as file:
        content = file.read()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LoraJaxError(
            f"The text file {path} is not UTF-8 ({error.reason} at byte {error.start}): convert it or leave"
            " it out of data.sources."
        ) from error
    if _is_json_lines(text):
        raise LoraJaxError(
            f"The text file {path} holds JSON lines with a text in each, and a model would learn their"
            " braces: name it .jsonl, so that each line is a document."
        )
    return or_empty(text)


def _is_json_lines(text: str) -> bool:
    """Are the first lines JSON objects with a text?"""
    lines = [line for line in text[:JSON_HEAD].split("\n") if line.strip()]
    if len(text) > JSON_HEAD:
        lines = lines[:-1]  # the last line may be cut off
    try:
        rows = [parse_json(line) for line in lines[:SNIFFED]]
    except ValueError:
        return False
    return bool(rows) and all(isinstance(row, dict) and isinstance(row.get("text"), str) for row in rows)
