"""Text to token ids, as bytes or by a tokenizer of the `tokenizers` library.

Also tokens of an unknown tokenizer.
"""

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lora_jax.config import digest, unknown_size
from lora_jax.errors import LoraJaxError
from lora_jax.foreign import parse_tokenizer

SEPARATOR = "<|endoftext|>"
# Names that published tokenizers give the token between documents, the most common first.
SEPARATORS = (SEPARATOR, "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "[SEP]")


class Tokenizer(Protocol):
    """What the token store and the decoding of samples need.

    Attributes:
        vocab_size: Ids lie in [0, vocab_size).
        separator: The id that follows every document. None if nothing is known about the tokens.
        fingerprint: A hash. Tokenizers with equal fingerprints encode alike.
        name: Its name.
    """

    vocab_size: int
    separator: int | None
    fingerprint: str
    name: str

    def encode(self, text: str) -> np.ndarray:
        """Return the ids of a text (n_tokens,), unsigned."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids of several texts."""
        ...

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of ids."""
        ...

    def count_bytes(self, documents: Sequence[np.ndarray]) -> list[int] | None:
        """Return the bytes of text in the tokens of each document. None if they are not known."""
        ...


def id_dtype(vocab_size: int) -> np.dtype:
    """Return the smallest unsigned integer type that holds every id."""
    return np.dtype(np.uint8 if vocab_size <= 2**8 else np.uint16 if vocab_size <= 2**16 else np.uint32)


class ByteTokenizer:
    """UTF-8 bytes as tokens. Byte 0 separates documents, because text does not contain it."""

    name = "bytes"
    vocab_size = 256
    separator: int | None = 0
    fingerprint = "bytes"

    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), np.uint8)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self.encode(text) for text in texts]

    def decode(self, tokens: Iterable[int]) -> str:
        return bytes(int(t) for t in tokens).decode(errors="replace")

    def count_bytes(self, documents: Sequence[np.ndarray]) -> list[int]:
        return [len(ids) for ids in documents]


class SubwordTokenizer:
    """A tokenizer of the `tokenizers` library."""

    def __init__(self, name: str, inner: Any, *, by_line: bool) -> None:
        """Wrap a tokenizer.

        Args:
            name: Its name.
            inner: A tokenizer of the `tokenizers` library.
            by_line: Whether the text may be cut at line ends without changing its tokens.

        Raises:
            LoraJaxError: It has no token that separates documents.
        """
        self.name = name
        self.fingerprint = digest(inner.to_str(), length=32)
        # If a text spells out the separator, it is still text. Without this line it would end the document.
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
        self.separator: int | None = vocabulary[separator]
        self._dtype = id_dtype(self.vocab_size)

    def encode(self, text: str) -> np.ndarray:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        # We pass the lines of all documents together, because the library spreads only a batch over the
        # cores.
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
        """Is the token in the vocabulary?"""
        return self._inner.token_to_id(token) is not None

    def decode(self, tokens: Iterable[int]) -> str:
        return self._inner.decode([int(t) for t in tokens], skip_special_tokens=False)

    def count_bytes(self, documents: Sequence[np.ndarray]) -> list[int]:
        """Return the bytes of text in each document, without special tokens.

        If tokens are byte-level, we add up the bytes of each. Otherwise we decode them.
        """
        if self._bytes_of_id is not None:
            return [int(self._bytes_of_id[ids].sum()) for ids in documents]
        texts = self._inner.decode_batch([ids.tolist() for ids in documents], skip_special_tokens=True)
        return [len(text.encode()) for text in texts]

    @cached_property
    def _bytes_of_id(self) -> np.ndarray | None:
        """Bytes of each id (vocab_size,). None if tokens are not byte-level, with a letter for each byte."""
        decoder = json.loads(self._inner.to_str())["decoder"]
        if decoder is None or decoder["type"] != "ByteLevel":
            return None
        n_bytes = np.zeros(self.vocab_size, np.int64)
        for token, number in self._inner.get_vocab(with_added_tokens=True).items():
            n_bytes[number] = len(token)
        for number, added in self._inner.get_added_tokens_decoder().items():
            n_bytes[number] = 0 if added.special else len(added.content.encode())
        return n_bytes


class UnknownTokenizer:
    """ "unknown:SIZE": whatever made the tokens.

    We know only how many ids there are. It can neither encode nor decode.
    """

    separator: int | None = None

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.name = self.fingerprint = f"unknown:{vocab_size}"

    def encode(self, text: str) -> np.ndarray:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        raise LoraJaxError(
            f"data.tokenizer is {self.name!r}, which encodes no text: name the tokenizer.json that made the"
            " tokens."
        )

    def decode(self, tokens: Iterable[int]) -> str:
        raise LoraJaxError(
            f"data.tokenizer is {self.name!r}, which decodes no tokens: name the tokenizer.json that made"
            " them."
        )

    def count_bytes(self, documents: Sequence[np.ndarray]) -> None:
        return None


def split_lines(text: str) -> list[str]:
    """Cut a text after each run of line feeds. No run is torn apart, and the joined pieces are the text."""
    return re.findall(r"[^\n]*\n+|[^\n]+", text)


def read_tokenizer(spec: str) -> Tokenizer | None:
    """Return the tokenizer that `spec` names. None for "bpe:SIZE", which is trained on the sources.

    Raises:
        LoraJaxError: It is not "bytes", "bpe:SIZE", "unknown:SIZE" or a file that can be read.
    """
    if spec == "bytes":
        return ByteTokenizer()
    kind = spec.partition(":")[0]
    if kind == "bpe":
        return None
    if kind == "unknown":
        return UnknownTokenizer(unknown_size(spec))
    path = Path(spec).expanduser()
    if path.suffix != ".json" and not path.exists():
        raise LoraJaxError(
            f"data.tokenizer is {spec!r}, but it must be 'bytes', 'bpe:SIZE' or the path of a tokenizer.json:"
            " correct it."
        )
    return SubwordTokenizer(str(path), _read_json(path), by_line=False)


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
