"""Digests that files carry. They show damage on a disk when a file is read, and we report it in a sentence.

A JSON document of ours holds the SHA-256 of itself, in its field `digest`. A folder of ours holds the SHA-256
of each of its files, in `digests.json`. Both are optional when we read. Older versions wrote none, and we
accept their files as they are.
"""

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from lora_jax.errors import Damaged, LoraJaxError
from lora_jax.files import load_json, to_finite, write_atomically

FIELD = "digest"
MANIFEST = "digests.json"  # holds the digests of a folder
_unsealed: ContextVar[list[Path] | None] = ContextVar("unsealed", default=None)  # files read without a digest
THREADS = 8  # hashing releases the interpreter lock
BLOCK = 1 << 16  # bytes read at a time: most of our files are smaller


def digest_json(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a document's content without its digest. Order and white space do not matter."""
    return _digest_read(json.loads(json.dumps(_without_digest(document))))


def _digest_read(content: Mapping[str, Any]) -> str:
    """Return the digest of content that came from JSON, which a round trip through JSON does not change."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _without_digest(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != FIELD}


def to_sealed_json(document: Mapping[str, Any]) -> str:
    """Return a document as indented JSON with its digest as the last field.

    A number that is not finite is null.
    """
    rest = json.loads(json.dumps(to_finite(_without_digest(document)), allow_nan=False))
    return json.dumps(rest | {FIELD: _digest_read(rest)}, indent=1) + "\n"


def unseal(document: Mapping[str, Any], path: Path, remedy: str) -> dict[str, Any]:
    """Check a JSON document that was read from `path` against its digest, and return it without the digest.

    Args:
        document: The document. Without a digest, there is nothing to check.
        path: The file, for the message.
        remedy: What to do about damage, for the message.

    Raises:
        Damaged: The content is not what was written.
    """
    rest = _without_digest(document)
    if FIELD in document and document[FIELD] != _digest_read(rest):
        raise Damaged(f"{path} is damaged or was edited, its digest is not that of its content: {remedy}.")
    return rest


def read_object(path: Path, remedy: str, if_missing: str | None = None) -> dict[str, Any]:
    """Read a JSON object of ours, and check it against its digest if it has one.

    Args:
        path: The file.
        remedy: What to do if it cannot be read, for the message.
        if_missing: What to do if it is missing. None takes `remedy`.

    Raises:
        LoraJaxError: The file is missing, cannot be read, or is no JSON object.
        Damaged: The content is not what was written.
    """
    try:
        document = load_json(path)
    except FileNotFoundError:
        raise LoraJaxError(f"{path} is missing: {if_missing or remedy}.") from None
    except (OSError, ValueError) as error:
        raise LoraJaxError(f"{path} cannot be read ({error}): {remedy}.") from error
    if not isinstance(document, dict):
        raise LoraJaxError(f"{path} holds a {type(document).__name__}, but it must be an object: {remedy}.")
    noted = _unsealed.get()
    if FIELD not in document and noted is not None:
        noted.append(path)
    try:
        return unseal(document, path, remedy)
    except RecursionError:
        raise LoraJaxError(f"{path} cannot be read (it is nested too deep): {remedy}.") from None


def read_result(path: Path) -> dict[str, Any]:
    """Read a JSON object of a results folder.

    Raises:
        LoraJaxError: As `read_object` raises it.
    """
    return read_object(path, "restore or delete it, then run again")


@contextmanager
def doubting(remedy: str) -> Generator[None]:
    """Blame an exception inside the block on files without a digest, if such files were read there.

    A file with a digest is as it was written, so an exception is a bug of ours. A file without one may hold
    anything: an older version's document, or another one of the same name.

    Args:
        remedy: What to do, for the message.

    Raises:
        LoraJaxError: An exception came while such files were read. The message names them.
    """
    unsealed: list[Path] = []
    token = _unsealed.set(unsealed)
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        if not unsealed:
            raise
        shown = ", ".join(map(str, unsealed[:2])) + (f" or {len(unsealed) - 2} more" * (len(unsealed) > 2))
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise LoraJaxError(
            f"{shown} without a digest is not what this version writes there ({told}): {remedy}."
        ) from error
    finally:
        _unsealed.reset(token)


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Return a JSON object of ours that must carry a digest. None if it is missing or not whole."""
    try:
        document = load_json(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(document, dict):
        return None
    rest = _without_digest(document)
    return rest if document.get(FIELD) == _digest_read(rest) else None


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def hash_text(text: str) -> str:
    """Return the SHA-256 of a file that holds this text."""
    return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(folder: Path, manifest: Path | None = None, besides: Iterable[str] = ()) -> None:
    """Write the digests of all files of a folder. A killed process leaves a whole manifest or none.

    Args:
        folder: The folder.
        manifest: Where to write them. None writes them into the folder.
        besides: Names of files that may change without harm.
    """
    manifest = manifest or folder / MANIFEST
    left_out = {MANIFEST, *besides}
    names = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name not in left_out
    )
    write_atomically(manifest, to_sealed_json({"files": _hash_all(folder, names)}))


def find_damage(folder: Path, manifest: Path | None = None, only: Iterable[str] | None = None) -> Path | None:
    """Return the first file of a folder that is not what its manifest says. None if all are.

    Without a manifest we know nothing, so nothing is damaged. If the manifest itself is damaged, we return
    it.

    Args:
        folder: The folder.
        manifest: Where its digests are. None looks in the folder.
        only: Names of the files to compare. None compares all.
    """
    manifest = manifest or folder / MANIFEST
    if not manifest.is_file():
        return None
    known = read_sealed(manifest)
    if known is None:
        return manifest
    chosen = known["files"] if only is None else set(only)
    wanted = {name: found for name, found in known["files"].items() if name in chosen}
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        return folder / missing[0]
    found = _hash_all(folder, wanted)
    return next((folder / name for name in wanted if found[name] != wanted[name]), None)


def _hash_all(folder: Path, names: Iterable[str]) -> dict[str, str]:
    listed = list(names)
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(listed, pool.map(hash_file, [folder / name for name in listed]), strict=True))
