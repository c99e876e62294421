"""Dataset: training batches as a pure function of source, seed and step, and held-out windows."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lora_jax.config import DataConfig, SourceConfig
from lora_jax.data.bpe import load_bpe
from lora_jax.data.cache import explain_disk_errors
from lora_jax.data.corpora import open_corpus
from lora_jax.data.heldout import HeldOut, choose_windows, cut_windows
from lora_jax.data.order import count_draws, order_key, permute, share_units
from lora_jax.data.split import SplitCorpora
from lora_jax.data.tokenizers import Tokenizer, read_tokenizer
from lora_jax.data.tokens import SourceTokens, load_tokens
from lora_jax.errors import LoraJaxError
from lora_jax.files import find_cache


def prepare(
    config: DataConfig,
    vocab_size: int,
    cache_dir: Path | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> "Dataset":
    """Return the data that `config` names, tokenised and split. What the cache holds is not made again.

    Args:
        config: The sources, the tokenizer and the sequence length.
        vocab_size: Vocabulary size of the model. Every token id must lie below it.
        cache_dir: Where derived files lie. By default $LORA_JAX_CACHE, otherwise ~/.cache/lora_jax.
        on_progress: Called with one line at each stage of work that takes time.

    Raises:
        LoraJaxError: Something about the sources, the tokenizer or their sizes is wrong, and you can mend it.
    """
    say = on_progress or (lambda line: None)
    cache = find_cache(cache_dir)
    with explain_disk_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
    given = read_tokenizer(config.tokenizer)
    corpora = [open_corpus(source, cache, say, given) for source in config.sources]
    heldout_corpora = [open_corpus(source, cache, say, given) for source in config.heldout_sources]
    split = SplitCorpora(corpora, config.heldout_fraction, say, heldout_corpora)
    tokenizer = given or load_bpe(config.tokenizer, split, cache, say)
    if tokenizer.vocab_size > vocab_size:
        raise LoraJaxError(
            f"The tokenizer {tokenizer.name!r} has {tokenizer.vocab_size} tokens and model.vocab_size is"
            f" {vocab_size}: the data exceeds the vocabulary, raise model.vocab_size or choose a smaller"
            " data.tokenizer."
        )
    return Dataset(config, load_tokens(split, tokenizer, cache, say), tokenizer)


class Dataset:
    """Tokens of one or several sources, as training batches and held-out windows.

    We cut a source's training tokens into windows of seq_len + 1 that share their edge token. So each token
    is a target once an epoch. Sample i (= step * batch_size + row) is drawn from the sources in proportion to
    their weights. Within a source, each epoch is a new order of all its windows. The order of the samples
    depends on the seed and not on the batch size.
    """

    def __init__(self, config: DataConfig, sources: tuple[SourceTokens, ...], tokenizer: Tokenizer) -> None:
        """Take prepared sources.

        Args:
            config: The configuration.
            sources: The sources of `config.sources`, then those of `config.heldout_sources`.
            tokenizer: What made the tokens.

        Raises:
            LoraJaxError: A source is shorter than one sequence, or than `config.unique_tokens` asks for.
        """
        self.config = config
        self.tokenizer = tokenizer
        self.sources = sources[: len(config.sources)]
        self._heldout_sources = sources[len(config.sources) :]
        self._units = share_units([s.weight for s in config.sources])
        self._n_windows = self._count_windows()

    def _count_windows(self) -> list[int]:
        seq_len, wanted = self.config.seq_len, self.config.unique_tokens
        counts = []
        for source, share in zip(self.sources, self.shares, strict=True):
            there = (source.train.n_tokens - 1) // seq_len
            if there < 1:
                raise LoraJaxError(
                    f"The source {source.name!r} has {source.train.n_tokens} training tokens, shorter than"
                    f" one sequence of data.seq_len + 1 = {seq_len + 1}: add text or lower data.seq_len."
                )
            count = there if wanted is None else int(wanted * share) // seq_len
            if not 1 <= count <= there:
                raise LoraJaxError(
                    f"data.unique_tokens is {wanted}, of which {int((wanted or 0) * share)} fall to the"
                    f" source {source.name!r}: it must be at least one sequence ({seq_len}) and at most the"
                    f" {there * seq_len} tokens there are, change it or leave it out."
                )
            counts.append(count)
        return counts

    @property
    def shares(self) -> list[float]:
        """Share of the training sequences that comes from each source. They sum to 1."""
        return [u / sum(self._units) for u in self._units]

    @property
    def unique_tokens(self) -> int:
        """Number of different training tokens that the batches are drawn from."""
        return sum(self._n_windows) * self.config.seq_len

    def batch(self, step: int, batch_size: int, seed: int) -> np.ndarray:
        """Return batch `step` of a run with `seed`, int32 (batch_size, seq_len + 1).

        Inputs are [:, :-1] and targets [:, 1:]. Equal arguments give equal bits, in any order of calls.
        """
        drawn_BS = count_draws(step * batch_size + np.arange(batch_size + 1), self._units)
        source_B = np.diff(drawn_BS, axis=0).argmax(axis=1)
        draw_B = drawn_BS[np.arange(batch_size), source_B]
        window_B = self._shuffle(source_B, draw_B, seed)
        windows_BT = np.empty((batch_size, self.config.seq_len + 1), np.int32)
        for number, source in enumerate(self.sources):
            rows = source_B == number
            windows_BT[rows] = cut_windows(source.train.ids, window_B[rows], self.config.seq_len)
        return windows_BT

    def _shuffle(self, source_B: np.ndarray, draw_B: np.ndarray, seed: int) -> np.ndarray:
        """Return the window for each draw from a source. Every epoch has its own order."""
        n_B = np.array(self._n_windows)[source_B]
        epoch_B, place_B = np.divmod(draw_B, n_B)
        keys = [order_key(seed, s, e) for s, e in zip(source_B.tolist(), epoch_B.tolist(), strict=True)]
        return permute(place_B, n_B, np.stack(keys))

    def epochs(self, n_tokens: int) -> float:
        """Return how often `n_tokens` of training go through the data.

        For a mixture, the largest over its sources.
        """
        return max(
            n_tokens * share / (n * self.config.seq_len)
            for share, n in zip(self.shares, self._n_windows, strict=True)
        )

    def unique_seen(self, n_tokens: int) -> int:
        """Return how many different tokens the first `n_tokens` of training show."""
        drawn = count_draws(np.array(n_tokens // self.config.seq_len), self._units)
        return int(np.minimum(drawn, self._n_windows).sum()) * self.config.seq_len

    def check(self, n_tokens: int) -> None:
        """Check that a run of `n_tokens` sees no source more often than config.max_epochs.

        Raises:
            LoraJaxError: It sees one more often.
        """
        epochs, allowed = self.epochs(n_tokens), self.config.max_epochs
        if epochs <= allowed:
            return
        most = int(allowed / self.epochs(1))
        raise LoraJaxError(
            f"n_tokens is {n_tokens}, which is {epochs:.2f} epochs of the {self.unique_tokens} training"
            f" tokens there are, and data.max_epochs is {allowed:g}: lower n_tokens to at most {most},"
            " add text, or raise data.max_epochs."
        )

    @cached_property
    def _heldout(self) -> HeldOut:
        sources, shares = self.sources, self.shares
        if self._heldout_sources:
            weights = [s.weight for s in self.config.heldout_sources]
            sources, shares = self._heldout_sources, [w / sum(weights) for w in weights]
        return choose_windows(sources, shares, self.config.seq_len, self.config.heldout_tokens)

    @property
    def heldout_WT(self) -> np.ndarray:
        """Held-out windows, int32 (W, seq_len + 1), from the sources in proportion to their weights."""
        return self._heldout.windows_WT

    @property
    def heldout_documents_W(self) -> np.ndarray:
        """The document in which each held-out window starts, int64 (W,). Standard errors cluster by it."""
        return self._heldout.documents_W

    @property
    def heldout_names(self) -> list[str]:
        """Names of the sources whose text is held out. If there are held-out sources, these are their names.

        If sources share a name, their split is added, and if they share that too, a number.
        """
        return tell_apart(self.config.heldout_sources or self.config.sources)

    @property
    def heldout_sources_W(self) -> np.ndarray:
        """The source of each held-out window, int64 (W,), by its place in `heldout_names`."""
        return self._heldout.sources_W

    @property
    def bytes_per_token(self) -> float | None:
        """Bytes of held-out text for each token. Separators are tokens that hold no bytes.

        None if the source holds tokens and we do not know what made them.
        """
        return self._heldout.bytes_per_token

    def describe(self) -> dict[str, Any]:
        """Return what the data is, ready for JSON, for each source and in total."""
        return {
            "tokenizer": self.tokenizer.name,
            "tokenizer_fingerprint": self.tokenizer.fingerprint,
            "vocab_size": self.tokenizer.vocab_size,
            "seq_len": self.config.seq_len,
            "unique_tokens": self.unique_tokens,
            "bytes_per_token": self.bytes_per_token,
            "heldout_windows": len(self.heldout_WT),
            "sources": [
                {
                    "name": source.name,
                    "identity": source.identity,
                    "share": share,
                    "unique_tokens": n * self.config.seq_len,
                    **_describe_side(source, "train"),
                    **_describe_side(source, "heldout"),
                }
                for source, share, n in zip(self.sources, self.shares, self._n_windows, strict=True)
            ],
        } | (
            {
                "heldout_sources": [
                    {"name": source.name, "identity": source.identity, **_describe_side(source, "heldout")}
                    for source in self._heldout_sources
                ]
            }
            if self._heldout_sources
            else {}
        )


def _describe_side(source: SourceTokens, side: str) -> dict[str, Any]:
    stream = source.train if side == "train" else source.heldout
    about = {"documents": stream.n_documents, "tokens": stream.n_tokens, "bytes": stream.n_bytes}
    return {f"{side}_{what}": value for what, value in about.items()}


def tell_apart(sources: Sequence[SourceConfig]) -> list[str]:
    """Return a different name for each source: its own, with its split or a number if needed."""
    names = [source.name for source in sources]
    names = [
        f"{name}[{source.split}]" if names.count(name) > 1 else name
        for name, source in zip(names, sources, strict=True)
    ]
    return [
        f"{name} {names[: i + 1].count(name)}" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]
