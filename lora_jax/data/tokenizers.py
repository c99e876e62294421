"""Text to token ids: bytes, byte-level BPE trained on the sources, or anybody's tokenizer.json."""

import importlib.metadata
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lora_jax.config import bpe_size, digest
from lora_jax.data.cache import write_text
from lora_jax.data.split import SplitCorpora
from lora_jax.digests import read_sealed, to_sealed_json
from lora_jax.errors import LoraJaxError
from lora_jax.foreign import parse_tokenizer

SEPARATOR = "<|endoftext|>"
# How published tokenizers call the token between documents, most common first.
SEPARATORS = (SEPARATOR, "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "[SEP]")
BPE_FORMAT = "bpe-2"  # of a file of the cache; those of "bpe-1" had no digest and are left alone
# Merges settle long before this much text; more would only cost time.
BPE_TRAINING_BYTES = 50_000_000


class Tokenizer(Protocol):
    """What the token store and the decoding of samples need."""

    vocab_size: int  # ids lie in [0, vocab_size)
    separator: int  # the id that follows every document
    fingerprint: str  # equal fingerprints encode alike
    name: str

    def encode(self, text: str) -> np.ndarray: ...
    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]: ...
    def decode(self, tokens: Iterable[int]) -> str: ...


def id_dtype(vocab_size: int) -> np.dtype:
    """Return the smallest unsigned integer type that holds every id."""
    return np.dtype(np.uint8 if vocab_size <= 2**8 else np.uint16 if vocab_size <= 2**16 else np.uint32)


class ByteTokenizer:
    """UTF-8 bytes; byte 0 separates documents (and cuts a text that has it, which text does not)."""

    name = "bytes"
    vocab_size = 256
    separator = 0
    fingerprint = "bytes"

    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), np.uint8)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self.encode(text) for text in texts]

    def decode(self, tokens: Iterable[int]) -> str:
        return bytes(int(t) for t in tokens).decode(errors="replace")


class SubwordTokenizer:
    """A tokenizer of the `tokenizers` library."""

    def __init__(self, name: str, inner: Any, *, by_line: bool) -> None:
        """Wrap `inner`; `by_line` when cutting the text at line ends cannot change what it means."""
        self.name = name
        self.fingerprint = digest(inner.to_str(), length=32)
        # A text that spells the separator out is text: without this it would end the document.
        inner.encode_special_tokens = True
        self._inner = inner
        self._by_line = by_line
        vocabulary = inner.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values()) + 1
        separator = next((s for s in SEPARATORS if s in vocabulary), None)
        if separator is None:
            raise LoraJaxError(
                f"The tokenizer {name} has no token that separates documents, one of {', '.join(SEPARATORS)}:"
                " add one as a special token."
            )
        self.separator = vocabulary[separator]
        self._dtype = id_dtype(self.vocab_size)

    def encode(self, text: str) -> np.ndarray:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        # Lines of all documents go in together: the library spreads a batch, not a text, over the cores.
        pieces = [split_lines(t) if self._by_line else [t] for t in texts]
        flat = [piece for lines in pieces for piece in lines]
        encodings = iter(self._inner.encode_batch_fast(flat, add_special_tokens=False))
        return [self._join([next(encodings).ids for _ in lines]) for lines in pieces]

    def _join(self, ids: list[list[int]]) -> np.ndarray:
        return np.array([i for line in ids for i in line], self._dtype)

    def to_json(self) -> str:
        """Return the content of a tokenizer.json."""
        return self._inner.to_str()

    def holds(self, token: str) -> bool:
        return self._inner.token_to_id(token) is not None

    def decode(self, tokens: Iterable[int]) -> str:
        return self._inner.decode([int(t) for t in tokens], skip_special_tokens=False)


def split_lines(text: str) -> list[str]:
    """Cut after runs of line feeds, so that no run of them is torn apart; joined, the pieces are the text."""
    return re.findall(r"[^\n]*\n+|[^\n]+", text)


def load_tokenizer(
    spec: str, split: SplitCorpora, cache: Path, say: Callable[[str], None] = lambda line: None
) -> Tokenizer:
    """Return the tokenizer that `spec` names; "bpe:SIZE" is trained when the cache does not hold it whole.

    Raises:
        LoraJaxError: a spec that is none of "bytes", "bpe:SIZE" and a readable tokenizer.json.
    """
    if spec == "bytes":
        return ByteTokenizer()
    if spec.partition(":")[0] == "bpe":
        return _load_bpe(spec, split, cache, say)
    path = Path(spec).expanduser()
    if path.suffix != ".json" and not path.exists():
        raise LoraJaxError(
            f"data.tokenizer is {spec!r}, wanted is 'bytes', 'bpe:SIZE' or the path of a tokenizer.json:"
            " correct it."
        )
    return SubwordTokenizer(str(path), _read_json(path), by_line=False)


def _load_bpe(spec: str, split: SplitCorpora, cache: Path, say: Callable[[str], None]) -> SubwordTokenizer:
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
    """Return a byte-level BPE tokenizer trained on `texts`; equal texts give equal merges.

    Sennrich et al. 2016 (arXiv 1508.07909) over bytes, with GPT-2's splitting into words.
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


def _read_json(path: Path) -> Any:
    wrong = f"data.tokenizer is {path}, which is not a tokenizer of the tokenizers library"
    remedy = "write one with its save(), or name another file"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LoraJaxError(
            f"data.tokenizer is {path}, which cannot be read ({error.strerror}): correct the path."
        ) from error
    except UnicodeDecodeError as error:
        raise LoraJaxError(f"{wrong} (it is not UTF-8): {remedy}.") from error
    return parse_tokenizer(text, wrong, remedy)
