"""Few shapes for many lengths, so that we compile few programs."""

from collections.abc import Sequence

import numpy as np

Tokens = Sequence[int] | np.ndarray

CHUNK = 256  # tokens of a row that one call reads; longer texts take several calls
LENGTHS = (1, 4, 8, 16, 32, 48, 64, 96, 128, 192, CHUNK)
SLOTS = 64  # the length of a cache is a multiple of this, and from 512 on of four times this


def bucket_length(n: int) -> int:
    """Return how many positions a row of n tokens gets: whole chunks, and one of LENGTHS for the rest."""
    chunks, rest = divmod(n, CHUNK)
    return chunks * CHUNK + next((length for length in LENGTHS if rest <= length), 0) * (rest > 0)


def bucket_slots(n: int) -> int:
    """Return how many slots a cache for n tokens has."""
    step = SLOTS if n <= 8 * SLOTS else 4 * SLOTS
    return -(-n // step) * step


def bucket_rows(n: int, most: int) -> int:
    """Return how many rows a batch of n rows gets: the next power of two, at most `most`."""
    return min(most, 1 << (n - 1).bit_length())


def pad_in_front(rows: Sequence[Tokens], n_rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens and whether they are real, both (n_rows, length). Each row stands at the right end."""
    tokens_BT, real_BT = np.zeros((n_rows, length), np.int32), np.zeros((n_rows, length), bool)
    for line, row in enumerate(rows):
        if len(row):
            tokens_BT[line, length - len(row) :] = row
            real_BT[line, length - len(row) :] = True
    return tokens_BT, real_BT


def pad_behind(rows: Sequence[Tokens], n_rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens and whether they are real, both (n_rows, length). Each row stands at the left end."""
    tokens_BT, real_BT = np.zeros((n_rows, length), np.int32), np.zeros((n_rows, length), bool)
    for line, row in enumerate(rows):
        tokens_BT[line, : len(row)] = row
        real_BT[line, : len(row)] = True
    return tokens_BT, real_BT
