"""Documents as tokens in the order in which they were read, kept part by part. A kill costs one part."""

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lora_jax.data.cache import explain_disk_errors
from lora_jax.digests import read_sealed, to_sealed_json
from lora_jax.files import write_atomically
from lora_jax.temporaries import locked

ENCODED = np.dtype([("n_tokens", np.int64), ("n_bytes", np.int64)])  # a document's tokens and bytes of text
KEPT_SECONDS = 7 * 24 * 3600.0  # a later process continues what a killed one left, until this time has passed
READ_BYTES = 1 << 20


@contextlib.contextmanager
def spool_folder(cache: Path, key: str) -> Generator[Path]:
    """Yield the folder of the spools of the store `key`. It is removed if the block ends well.

    If another process works on the same store, that process holds the folder, and this one gets a folder of
    its own.
    """
    parent = cache / "spools"
    with explain_disk_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        _remove_old(parent)
        folder = parent / key
        folder.mkdir(exist_ok=True)
    with locked(folder) as is_ours:
        if is_ours:
            yield folder
            shutil.rmtree(folder, ignore_errors=True)
            return
        with tempfile.TemporaryDirectory(dir=parent) as own:
            yield Path(own)


def _remove_old(parent: Path) -> None:
    """Remove folders that no process has continued for a long time."""
    for folder in parent.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > KEPT_SECONDS:
                with locked(folder) as is_ours:
                    if is_ours:
                        shutil.rmtree(folder, ignore_errors=True)


class Spool:
    """The tokens of one source. Two files grow, and a third says which parts are whole."""

    def __init__(self, folder: Path, dtype: np.dtype) -> None:
        """Open a spool at the end of its last whole part. What differs from what was written is made again.

        Args:
            folder: Where its files are.
            dtype: Type of the token ids.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._dtype = dtype
        self._state = folder / "parts.json"
        self._files = [open(folder / name, "a+b") for name in ("tokens", "documents")]  # noqa: SIM115
        known = read_sealed(self._state)
        self._parts = self._check(known["parts"]) if known and known["dtype"] == dtype.name else []
        for number, file in enumerate(self._files):
            file.truncate(self._parts[-1]["ends"][number] if self._parts else 0)
        self._hashes = [hashlib.sha256() for _ in self._files]

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    @property
    def n_documents(self) -> int:
        """Number of documents in whole parts."""
        return self._parts[-1]["ends"][1] // ENCODED.itemsize if self._parts else 0

    def write(self, ids: Sequence[np.ndarray], n_bytes: Sequence[int] | np.ndarray | None) -> None:
        """Add documents.

        Args:
            ids: The tokens of each.
            n_bytes: Bytes of the text of each. None if the text is not known.
        """
        encoded = np.zeros(len(ids), ENCODED)
        encoded["n_tokens"] = [len(one) for one in ids]
        if n_bytes is not None:
            encoded["n_bytes"] = n_bytes
        tokens = b"".join(one.astype(self._dtype, copy=False).tobytes() for one in ids)
        for content, file, sha256 in zip((tokens, encoded.tobytes()), self._files, self._hashes, strict=True):
            file.write(content)
            sha256.update(content)

    def end_part(self) -> None:
        """Write what was added to the disk, so that no kill can undo it."""
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
        ends = [os.fstat(file.fileno()).st_size for file in self._files]
        self._parts.append({"ends": ends, "hashes": [sha256.hexdigest() for sha256 in self._hashes]})
        write_atomically(self._state, to_sealed_json({"dtype": self._dtype.name, "parts": self._parts}))
        self._hashes = [hashlib.sha256() for _ in self._files]

    def read_documents(self) -> np.ndarray:
        """Return the ENCODED record of every document, in the order in which they were added."""
        content = os.pread(self._files[1].fileno(), self.n_documents * ENCODED.itemsize, 0)
        return np.frombuffer(content, ENCODED)

    def read_tokens(self, start: int, n_tokens: int) -> bytes:
        """Return some tokens as bytes.

        We use no memory map, whose pages would count as this process's memory.
        """
        size = self._dtype.itemsize
        return os.pread(self._files[0].fileno(), n_tokens * size, start * size)

    def _check(self, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the parts before the first one that differs from what was written."""
        starts = [0, 0]
        for number, part in enumerate(parts):
            found = [
                hash_range(file, start, end)
                for file, start, end in zip(self._files, starts, part["ends"], strict=True)
            ]
            if found != part["hashes"]:
                return parts[:number]
            starts = part["ends"]
        return parts


def hash_range(file: BinaryIO, start: int, end: int) -> str:
    """Return the SHA-256 of the bytes from `start` to `end`."""
    sha256 = hashlib.sha256()
    while start < end and (content := os.pread(file.fileno(), min(READ_BYTES, end - start), start)):
        sha256.update(content)
        start += len(content)
    return sha256.hexdigest()
