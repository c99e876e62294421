"""An epoch holds every row once, in an order of (seed, epoch) alone; packed rows are the rows themselves."""

import math
import zlib
from typing import Any, Literal

import numpy as np
import pytest

from lora_jax.data.tasks import Batches, Encoded, make_batches
from lora_jax.errors import LoraJaxError

MAX_TOKENS = 50  # no bucket: the last T is this


def make_encoded(kind: Literal["classification", "generation"], n: int = 203, seed: int = 0) -> Encoded:
    """Rows of 3 to MAX_TOKENS random tokens, row 0 as long as may be."""
    draw = np.random.default_rng(seed)
    lengths = [MAX_TOKENS, *draw.integers(3, MAX_TOKENS + 1, n - 1).tolist()]
    rows = tuple(draw.integers(1, 1000, length).astype(np.int32) for length in lengths)
    n_prompt = [int(draw.integers(1, length)) for length in lengths] if kind == "generation" else lengths
    return Encoded(
        kind=kind,
        tokens=rows,
        types=tuple((row % 2).astype(np.int32) for row in rows),
        n_prompt_N=np.array(n_prompt, np.int32),
        example_N=np.arange(n, dtype=np.int32),
        labels_N=draw.integers(0, 3, n).astype(np.int32) if kind == "classification" else None,
        max_tokens=MAX_TOKENS,
        pad_id=7,
        n_cut=0,
    )


def rows_of(batches: Batches) -> list[list[int]]:
    return [batches.members(i).row_N.tolist() for i in range(len(batches))]


CASES = [("classification", False), ("generation", False), ("generation", True)]


@pytest.mark.parametrize(("kind", "packed"), CASES)
@pytest.mark.parametrize("epoch", [None, 0, 1])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_every_row_is_there_once_and_whole(
    kind: Literal["classification", "generation"], packed: bool, epoch: int | None, batch_size: int
) -> None:
    encoded = make_encoded(kind)
    batches = make_batches(encoded, batch_size, seed=3, epoch=epoch, packed=packed)
    assert sorted(row for rows in rows_of(batches) for row in rows) == list(range(len(encoded)))
    n_positions = n_tokens = 0
    for i, batch in enumerate(batches):
        T = batches.lengths[i]
        assert {a.shape for a in batch[:6]} == {(batch_size, T)}
        assert {a.shape for a in batch[6:]} == {(batch_size,)}
        assert T <= MAX_TOKENS
        n_positions += batch.tokens_BT.size
        n_tokens += int((batch.segments_BT > 0).sum())
        row_N, line_N, segment_N = batches.members(i)
        for row, line, segment in zip(row_N, line_N, segment_N, strict=True):
            at = batch.segments_BT[line] == segment
            shown = encoded.tokens[row][: len(encoded.tokens[row]) - (kind == "generation")]
            assert batch.tokens_BT[line, at].tolist() == shown.tolist()
            assert batch.types_BT[line, at].tolist() == encoded.types[row][: len(shown)].tolist()
            assert batch.positions_BT[line, at].tolist() == list(range(len(shown)))
            if encoded.labels_N is not None:
                assert batch.labels_B[line] == encoded.labels_N[row]
            asked = batch.weights_BT[line, at] > 0
            n_prompt = encoded.n_prompt_N[row]
            assert batch.targets_BT[line, at][asked].tolist() == encoded.tokens[row][n_prompt:].tolist()
        is_line = np.isin(np.arange(batch_size), line_N)
        assert batch.example_weights_B.tolist() == is_line.astype(float).tolist()
        assert not batch.segments_BT[~is_line].any()
        assert (batch.tokens_BT[batch.segments_BT == 0] == encoded.pad_id).all()
    assert batches.padding_fraction == pytest.approx(1 - n_tokens / n_positions)


@pytest.mark.parametrize(("kind", "packed"), CASES)
def test_the_order_depends_on_seed_and_epoch_alone(
    kind: Literal["classification", "generation"], packed: bool
) -> None:
    encoded = make_encoded(kind)
    orders = {
        (seed, epoch): sorted(rows_of(make_batches(encoded, 8, seed=seed, epoch=epoch, packed=packed)))
        for seed in (0, 1)
        for epoch in (0, 1, 2)
    }
    assert len({str(order) for order in orders.values()}) == 6, (
        "neighbouring seeds must not repeat each other's epochs"
    )
    again = make_batches(encoded, 8, seed=1, epoch=1, packed=packed)
    assert sorted(rows_of(again)) == orders[1, 1]
    other = make_batches(encoded, 8, seed=1, epoch=2, packed=packed)
    assert [len(rows) for rows in rows_of(again)] != [len(rows) for rows in rows_of(other)], (
        "the batches of an epoch are shuffled too"
    )


def test_an_epoch_has_the_same_number_of_batches_whatever_its_order() -> None:
    encoded = make_encoded("generation")
    for epoch in range(5):
        batches = make_batches(encoded, 8, seed=0, epoch=epoch)
        assert len(batches) == math.ceil(len(encoded) / 8)
        assert sum(len(rows) < 8 for rows in rows_of(batches)) == 1
    packed = {len(make_batches(encoded, 4, seed=0, epoch=epoch, packed=True)) for epoch in range(5)}
    assert len(packed) == 1


def test_buckets_and_packing_waste_little() -> None:
    encoded = make_encoded("generation", n=1000)
    one_length = make_batches(encoded, 8, seed=0, epoch=0, bucket_lengths=())
    buckets = make_batches(encoded, 8, seed=0, epoch=0)
    packed = make_batches(encoded, 8, seed=0, epoch=0, packed=True)
    assert one_length.shapes == packed.shapes == [MAX_TOKENS]
    assert one_length.padding_fraction > 0.4
    assert buckets.padding_fraction < 0.25  # of lengths drawn evenly; finer buckets cost more programs
    assert packed.padding_fraction < 0.05


def causal_losses(batch: tuple[Any, ...], b: int) -> np.ndarray:
    """A stand-in for a model: a number from all that a position may see, and from its target."""
    tokens, segments, positions, types, targets, weights = (a[b] for a in batch[:6])
    losses = np.zeros(len(tokens))
    for t in np.flatnonzero(weights):
        seen = (segments == segments[t]) & (np.arange(len(tokens)) <= t)
        content = [tokens[seen].tolist(), positions[seen].tolist(), types[seen].tolist(), int(targets[t])]
        losses[t] = zlib.crc32(repr(content).encode()) / 2**32
    return losses


def test_packed_rows_have_the_losses_of_rows_alone() -> None:
    encoded = make_encoded("generation", n=40)
    sums = []
    for packed in (False, True):
        batches = make_batches(encoded, 4, seed=0, epoch=0, packed=packed)
        sums.append(np.full(len(encoded), np.nan))
        for i, batch in enumerate(batches):
            losses_BT = np.stack([causal_losses(batch, b) for b in range(4)])
            sums[-1][batches.members(i).row_N] = batches.sum_by_row(i, losses_BT)
    assert max(len(line) for lines in batches.lines for line in lines) > 2
    np.testing.assert_allclose(sums[0], sums[1], rtol=1e-12)
    assert (sums[0] > 0).all()


def test_labels_are_not_packed() -> None:
    with pytest.raises(LoraJaxError, match="'packed' and the rows are of classification"):
        make_batches(make_encoded("classification"), 4, seed=0, epoch=0, packed=True)
