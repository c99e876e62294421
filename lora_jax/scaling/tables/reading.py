"""Rows of text cells from a file: CSV, TSV, JSON lines, a JSON list, or Parquet."""

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

from lora_jax.errors import LoraJaxError

Rows = list[tuple[str, dict[str, str]]]  # where in the file, as "line 3", and the cells by column name


def read_rows(file: Path) -> tuple[list[str], Rows]:
    """Return the columns' names and the rows of a file, whose kind its suffix says (.csv where unknown).

    Raises LoraJaxError for a file that is not there, cannot be read, or is not what its suffix says.
    """
    if not file.exists():
        raise LoraJaxError(f"{file} does not exist: name a results folder with a runs.csv, or a CSV file.")
    suffix = file.suffix.lower()
    if suffix in (".parquet", ".pq"):
        rows = _read_parquet(file)
    else:
        text = _read_text(file)
        if suffix in (".jsonl", ".ndjson"):
            rows = _read_json_lines(file, text)
        elif suffix == ".json":
            rows = _read_json(file, text)
        else:
            return _read_csv(file, text, "\t" if suffix in (".tsv", ".tab") else ",")
    return list(dict.fromkeys(name for _, row in rows for name in row)), rows


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise LoraJaxError(f"{file} cannot be read as a table ({problem}): name a CSV file.") from problem


def _read_csv(file: Path, text: str, delimiter: str) -> tuple[list[str], Rows]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: Rows = []
    try:
        header = list(reader.fieldnames or ())
        twice = [name for name, n in Counter(header).items() if n > 1 and name]
        if twice:
            raise LoraJaxError(f"{file} has two columns named {twice[0]!r}: rename one.")
        for row in reader:
            if None in row or None in row.values():
                raise LoraJaxError(
                    f"{file}, line {reader.line_num}, has another number of cells than the header: mend it."
                )
            rows.append((f"line {reader.line_num}", row))
    except csv.Error as problem:
        raise LoraJaxError(
            f"{file}, line {reader.line_num}, cannot be read as CSV ({problem}): mend it."
        ) from problem
    return header, rows


def _read_json_lines(file: Path, text: str) -> Rows:
    rows: Rows = []
    for line, part in enumerate(text.split("\n"), 1):
        if not part.strip():
            continue
        try:
            cells = json.loads(part)
        except json.JSONDecodeError as problem:
            raise LoraJaxError(f"{file}, line {line}, is not JSON ({problem.msg}): mend it.") from problem
        if not isinstance(cells, dict):
            raise LoraJaxError(f"{file}, line {line}, is not a JSON object: give one object a line.")
        rows.append((f"line {line}", _cells(cells)))
    return rows


def _read_json(file: Path, text: str) -> Rows:
    if not text.strip():
        return []
    try:
        content = json.loads(text)
    except json.JSONDecodeError as problem:
        raise LoraJaxError(
            f"{file}, line {problem.lineno}, is not JSON ({problem.msg}): mend it, or name it .jsonl where"
            " each line is an object."
        ) from problem
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise LoraJaxError(f"{file} is not a JSON list of objects, as a table is: give one object a run.")
    return [(f"row {i}", _cells(item)) for i, item in enumerate(content, 1)]


def _read_parquet(file: Path) -> Rows:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as problem:
        raise LoraJaxError(
            f"{file} is Parquet, which wants pyarrow ({problem}): pip install pyarrow, or save it as CSV."
        ) from problem
    try:
        # read_table would guess partitions from the path; this reads the one file
        table = pyarrow.parquet.ParquetFile(file).read()
    except (OSError, pyarrow.ArrowException) as problem:
        told = str(problem).splitlines()[0].rstrip(".")
        raise LoraJaxError(f"{file} cannot be read as Parquet ({told}): mend it.") from problem
    return [(f"row {i}", _cells(row)) for i, row in enumerate(table.to_pylist(), 1)]


def _cells(row: dict[str, Any]) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in row.items()}
