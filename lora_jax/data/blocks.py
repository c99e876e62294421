"""A memory-mapped file. Each of its blocks is compared with its hash when it is first read.

So a store of any size opens at once, and we never train on a token that differs from the one written.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lora_jax.errors import LoraJaxError

# Reading a window at random touches one or two blocks. Hashing 4 KiB takes 3 us. The hashes of 10 GB take 20
# MB.
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
    """The content of a file as an array of `dtype`, mapped into memory."""

    def __init__(
        self, path: Path, dtype: np.dtype, hashes: np.ndarray, renew: Callable[[Path], None]
    ) -> None:
        """Map a file.

        Args:
            path: The file.
            dtype: Type of its items.
            hashes: The hashes of its blocks.
            renew: Called if a block differs. It writes the file again with the content of the hashes, or
                raises LoraJaxError.
        """
        self._path, self._dtype, self._hashes, self._renew = path, dtype, hashes, renew
        self._unread = np.ones(len(hashes), bool)
        self._any_unread = True
        self._map()

    def __len__(self) -> int:
        return len(self._array)

    def take(self, index: np.ndarray) -> np.ndarray:
        """Return the items at integer places of any shape. The size of an item must divide a block.

        Raises:
            LoraJaxError: A block is damaged and cannot be made again.
        """
        if self._any_unread:
            blocks = index // (BLOCK_BYTES // self._dtype.itemsize)
            unread = self._unread[blocks]
            if unread.any():
                self._check(np.unique(blocks[unread]))
        return self._array[index]

    def read_all(self) -> np.ndarray:
        """Return the whole array, after checking all of it."""
        if self._any_unread:
            self._check(np.flatnonzero(self._unread))
        return self._array

    def _map(self) -> None:
        # We use a plain array, because indexing the memmap class itself costs three times as much. An empty
        # file, which is a side without documents, cannot be mapped.
        is_empty = not self._path.stat().st_size
        mapped = np.empty(0, self._dtype) if is_empty else np.memmap(self._path, self._dtype, mode="r")
        self._array = np.asarray(mapped)
        self._bytes = self._array.view(np.uint8).data

    def _check(self, blocks: np.ndarray) -> None:
        """Compare blocks (n,) that are read for the first time. If one is damaged, make the file again."""
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
