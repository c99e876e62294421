"""Which reader reads a file. Only this place decides it, by the file's suffix."""

from collections.abc import Sequence
from pathlib import Path

from lora_jax.data.documents import Documents
from lora_jax.data.readers.json_lines import JsonLines
from lora_jax.data.readers.packed import PACKINGS, kind_of
from lora_jax.data.readers.tables import ArrowTable, ParquetTable
from lora_jax.data.readers.text import TextFile
from lora_jax.errors import LoraJaxError

ROWS = {  # files in which each row is a document
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".parquet": ParquetTable,
    ".pq": ParquetTable,
    ".arrow": ArrowTable,
    ".feather": ArrowTable,
}
TOKENS = "a file of tokens"
OTHERS = {  # files that may hold texts but are no text
    **dict.fromkeys((".json", ".ipynb"), "JSON"),
    **dict.fromkeys((".csv", ".tsv", ".xlsx"), "a table"),
    **dict.fromkeys((".bz2", ".xz", ".zip", ".tar", ".tgz", ".7z"), "a packed file"),
    **dict.fromkeys((".bin", ".idx"), TOKENS),
    **dict.fromkeys((".npy", ".npz", ".pt", ".pkl", ".h5"), "a file of numbers"),
    **dict.fromkeys((".safetensors", ".tfrecord", ".array_record"), "a file of records"),
    **dict.fromkeys((".pdf", ".docx", ".doc", ".odt", ".epub"), "a document of a word processor"),
}


def open_file(path: Path, text_field: str) -> Documents:
    """Return the documents of a file that `check_kinds` has accepted."""
    reader = ROWS.get(kind_of(path))
    return TextFile(path) if reader is None else reader(path, text_field)


def holds_rows(path: Path) -> bool:
    """Does a file hold a document in each row, with its text in one field?"""
    return kind_of(path) in ROWS


def check_kinds(paths: Sequence[Path]) -> None:
    """Refuse files that no reader reads, and plain texts beside files of rows, which are mostly about them.

    A model would learn the braces of JSON.

    Raises:
        LoraJaxError: There is such a file.
    """
    for path in paths:
        kind = OTHERS.get(kind_of(path))
        if (
            kind is None
            and path.suffix.lower() in PACKINGS
            and ROWS.get(kind_of(path), JsonLines) != JsonLines
        ):
            kind = "a packed table, which packs its columns itself"
        if kind == TOKENS:
            raise LoraJaxError(
                f"data.sources matches {path}, which is {kind}, not a text: name files of tokens with"
                " 'tokens:' in place of 'files:', or narrow the pattern."
            )
        if kind is not None:
            raise LoraJaxError(
                f"data.sources matches {path}, which is {kind}, not a text: write its texts to .jsonl or"
                " .parquet, a row each, or to files of plain text, or narrow the pattern."
            )
    rows = [path for path in paths if holds_rows(path)]
    texts = [path for path in paths if not holds_rows(path)]
    if rows and texts:
        raise LoraJaxError(
            f"data.sources matches {len(rows)} files of rows, such as {rows[0]}, and {len(texts)} of plain"
            f" text, such as {texts[0]}: narrow the pattern to those of one kind."
        )
