"""Sources of documents: the embedded corpus, tensorflow-datasets, local files."""

import glob
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from lora_jax.config import SourceConfig, digest
from lora_jax.data import tfds
from lora_jax.data.cache import write_text
from lora_jax.digests import read_sealed, to_sealed_json
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.files import parse_json

KINDS = ("sotu", "tfds:NAME", "files:GLOB")
CONTAINERS = {  # by suffix: what holds texts, and is none
    **dict.fromkeys((".json", ".jsonl", ".ndjson", ".ipynb"), "JSON"),
    **dict.fromkeys((".csv", ".tsv", ".parquet", ".pq", ".arrow", ".feather", ".xlsx"), "a table"),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz", ".7z"), "a packed file"),
    **dict.fromkeys((".bin", ".idx", ".npy", ".npz", ".pt", ".pkl", ".h5"), "a file of numbers"),
    **dict.fromkeys((".safetensors", ".tfrecord", ".array_record"), "a file of records"),
    **dict.fromkeys((".pdf", ".docx", ".doc", ".odt", ".epub"), "a document of a word processor"),
}
JSON_HEAD, SNIFFED = 100_000, 20  # characters and lines that show whether a text is JSON lines
# A file changed twice within the clock's tick keeps its size and time: fresher files are read again.
SETTLED_SECONDS = 2.0


class Documents(Protocol):
    """Texts by row, read when asked for."""

    def __len__(self) -> int: ...
    def read(self, rows: Sequence[int]) -> list[str]: ...


@dataclass(frozen=True)
class Corpus:
    """The documents of one source; `identity` names their content, so equal identities mean equal text."""

    name: str
    identity: str
    open: Callable[[], Documents]  # reads nothing before it is called


def open_corpus(source: SourceConfig, cache: Path, say: Callable[[str], None]) -> Corpus:
    """Return the corpus of a source, prepared and identified but not read when it is known already.

    Raises:
        LoraJaxError: an unknown source, a missing package, no network, no matching file, an unreadable one.
    """
    kind, _, rest = source.name.partition(":")
    if source.name == "sotu" or (kind == "tfds" and rest):
        name = tfds.parse_name(rest or source.name)
        prepared = tfds.prepare_set(name, tfds.find_data_dir(cache), say)
        identity = tfds.identify(prepared, source.split, source.text_field)
        return Corpus(
            source.name, identity, partial(tfds.SetDocuments, prepared, source.split, source.text_field)
        )
    if kind == "files" and rest:
        paths = find_files(rest)
        return Corpus(source.name, identify_files(paths, rest, cache), partial(FileDocuments, paths))
    raise LoraJaxError(
        f"data.sources names {source.name!r}{nearest(source.name, KINDS)}: wanted is 'sotu', 'tfds:NAME' for"
        " a set of tensorflow-datasets, or 'files:GLOB' for local text files."
    )


def needs_download(source: SourceConfig, cache: Path) -> bool:
    """Would opening the source download it? Raises LoraJaxError where it could not be had."""
    kind, _, rest = source.name.partition(":")
    return (
        kind == "tfds" and bool(rest)
        and not tfds.check_available(tfds.parse_name(rest), tfds.find_data_dir(cache))
    )  # fmt: skip


def find_files(pattern: str) -> list[Path]:
    """Return the files that match, sorted; folders among the matches are passed over."""
    matches = glob.glob(os.path.expanduser(pattern), recursive=True)
    paths = sorted(Path(m) for m in matches if not os.path.isdir(m))
    for path in paths:
        _refuse_other_than_text(path)
    if not paths:
        raise LoraJaxError(
            f"data.sources names 'files:{pattern}', which matches no file from {Path.cwd()}:"
            " correct the pattern or write an absolute one."
        )
    return paths


def _refuse_other_than_text(path: Path) -> None:
    """Refuse a file whose name says that it holds texts and is none: a model would learn its braces."""
    kind = CONTAINERS.get(path.suffix.lower())
    if kind is not None:
        raise LoraJaxError(
            f"data.sources matches {path}, which is {kind}, not a text: write its texts to files of plain"
            " text, such as .txt, one a document, or narrow the pattern."
        )


def read_document(path: Path) -> str:
    """Return the text of a file; LoraJaxError when it is unreadable, empty, not UTF-8 or JSON lines."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise LoraJaxError(
            f"The text file {path} cannot be read ({error.strerror}): mend it or leave it out of"
            " data.sources."
        ) from error
    except UnicodeDecodeError as error:
        raise LoraJaxError(
            f"The text file {path} is not UTF-8 ({error.reason} at byte {error.start}): convert it or leave"
            " it out of data.sources."
        ) from error
    if not text.strip():
        raise LoraJaxError(f"The text file {path} is empty: fill it or leave it out of data.sources.")
    if _is_json_lines(text):
        raise LoraJaxError(
            f"The text file {path} holds JSON lines with a text in each, and a model would learn their"
            " braces: write the texts to files of plain text, one a document."
        )
    return text


def _is_json_lines(text: str) -> bool:
    """Return whether the first lines are JSON objects that have a text."""
    lines = [line for line in text[:JSON_HEAD].split("\n") if line.strip()]
    if len(text) > JSON_HEAD:
        lines = lines[:-1]  # it may be cut
    try:
        rows = [parse_json(line) for line in lines[:SNIFFED]]
    except ValueError:
        return False
    return bool(rows) and all(isinstance(row, dict) and isinstance(row.get("text"), str) for row in rows)


def identify_files(paths: list[Path], pattern: str, cache: Path) -> str:
    """Return the hash of the files' contents, whatever their names.

    Reading gigabytes at every start would be slow, so the hash is remembered beside the files' sizes and
    times, the way git remembers its own.
    """
    try:
        stats = [[str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns] for p in paths]
    except OSError as error:
        raise LoraJaxError(
            f"The text file {error.filename} cannot be read ({error.strerror}): mend it or leave it out of"
            " data.sources."
        ) from error
    index = cache / "files" / f"{digest([str(Path.cwd()), pattern], length=32)}.json"
    known = read_sealed(index)  # unknown, damaged, or of an older version: the files are read again
    if known is not None and known["files"] == stats:
        return known["identity"]
    contents = sorted(hashlib.sha256(read_document(p).encode()).hexdigest() for p in paths)
    identity = digest(contents, length=32)
    newest = max(mtime for _, _, mtime in stats) / 1e9
    if time.time() - newest > SETTLED_SECONDS:
        write_text(index, to_sealed_json({"files": stats, "identity": identity}))
    return identity


class FileDocuments:
    """Text files as documents."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, rows: Sequence[int]) -> list[str]:
        return [read_document(self._paths[row]) for row in rows]
