"""A memory-mapped file whose blocks are compared with their hashes when they are first read.

So a store of any size opens at once, and no token is trained on that is not the one that was written.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lora_jax.errors import LoraJaxError

# A window that is read at random brings one or two blocks with it: hashing 4 KiB takes 3 us, and the hashes
# of 10 GB take 20 MB.
BLOCK_BYTES = 4096
HASH = np.dtype("<u8")  # the first eight bytes of a block's SHA-256


def hash_blocks(path: Path) -> np.ndarray:
    """Return the hash of every block of a file, (n_blocks,)."""
    hashes = bytearray()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            hashes += hashlib.sha256(block).digest()[: HASH.itemsize]
    return np.frombuffer(bytes(hashes), HASH)


class CheckedArray:
    """The content of a file as an array of `dtype`, mapped into memory.

    hashes: of its blocks. renew: writes the file anew, with the content that the hashes are of, or raises
    LoraJaxError; it is called when a block is found that is another.
    """

    def __init__(
        self, path: Path, dtype: np.dtype, hashes: np.ndarray, renew: Callable[[Path], None]
    ) -> None:
        self._path, self._dtype, self._hashes, self._renew = path, dtype, hashes, renew
        self._unread = np.ones(len(hashes), bool)
        self._any_unread = True
        self._map()

    def __len__(self) -> int:
        return len(self._array)

    def take(self, index: np.ndarray) -> np.ndarray:
        """Return the items at integer places, of any shape; their type must divide a block."""
        if self._any_unread:
            blocks = index // (BLOCK_BYTES // self._dtype.itemsize)
            unread = self._unread[blocks]
            if unread.any():
                self._check(np.unique(blocks[unread]))
        return self._array[index]

    def read_all(self) -> np.ndarray:
        """Return the whole array, all of it checked."""
        if self._any_unread:
            self._check(np.flatnonzero(self._unread))
        return self._array

    def _map(self) -> None:
        # A plain array: indexing the memmap class itself costs three times as much.
        # An empty file, a side without documents, cannot be mapped.
        is_empty = not self._path.stat().st_size
        mapped = np.empty(0, self._dtype) if is_empty else np.memmap(self._path, self._dtype, mode="r")
        self._array = np.asarray(mapped)
        self._bytes = self._array.view(np.uint8).data

    def _check(self, blocks: np.ndarray) -> None:
        """Compare blocks (n,) that are read for the first time; make the file again where one is damaged."""
        if not self._agree(blocks):
            self._renew(self._path)
            self._map()
            self._unread[:] = True
            if not self._agree(blocks):
                raise LoraJaxError(
                    f"{self._path} was damaged and is another after it was made again, so its text has"
                    " changed or its disk is failing: run the same command again, with LORA_JAX_CACHE on"
                    " another disk if it fails again."
                )
        self._unread[blocks] = False
        self._any_unread = bool(self._unread.any())

    def _agree(self, blocks: np.ndarray) -> bool:
        sha256, size, content = hashlib.sha256, HASH.itemsize, self._bytes
        found = b"".join(
            sha256(content[start : start + BLOCK_BYTES]).digest()[:size]
            for start in (blocks * BLOCK_BYTES).tolist()
        )
        return found == self._hashes[blocks].tobytes()
