"""Read the rows of a table file: CSV and similar formats, JSON lines, a JSON list, or Parquet.

Run tables and training rows share this reader. It changes no cell. The caller strips and respells numbers and
labels.
"""

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from lora_jax.errors import LoraJaxError
from lora_jax.files import parse_json

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SNIFFED = 50  # lines that show what separates the cells
CELL = 131_072  # characters in a cell of a CSV: a longer one usually has an unclosed quotation mark
# the place in the file, such as "line 3", and the cells by column name
Rows = list[tuple[str, dict[str, Any]]]


class Sheet(NamedTuple):
    """A table.

    Attributes:
        header: Names of the columns.
        rows: The rows. Cells of a CSV are text. Cells of other formats are text, numbers, None, lists and so
            on.
        notes: What we read differently from what the file's name says.
        delimiter: What separates the cells of a CSV or TSV. None in other formats.
    """

    header: list[str]
    rows: Rows
    notes: list[str]
    delimiter: str | None = None


def read_rows(file: Path, *, tabs_quote: bool = True, longest: int = CELL) -> Sheet:
    """Return the columns' names and the rows of a file. Its suffix gives the format, and is CSV if unknown.

    The usual mark separates the cells of a CSV, TSV or TXT file if the header has it. Otherwise it is the
    mark that divides the header.

    Args:
        file: The file.
        tabs_quote: Whether quotation marks in a .tsv enclose cells, as spreadsheets write them. If False,
            they are text, as in GLUE's files, unless every one of them is escaped.
        longest: How many characters a cell of a CSV may have.

    Raises:
        LoraJaxError: The file is missing, cannot be read, is not what its suffix says, or has two columns of
            one name.
    """
    if not file.exists():
        raise LoraJaxError(f"{file} does not exist: name a results folder with a runs.csv, or a CSV file.")
    if not file.is_file():
        raise LoraJaxError(
            f"{file} is a folder, a pipe or a device, but it must be a file with a table: name one."
        )
    suffix = file.suffix.lower()
    if suffix in (".parquet", ".pq"):
        return _sheet(_read_parquet(file))
    text = read_text(file)
    if suffix in (".jsonl", ".ndjson"):
        return _sheet(_read_json_lines(file, text))
    if suffix == ".json":
        return _sheet(_read_json(file, text))
    if suffix in (".tsv", ".tab") and not tabs_quote and not _is_escaped(text):
        return Sheet(*_read_plain(file, text), [], "\t")
    usual = "\t" if suffix in (".tsv", ".tab") else ","
    text, skipped, delimiter = _delimiter_of(text, usual)
    header, rows = _read_csv(file, text, delimiter, skipped, longest)
    said = [f"The cells of {file.name} are separated by {DELIMITERS[delimiter]}."]
    return Sheet(header, rows, said if delimiter != usual else [], delimiter)


def read_text(file: Path) -> str:
    """Return a file's text without a byte-order mark. It is UTF-8, or UTF-16 if such a mark says so.

    Raises:
        LoraJaxError: The file cannot be read, or is neither.
    """
    try:
        content = file.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            text = content.decode("utf-16")
            if not any(mark in text for mark in "\r\n[{"):  # two odd bytes make no table
                raise UnicodeError("UTF-16 without a line")
            return text
        return content.decode("utf-8-sig")
    except (OSError, UnicodeError) as problem:
        raise LoraJaxError(
            f"{file} cannot be read as a table ({problem}): name a CSV file, in UTF-8."
        ) from problem


def _sheet(rows: Rows) -> Sheet:
    return Sheet(list(dict.fromkeys(name for _, row in rows for name in row)), rows, [])


def _delimiter_of(text: str, usual: str) -> tuple[str, int, str]:
    """Return the text without a first line "sep=;", how many lines that took, and the cells' delimiter.

    The delimiter is the usual one if the header has it. Otherwise it is the one that divides header and lines
    into the most equal parts.
    """
    first, _, rest = text.partition("\n")
    if first.lower().startswith("sep=") and first.strip()[4:] in ("", *DELIMITERS):
        return rest, 1, first.strip()[4:] or "\t"
    lines = list(islice(io.StringIO(text, newline=""), SNIFFED))
    best, parts = usual, 1
    for mark in (usual, *DELIMITERS):
        try:
            counts = [len(row) for row in csv.reader(lines, delimiter=mark) if row]
        except csv.Error:
            continue
        if counts and (counts[0] > parts or (mark == usual and counts[0] > 1)):
            even = len(set(counts)) == 1
            if mark == usual and even:
                return text, 0, usual
            if mark == usual or even or parts == 1:
                best, parts = mark, counts[0]
    return text, 0, best


def _read_csv(file: Path, text: str, delimiter: str, skipped: int, longest: int) -> tuple[list[str], Rows]:
    # strict, because an unclosed quotation mark would make one cell of the rest of the file
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    before = csv.field_size_limit(longest)  # a setting of the whole module, so we restore it below
    try:
        numbered = ((reader.line_num + skipped, cells) for cells in reader if cells)
        return _make_rows(file, numbered)
    except csv.Error as problem:
        raise LoraJaxError(
            f"{file}, line {reader.line_num + skipped}, cannot be read as CSV ({problem}): mend it."
        ) from problem
    finally:
        csv.field_size_limit(before)


def _read_plain(file: Path, text: str) -> tuple[list[str], Rows]:
    # do not use splitlines(): it would cut at form feeds and other characters that occur inside texts
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    return _make_rows(file, ((n, line.split("\t")) for n, line in enumerate(lines, 1) if line))


def _is_escaped(text: str) -> bool:
    """Return whether quotation marks of a .tsv only enclose cells or are doubled in one, and some must."""
    if '"' not in text:
        return False
    enclosed = r'(?:^|(?<=[\t\n]))"(?:[^"]|"")*"(?=[\t\r\n]|$)'
    cells = re.findall(enclosed, text)
    needed = any('""' in cell[1:-1] or "\t" in cell or "\n" in cell for cell in cells)
    return needed and '"' not in re.sub(enclosed, "", text)


def _make_rows(file: Path, numbered: Iterator[tuple[int, list[str]]]) -> tuple[list[str], Rows]:
    """Return header and rows.

    A line whose cells are all empty, as spreadsheets leave below a table, is no row.
    """
    header: list[str] = []
    rows: Rows = []
    for number, cells in numbered:
        if not header:
            header = [name.strip() for name in cells]
            _refuse_twins(file, header)
        elif len(cells) != len(header):
            raise LoraJaxError(
                f"Line {number} of {file} has {len(cells)} columns and the header {len(header)}"
                f" ({', '.join(header)}), another number of cells: mend that line."
            )
        elif any(cell.strip() for cell in cells):
            rows.append((f"line {number}", dict(zip(header, cells, strict=True))))
    return header, rows


def _refuse_twins(file: Path, names: list[str], where: str = "") -> None:
    twice = [name for name, n in Counter(names).items() if n > 1 and name]
    if twice:
        raise LoraJaxError(f"{file}{where} has two columns named {twice[0]!r}: rename one.")


def _read_json_lines(file: Path, text: str) -> Rows:
    rows: Rows = []
    for line, part in enumerate(text.split("\n"), 1):
        if not part.strip():
            continue
        try:
            cells = parse_json(part, object_pairs_hook=_Pairs)
        except ValueError as problem:
            raise LoraJaxError(f"{file}, line {line}, is not JSON ({_said(problem)}): mend it.") from problem
        if not isinstance(cells, _Pairs):
            raise LoraJaxError(f"{file}, line {line}, is not a JSON object: give one object a line.")
        rows.append((f"line {line}", _cells(file, f"line {line}", cells)))
    return rows


def _read_json(file: Path, text: str) -> Rows:
    if not text.strip():
        return []
    try:
        content = parse_json(text, object_pairs_hook=_Pairs)
    except ValueError as problem:
        place = f"{file}, line {problem.lineno}," if isinstance(problem, json.JSONDecodeError) else str(file)
        raise LoraJaxError(
            f"{place} is not JSON ({_said(problem)}): mend it, or name it .jsonl where"
            " each line is an object."
        ) from problem
    if not isinstance(content, list) or not all(isinstance(item, _Pairs) for item in content):
        raise LoraJaxError(f"{file} is not a JSON list of objects, as a table is: give one object a row.")
    return [(f"row {i}", _cells(file, f"row {i}", item)) for i, item in enumerate(content, 1)]


def _said(problem: ValueError) -> str:
    return problem.msg if isinstance(problem, json.JSONDecodeError) else str(problem)


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
    names = [name.strip() for name in table.column_names]
    _refuse_twins(file, names)
    return [
        (f"row {i}", dict(zip(names, row.values(), strict=True)))
        for i, row in enumerate(table.to_pylist(), 1)
    ]


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as pairs, with every key as often as it is written.

    A dictionary would silently keep the last.
    """


def _cells(file: Path, place: str, row: _Pairs) -> dict[str, Any]:
    _refuse_twins(file, [name.strip() for name, _ in row], f", {place},")
    try:
        return {name.strip(): _plain(value) for name, value in row}
    except RecursionError:
        raise LoraJaxError(f"{file}, {place}, holds lists too deep in each other: flatten them.") from None


def _plain(value: Any) -> Any:
    """Return a cell with dictionaries in place of pairs."""
    if isinstance(value, _Pairs):
        return {name: _plain(inner) for name, inner in value}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
