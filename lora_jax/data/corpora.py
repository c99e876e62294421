"""Sources of documents: the embedded corpus, tensorflow-datasets, local files."""

import glob
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from lora_jax.config import SourceConfig, digest
from lora_jax.data import tfds
from lora_jax.data.cache import write_text
from lora_jax.errors import LoraJaxError, nearest

KINDS = ("sotu", "tfds:NAME", "files:GLOB")
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


def find_files(pattern: str) -> list[Path]:
    """Return the files that match, sorted; folders among the matches are passed over."""
    matches = glob.glob(os.path.expanduser(pattern), recursive=True)
    paths = sorted(Path(m) for m in matches if not os.path.isdir(m))
    if not paths:
        raise LoraJaxError(
            f"data.sources names 'files:{pattern}', which matches no file from {Path.cwd()}:"
            " correct the pattern or write an absolute one."
        )
    return paths


def read_document(path: Path) -> str:
    """Return the text of a file; LoraJaxError when it is unreadable, empty or not UTF-8."""
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
    return text


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
    known = _read_index(index)
    if known is not None and known["files"] == stats:
        return known["identity"]
    contents = sorted(hashlib.sha256(read_document(p).encode()).hexdigest() for p in paths)
    identity = digest(contents, length=32)
    newest = max(mtime for _, _, mtime in stats) / 1e9
    if time.time() - newest > SETTLED_SECONDS:
        write_text(index, json.dumps({"files": stats, "identity": identity}))
    return identity


def _read_index(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):  # unknown, or damaged: the files are read again
        return None


class FileDocuments:
    """Text files as documents."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, rows: Sequence[int]) -> list[str]:
        return [read_document(self._paths[row]) for row in rows]
