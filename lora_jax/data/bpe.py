"""Byte-level BPE trained on the sources, kept in the cache."""

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lora_jax.config import bpe_size, digest
from lora_jax.data.cache import write_text
from lora_jax.data.split import SplitCorpora
from lora_jax.data.tokenizers import SEPARATOR, SubwordTokenizer, split_lines
from lora_jax.digests import read_sealed, to_sealed_json
from lora_jax.foreign import parse_tokenizer

BPE_FORMAT = "bpe-2"  # format of a file in the cache; files of "bpe-1" had no digest and are left alone
# Merges settle long before this much text. More would only cost time.
BPE_TRAINING_BYTES = 50_000_000


def load_bpe(spec: str, split: SplitCorpora, cache: Path, say: Callable[[str], None]) -> SubwordTokenizer:
    """Return the tokenizer "bpe:SIZE". It is trained if the cache does not hold it whole."""
    size = bpe_size(spec)
    library = importlib.metadata.version("tokenizers")
    key = digest([BPE_FORMAT, library, size, BPE_TRAINING_BYTES, split.identity], length=32)
    path = cache / "tokenizers" / f"{key}.json"
    kept = read_sealed(path)
    if kept is None:
        if path.exists():
            say(f"{path} is damaged: the tokenizer is trained again")
        inner = train_bpe(split.iterate_training_text(BPE_TRAINING_BYTES), size)
        kept = {"tokenizer": inner.to_str()}
        write_text(path, to_sealed_json(kept))
    return SubwordTokenizer(spec, _parse_kept(kept["tokenizer"], path), by_line=True)


def _parse_kept(text: str, path: Path) -> Any:
    return parse_tokenizer(text, f"{path} is not what this version of tokenizers reads", "delete it")


def train_bpe(texts: Iterable[str], vocab_size: int) -> Any:
    """Train a byte-level BPE tokenizer on `texts`. Equal texts give equal merges.

    It is Sennrich et al. 2016 (arXiv 1508.07909) over bytes, with GPT-2's splitting into words.
    """
    from tokenizers import Tokenizer as Inner
    from tokenizers import decoders, models, pre_tokenizers, trainers

    inner = Inner(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[SEPARATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )

    def lines() -> Iterator[list[str]]:
        for text in texts:
            yield split_lines(text)

    inner.train_from_iterator(lines(), trainer)
    return inner
