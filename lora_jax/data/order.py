"""Which window is sample i. Mixing and shuffling are arithmetic, with no state and no table.

We measured grain's MapDataset for this (0.2.18, two CPU cores, a batch of 16 windows of 128). It took 0.2 ms
for one source and 0.3 to 1.2 ms for a mixture of three, before any token is read. Ours takes 0.2 and 0.3 ms
with the batch built. Two other things decided. It shuffles epoch e of seed s with the key s + e, so runs of
neighbouring seeds repeat each other's order. And importing it imports jax. A NumPy permutation would need 8
bytes for each window in each epoch. NumPy does not promise that it stays the same between versions. Integer
arithmetic stays the same.
"""

import functools
import hashlib

import numpy as np

# Weights become integers with this sum, so that counting is exact for up to 2**39 samples.
SHARE_UNITS = 2**24
ROUNDS = 6
ONE = np.uint64(1)
SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # splitmix64's multipliers


def share_units(weights: list[float]) -> list[int]:
    """Return the weights as integers that sum to about SHARE_UNITS, each at least 1."""
    total = sum(weights)
    return [max(1, round(w / total * SHARE_UNITS)) for w in weights]


def count_draws(n_samples: np.ndarray, units: list[int]) -> np.ndarray:
    """Return how many of the first `n_samples` (B,) come from each source, (B, S).

    Each source takes its share, rounded down, of what the sources before it left. No source is ever further
    from its share than one sequence for each other source. Each sample adds exactly one draw.
    """
    left = np.asarray(n_samples, np.int64)
    left_units = sum(units)
    counts = []
    for u in units:
        after = left * (left_units - u) // left_units
        counts.append(left - after)
        left, left_units = after, left_units - u
    return np.stack(counts, axis=-1)


@functools.lru_cache(maxsize=4096)
def order_key(*parts: int) -> np.ndarray:
    """Return the keys of a shuffle, uint64 (ROUNDS,). Integers name it: seed, source, epoch."""
    digest = hashlib.blake2b(repr(tuple(int(p) for p in parts)).encode(), digest_size=8 * ROUNDS).digest()
    return np.frombuffer(digest, np.dtype("<u8")).astype(np.uint64)


def permute(index_B: np.ndarray, n_B: np.ndarray | int, keys_BR: np.ndarray) -> np.ndarray:
    """Return where shuffles of range(n) send each index.

    It is a Feistel network over the smallest even number of bits that holds n. It is applied again to values
    that land outside (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").

    Args:
        index_B: The indices (B,).
        n_B: The n of each index (B,), or one n for all.
        keys_BR: The keys of each index's shuffle (B, ROUNDS), or one row for all.

    Returns:
        The new places (B,), int64.
    """
    n = np.asarray(n_B, np.uint64)
    half = np.maximum(1, (np.frexp((n - ONE).astype(np.float64))[1] + 1) // 2).astype(np.uint64)
    mask = (ONE << half) - ONE
    keys = np.moveaxis(keys_BR, -1, 0)
    values = _encipher(np.asarray(index_B, np.uint64), half, mask, keys)
    while (outside := values >= n).any():
        values = np.where(outside, _encipher(values, half, mask, keys), values)
    return values.astype(np.int64)


def _encipher(values: np.ndarray, half: np.ndarray, mask: np.ndarray, keys: np.ndarray) -> np.ndarray:
    left, right = values >> half, values & mask
    for key in keys:
        left, right = right, left ^ (_scramble(right ^ key) & mask)
    return left << half | right


def _scramble(values: np.ndarray) -> np.ndarray:
    """Mix all 64 bits with the finaliser of splitmix64 (Steele et al. 2014)."""
    values = (values ^ (values >> SHIFTS[0])) * MIX[0]
    values = (values ^ (values >> SHIFTS[1])) * MIX[1]
    return values ^ (values >> SHIFTS[2])
