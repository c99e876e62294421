"""Encoded rows to batches of fixed shapes. Rows go into buckets by length, or several are packed into one.

An epoch is a plan: arrays of row numbers. The arrays of a batch are made when it is asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lora_jax.data.order import order_key, permute
from lora_jax.data.tasks.encoding import Encoded
from lora_jax.data.tasks.packing import pack
from lora_jax.errors import LoraJaxError

# There are few lengths, because each is one compiled program. Then 38 % of SST-2's positions are padding.
# With 8, 24 and 48 as well it would be 22 % (MiniLM's tokens, batches of 16). But compiling them takes longer
# than a short run saves.
BUCKET_LENGTHS = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
ROWS, LINES, BATCHES = 0, 1, 2  # names of the shuffles of an epoch


class Batch(NamedTuple):
    """The arrays of one batch. All have fixed shapes (B, T), with one T for each bucket.

    Attributes:
        tokens_BT: Token ids, int32.
        segments_BT: 0 is padding, 1 the row's first example, 2 the next packed one and so on, int32.
        positions_BT: Positions, counted from 0 in every segment, int32.
        types_BT: Token types, int32.
        targets_BT: The next token of the segment, int32. 0 if its weight is 0.
        weights_BT: 1 if the target belongs to a completion or its end, otherwise 0, float32.
        labels_B: Labels, int32. 0 for a task without labels, and if the example weight is 0.
        example_weights_B: 0 for rows that only fill the batch, otherwise 1, float32.
    """

    tokens_BT: np.ndarray
    segments_BT: np.ndarray
    positions_BT: np.ndarray
    types_BT: np.ndarray
    targets_BT: np.ndarray
    weights_BT: np.ndarray
    labels_B: np.ndarray
    example_weights_B: np.ndarray


class Members(NamedTuple):
    """Which encoded rows a batch holds and where. Each array has one entry for each row, int64 (N,).

    Attributes:
        row_N: Index into the Encoded.
        line_N: Index along B.
        segment_N: Its number in segments_BT.
    """

    row_N: np.ndarray
    line_N: np.ndarray
    segment_N: np.ndarray


@dataclass(frozen=True)
class Batches(Sequence[Batch]):
    """The batches of one epoch, or of an evaluation.

    Attributes:
        encoded: The rows.
        batch_size: Rows in a batch.
        lengths: T of each batch.
        lines: For each batch and each of its lines, the encoded rows in it.
    """

    encoded: Encoded
    batch_size: int
    lengths: tuple[int, ...]
    lines: tuple[tuple[tuple[int, ...], ...], ...]

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[Batch]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Batch:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Build one batch. There are no slices, because a batch is made each time it is asked for."""
        return _build(self.encoded, self.lines[index], self.batch_size, self.lengths[index])

    def members(self, index: int) -> Members:
        """Return where the rows of batch `index` are. encoded.example_N leads from a row to its example."""
        found = [
            (row, line, segment)
            for line, rows in enumerate(self.lines[index])
            for segment, row in enumerate(rows, 1)
        ]
        return Members(*np.array(found, np.int64).T)

    def sum_by_row(self, index: int, values_BT: np.ndarray) -> np.ndarray:
        """Return the sum of a batch's values, such as weighted losses, for each row of members(index)."""
        row_N, line_N, segment_N = self.members(index)
        places = np.zeros((self.batch_size, max(segment_N) + 1), np.int64)
        places[line_N, segment_N] = np.arange(len(row_N)) + 1
        at_BT = places[np.arange(self.batch_size)[:, None], self[index].segments_BT]
        return np.bincount(at_BT.ravel(), weights=np.ravel(values_BT), minlength=len(row_N) + 1)[1:]

    @property
    def shapes(self) -> list[int]:
        """The different values of T. Each of them compiles once."""
        return sorted(set(self.lengths))

    @property
    def padding_fraction(self) -> float:
        """Share of the positions that hold no token. Rows that only fill a batch count too."""
        return 1 - int(self.encoded.lengths_N.sum()) / (self.batch_size * sum(self.lengths))

    def describe(self) -> dict[str, Any]:
        """Return counts, ready for JSON."""
        return {
            "batches": len(self),
            "batch_size": self.batch_size,
            "lengths": self.shapes,
            "positions": self.batch_size * sum(self.lengths),
            "padding_fraction": self.padding_fraction,
        }


def make_batches(
    encoded: Encoded,
    batch_size: int,
    *,
    seed: int,
    epoch: int | None,
    packed: bool = False,
    bucket_lengths: Sequence[int] = BUCKET_LENGTHS,
) -> Batches:
    """Cut an epoch into batches. Every row is in it once, in an order that only (seed, epoch) decides.

    With buckets there are always ceil(N / batch_size) batches, and at most one of them is not full. Packed,
    their number depends only on the rows' lengths. No T is above encoded.max_tokens.

    Args:
        encoded: The rows.
        batch_size: Rows in a batch.
        seed: The seed of the order.
        epoch: The epoch. None is an evaluation, whose rows keep their own order as far as buckets allow.
        packed: Whether several rows share a line.
        bucket_lengths: The lengths of the buckets.

    Raises:
        LoraJaxError: The batch size is below 1, or packed rows are not of generation.
    """
    if batch_size < 1:
        raise LoraJaxError(f"The batch size is {batch_size}, but it must be at least 1: raise it.")
    if packed and encoded.kind != "generation":
        raise LoraJaxError(
            f"task.batching is 'packed' and the rows are of {encoded.kind}, of which a line holds one alone:"
            " use 'buckets'."
        )
    order_N = np.arange(len(encoded))
    if epoch is not None:
        order_N = permute(order_N, len(encoded), order_key(seed, epoch, ROWS))
    lengths = encoded.lengths_N
    if packed:
        lines = pack(lengths[order_N].tolist(), encoded.max_tokens)
        lines = [tuple(order_N[i].item() for i in line) for line in lines]
        if epoch is not None:
            lines = _shuffle(lines, seed, epoch, LINES)
        starts = range(0, len(lines), batch_size)
        plan = [(encoded.max_tokens, tuple(lines[i : i + batch_size])) for i in starts]
    else:
        limits = [*(length for length in sorted(bucket_lengths) if length < encoded.max_tokens)]
        plan = _fill_buckets(order_N, lengths, [*limits, encoded.max_tokens], batch_size)
    if epoch is not None:
        plan = _shuffle(plan, seed, epoch, BATCHES)
    return Batches(
        encoded, batch_size, tuple(length for length, _ in plan), tuple(lines for _, lines in plan)
    )


def _shuffle(things: list[Any], seed: int, epoch: int, name: int) -> list[Any]:
    order = permute(np.arange(len(things)), len(things), order_key(seed, epoch, name))
    return [things[i] for i in order.tolist()]


def _fill_buckets(
    order_N: np.ndarray, lengths_N: np.ndarray, limits: list[int], batch_size: int
) -> list[tuple[int, tuple[tuple[int, ...], ...]]]:
    """Return (T, lines) of each batch. A full bucket is a batch. What is left at the end is sorted by length.

    We take the remaining rows from the longest down. So the batch that is not full is the shortest one.
    """
    bucket_N = np.searchsorted(limits, lengths_N)
    waiting: list[list[int]] = [[] for _ in limits]
    plan = []

    def close(rows: list[int]) -> None:
        length = limits[max(bucket_N[row] for row in rows)]
        plan.append((length, tuple((row,) for row in rows)))

    for row in order_N.tolist():
        bucket = waiting[bucket_N[row]]
        bucket.append(row)
        if len(bucket) == batch_size:
            close(bucket)
            waiting[bucket_N[row]] = []
    left = sorted((row for bucket in waiting for row in bucket), key=lambda row: -lengths_N[row])
    for start in range(0, len(left), batch_size):
        close(left[start : start + batch_size])
    return plan


def _build(encoded: Encoded, lines: tuple[tuple[int, ...], ...], batch_size: int, length: int) -> Batch:
    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.int32)

    shape = (batch_size, length)
    batch = Batch(
        tokens_BT=np.full(shape, encoded.pad_id, np.int32),
        segments_BT=zeros(*shape),
        positions_BT=zeros(*shape),
        types_BT=zeros(*shape),
        targets_BT=zeros(*shape),
        weights_BT=np.zeros(shape, np.float32),
        labels_B=zeros(batch_size),
        example_weights_B=np.zeros(batch_size, np.float32),
    )
    shift = encoded.kind == "generation"
    for b, rows in enumerate(lines):
        start = 0
        for segment, row in enumerate(rows, 1):
            tokens = encoded.tokens[row]
            n = len(tokens) - shift
            at = slice(start, start + n)
            batch.tokens_BT[b, at] = tokens[:n]
            batch.segments_BT[b, at] = segment
            batch.positions_BT[b, at] = np.arange(n)
            batch.types_BT[b, at] = encoded.types[row][:n]
            if shift:
                # Position t predicts token t + 1. So the prompt's last position predicts the first token.
                asked = slice(start + encoded.n_prompt_N[row] - 1, start + n)
                batch.targets_BT[b, asked] = tokens[encoded.n_prompt_N[row] :]
                batch.weights_BT[b, asked] = 1
            start += n
        batch.example_weights_B[b] = 1
        if encoded.labels_N is not None and len(rows) == 1:
            batch.labels_B[b] = encoded.labels_N[rows[0]]
    return batch
