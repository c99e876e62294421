"""Files of JSON lines. Each line is an object, and one of its fields is the text of a document."""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from lora_jax.data.documents import Rows, or_empty
from lora_jax.data.readers.packed import BUFFER, open_bytes
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.files import parse_json

MARK = b"\xef\xbb\xbf"  # the mark of UTF-8 that some editors put before the first line


class JsonLines:
    """The documents of a file, one a line. The text of a blank line, of an empty text and of null is ""."""

    def __init__(self, path: Path, text_field: str) -> None:
        self._path, self._field = path, text_field

    @cached_property
    def _n_lines(self) -> int:
        n, last = 0, b"\n"
        with open_bytes(self._path) as file:
            while chunk := file.read(BUFFER):
                n += chunk.count(b"\n")
                last = chunk[-1:]
        return n + (last != b"\n")

    def __len__(self) -> int:
        return self._n_lines

    def read(self, rows: Rows) -> Iterator[str]:
        """Yield the texts of `rows`, which must ascend."""
        with open_bytes(self._path) as file:
            lines = enumerate(file)
            for row in rows:
                line = next((line for number, line in lines if number == row), None)
                if line is None:
                    raise LoraJaxError(f"{self._path} was cut short while it was read: run it again.")
                yield self._find_text(line.removeprefix(MARK) if row == 0 else line, int(row) + 1)

    def _find_text(self, line: bytes, number: int) -> str:
        where = f"{self._path}, line {number},"
        if not line.strip():
            return ""
        try:
            cells = parse_json(line.decode("utf-8"), object_pairs_hook=_refuse_twins)
        except UnicodeDecodeError as error:
            raise LoraJaxError(f"{where} is not UTF-8 ({error.reason}): convert the file.") from error
        except ValueError as error:
            told = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise LoraJaxError(f"{where} is not JSON ({told}): mend that line.") from error
        if not isinstance(cells, dict):
            raise LoraJaxError(f"{where} is not a JSON object: give one object a line.")
        if self._field not in cells:
            raise LoraJaxError(
                f"{where} has no field {self._field!r}{nearest(self._field, cells)}: add it to that line, or"
                " set text_field of the source to the field that holds the text."
            )
        return self._check(cells[self._field], where)

    def _check(self, text: Any, where: str) -> str:
        if text is None:
            return ""
        if not isinstance(text, str):
            raise LoraJaxError(
                f"{where} has {type(text).__name__} in the field {self._field!r}, but it must be a text: mend"
                " that line, or set text_field of the source to the field that holds the text."
            )
        try:
            text.encode()
        except UnicodeEncodeError:
            raise LoraJaxError(
                f"{where} has half a character (a lone surrogate) in the field {self._field!r}: mend that"
                " line."
            ) from None
        return or_empty(text)


def _refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object. A dictionary would silently keep only the last of two fields with one name."""
    cells = dict(pairs)
    if len(cells) != len(pairs):
        raise ValueError("it has two fields of one name")
    return cells
