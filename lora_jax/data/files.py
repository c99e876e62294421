"""Local files of documents: which ones a source names, and one hash of what they hold."""

import glob
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lora_jax.config import SourceConfig, digest
from lora_jax.data.cache import write_text
from lora_jax.data.readers.kinds import check_kinds, holds_rows
from lora_jax.data.readers.saved_dataset import is_saved_dataset, list_arrow_files
from lora_jax.digests import hash_file, read_sealed, to_sealed_json
from lora_jax.errors import LoraJaxError

# A file that changes twice within a tick of the clock may keep its size and time. So fresher files are read
# again.
SETTLED_SECONDS = 2.0
THREADS = 4  # threads that hash, because hashing releases the interpreter


def find_files(source: SourceConfig, kind: str) -> list[Path]:
    """Return the files that "KIND:PATTERN" names, sorted: a glob's matches, or all files below a folder.

    Hidden files, and folders among a glob's matches, are left out.

    Raises:
        LoraJaxError: No file matches, or a split is given for files that have none.
    """
    pattern = source.name.removeprefix(f"{kind}:")
    start = os.path.expanduser(pattern)
    if os.path.isdir(start) and is_saved_dataset(Path(start)):
        return list_arrow_files(Path(start), source.split)
    if source.split != SourceConfig.split:
        raise LoraJaxError(
            f"data.sources has split {source.split!r} for {source.name!r}, and files have no splits: narrow"
            " the pattern to the files of that split, and leave split out."
        )
    if os.path.isdir(start):
        start = os.path.join(glob.escape(start), "**", "*")
    paths = sorted(Path(m) for m in glob.glob(start, recursive=True) if not os.path.isdir(m))
    if not paths:
        raise LoraJaxError(
            f"data.sources names '{kind}:{pattern}', which matches no file from {Path.cwd()}:"
            " correct the pattern or write an absolute one."
        )
    return paths


def find_documents(source: SourceConfig) -> list[Path]:
    """Return the files of a source "files:PATTERN".

    Raises:
        LoraJaxError: No file matches, or one is of a kind that we do not read.
    """
    paths = find_files(source, "files")
    check_kinds(paths)
    return paths


def identify_files(paths: list[Path], source: SourceConfig, cache: Path) -> str:
    """Return the hash of the files' contents, whatever their names are.

    Token files are hashed in the order of their names. Reading gigabytes at every start would be slow. So we
    remember the hash together with the files' sizes and times, as git does.

    Raises:
        LoraJaxError: A file cannot be read.
    """
    try:
        stats = _stat(paths)
    except OSError as error:
        raise _unreadable(error) from error
    about = [str(Path.cwd()), source.name, source.text_field, source.split]
    index = cache / "files" / f"{digest(about, length=32)}.json"
    known = read_sealed(index)  # if it is missing, damaged or of an older version, the files are read again
    if known is not None and known["files"] == stats:
        return known["identity"]
    contents = _hash_contents(paths, source.text_field)
    # Documents are ordered by their hashes. Running tokens are in the order of their files.
    identity = digest(contents if any(map(_holds_tokens, paths)) else sorted(contents), length=32)
    newest = max(mtime for *_, mtime in stats) / 1e9
    if time.time() - newest > SETTLED_SECONDS:
        write_text(index, to_sealed_json({"files": stats, "identity": identity}))
    return identity


def _stat(paths: list[Path]) -> list[list[Any]]:
    """Return for each file its folder, name, inode, size and time."""
    folders = {folder: os.path.realpath(folder) for folder in {path.parent for path in paths}}
    found = [(path, path.stat()) for path in paths]
    for path, one in found:
        if not stat.S_ISREG(one.st_mode):
            raise LoraJaxError(
                f"data.sources matches {path}, which is a pipe or a device, no file: narrow the pattern."
            )
    return [
        [folders[path.parent], path.name, one.st_ino, one.st_size, one.st_mtime_ns] for path, one in found
    ]


def _hash_contents(paths: list[Path], text_field: str) -> list[str]:
    """Return for each file the hash of its content, with a mark of how it is read."""
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            hashes = list(pool.map(hash_file, paths))
    except OSError as error:
        raise _unreadable(error) from error
    marks = [text_field if holds_rows(path) else "tokens" if _holds_tokens(path) else "" for path in paths]
    return [f"{found} {mark}".strip() for found, mark in zip(hashes, marks, strict=True)]


def _holds_tokens(path: Path) -> bool:
    return path.suffix.lower() in (".bin", ".idx")


def _unreadable(error: OSError) -> LoraJaxError:
    return LoraJaxError(
        f"The text file {error.filename} cannot be read ({error.strerror}): mend it or leave it out of"
        " data.sources."
    )
