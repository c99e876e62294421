"""Held-out windows of text. Every loss that we report is measured on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.data.blocks import CheckedArray
from lora_jax.data.tokens import SourceTokens
from lora_jax.errors import LoraJaxError


@dataclass(frozen=True)
class HeldOut:
    """W windows of held-out text.

    Attributes:
        windows_WT: The tokens, int32 (W, seq_len + 1).
        documents_W: The document in which each window starts, int64 (W,), counted over all sources.
        sources_W: The source of each window, int64 (W,), by its place among the sources.
        bytes_per_token: Bytes of text for each token. None if the text of the tokens is not known.
    """

    windows_WT: np.ndarray
    documents_W: np.ndarray
    sources_W: np.ndarray
    bytes_per_token: float | None


def cut_windows(tokens: CheckedArray, window: np.ndarray, seq_len: int) -> np.ndarray:
    """Return windows of a stream as (B, seq_len + 1). Window number w starts at token w * seq_len.

    Args:
        tokens: The stream.
        window: The numbers of the windows (B,).
        seq_len: Tokens that a window has, without the last.
    """
    return tokens.take(window[:, None] * seq_len + np.arange(seq_len + 1))


def share_out(total: int, shares: Sequence[float], available: Sequence[int]) -> list[int]:
    """Return how many windows each source gives: in proportion to its share, together at most `total`.

    If a source is short, the proportion is kept and the others give fewer too. Each gives at least one.
    """
    most = min([total, *(n / share for n, share in zip(available, shares, strict=True))])
    return [max(1, min(n, int(most * share))) for n, share in zip(available, shares, strict=True)]


def choose_windows(
    sources: Sequence[SourceTokens], shares: Sequence[float], seq_len: int, max_tokens: int
) -> HeldOut:
    """Return held-out windows of all sources, at most about `max_tokens`, spread evenly over each stream.

    We spread them because the first windows would come from few documents. The loss of one document is no
    sample.

    Args:
        sources: The sources.
        shares: Share of the windows that each source gives.
        seq_len: Tokens of a sequence.
        max_tokens: Largest number of tokens.

    Raises:
        LoraJaxError: `max_tokens` or the held-out text of a source is shorter than one sequence.
    """
    if max_tokens < seq_len:
        raise LoraJaxError(
            f"data.heldout_tokens is {max_tokens}, less than one sequence of data.seq_len = {seq_len}:"
            " raise it."
        )
    available = []
    for source in sources:
        n_tokens = source.heldout.n_tokens
        if n_tokens <= seq_len:
            raise LoraJaxError(
                f"The source {source.name!r} has {n_tokens} held-out tokens, shorter than one sequence of"
                f" data.seq_len + 1 = {seq_len + 1}: add text, raise data.heldout_fraction or lower"
                " data.seq_len."
            )
        available.append((n_tokens - 1) // seq_len)
    counts = share_out(max_tokens // seq_len, shares, available)
    windows, documents, n_bytes, n_documents = [], [], list[float](), 0
    for source, count, there in zip(sources, counts, available, strict=True):
        stream = source.heldout
        chosen = np.arange(count) * there // count
        windows.append(cut_windows(stream.ids, chosen, seq_len).astype(np.int32))
        starts = stream.documents["start"]
        documents.append(n_documents + np.searchsorted(starts, chosen * seq_len, side="right") - 1)
        n_documents += len(starts)
        if stream.n_bytes is not None:
            n_bytes.append(count * stream.n_bytes / stream.n_tokens)
    bytes_per_token = sum(n_bytes) / sum(counts) if len(n_bytes) == len(counts) else None
    sources_W = np.repeat(np.arange(len(sources)), counts)
    return HeldOut(np.concatenate(windows), np.concatenate(documents), sources_W, bytes_per_token)
