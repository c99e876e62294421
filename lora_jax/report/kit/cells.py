"""A CSV file of ours as cells of text."""

import csv
from pathlib import Path

from lora_jax.errors import LoraJaxError


def read_cells(path: Path, remedy: str) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows, all as long; LoraJaxError that ends in `remedy` for a damaged file."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
    except FileNotFoundError:
        raise LoraJaxError(f"{path} is missing: {remedy}.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LoraJaxError(f"{path} cannot be read ({error}): {remedy}.") from error
    if not lines:
        raise LoraJaxError(f"{path} is empty: {remedy}.")
    for number, line in enumerate(lines, start=1):
        if len(line) != len(lines[0]):
            raise LoraJaxError(
                f"{path}, line {number} has {len(line)} cells, the header has {len(lines[0])}: {remedy}."
            )
    return lines[0], lines[1:]
