"""Rows of a .tsv, .csv or .jsonl file, by column name."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from lora_jax.errors import LoraJaxError, nearest

FORMATS = (".jsonl", ".tsv", ".csv")


def read_text(path: Path) -> str:
    """Return a file's text; LoraJaxError when it cannot be read or is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise LoraJaxError(
            f"The task file {path} cannot be read ({error.strerror}): correct task.name or mend the file."
        ) from error
    except UnicodeDecodeError as error:
        raise LoraJaxError(
            f"The task file {path} is not UTF-8 ({error.reason} at byte {error.start}): convert it."
        ) from error


def read_table(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return (line, columns) for every row; LoraJaxError for a row that does not fit the others.

    .tsv: as GLUE has it, tabs between the columns and quotation marks that are text. .csv: quoted as
    spreadsheets do. .jsonl: one object a line, text or whole numbers in it.
    """
    text = read_text(path)
    rows = list(_read_jsonl(path, text) if path.suffix == ".jsonl" else _read_columns(path, text))
    if not rows:
        raise LoraJaxError(f"The task file {path} has no rows: fill it or take it away.")
    return rows


def _read_columns(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    # Not splitlines(): it would cut at form feeds and other characters that occur inside texts.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if path.suffix == ".tsv":
        numbered = ((n, line.split("\t")) for n, line in enumerate(lines, 1) if line)
    else:
        reader = csv.reader(line + "\n" for line in lines)
        numbered = ((reader.line_num, cells) for cells in reader if cells)
    header: list[str] = []
    for number, cells in numbered:
        if not header:
            header = [name.strip() for name in cells]
        elif len(cells) != len(header):
            raise LoraJaxError(
                f"Line {number} of {path} has {len(cells)} columns and the header {len(header)}"
                f" ({', '.join(header)}): mend that line."
            )
        else:
            yield number, dict(zip(header, (cell.strip() for cell in cells), strict=True))


def _read_jsonl(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except json.JSONDecodeError as error:
            raise LoraJaxError(f"Line {number} of {path} is not JSON ({error.msg}): mend it.") from error
        if not isinstance(content, dict):
            raise LoraJaxError(f"Line {number} of {path} is not an object of columns: mend it.")
        fields = {}
        for name, value in content.items():
            if isinstance(value, bool) or not isinstance(value, str | int):
                raise LoraJaxError(
                    f"Line {number} of {path} has a {type(value).__name__} in {name!r}, wanted is a text or a"
                    " whole number: mend it."
                )
            fields[name] = str(value)
        yield number, fields


def require(path: Path, number: int, fields: dict[str, str], columns: Iterable[str]) -> None:
    """Refuse a row that lacks one of `columns`."""
    for column in columns:
        if column not in fields:
            raise LoraJaxError(
                f"Line {number} of {path} has no column {column!r}{nearest(column, fields)}: add it."
            )
