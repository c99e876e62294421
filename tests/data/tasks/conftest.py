"""Task data that the repository does not hold, and tokenizers of the tokenizers library made on the spot."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest


@pytest.fixture(scope="session")
def tasks_folder() -> Path:
    """The folder of labelled tasks, beside the repository or in LORA_JAX_TASKS: without it, a skip."""
    fallback = Path(__file__).resolve().parents[4] / "shared" / "data" / "tasks"
    folder = Path(os.environ.get("LORA_JAX_TASKS", fallback))
    if not folder.is_dir():
        pytest.skip("labelled tasks not found: set LORA_JAX_TASKS to their folder")
    return folder


class LibraryTokenizer(NamedTuple):
    """A tokenizer of the tokenizers library, as the encoding wants it."""

    inner: Any
    vocab_size: int
    eos_id: int | None
    pad_id: int | None

    def encode(self, text: str, pair: str | None = None, special: bool = True) -> tuple[list[int], list[int]]:
        found = self.inner.encode(text, pair, add_special_tokens=special)
        return found.ids, found.type_ids

    def decode(self, ids: Iterable[int]) -> str:
        return self.inner.decode(list(ids))


@pytest.fixture(scope="session")
def bert_like() -> Callable[[], LibraryTokenizer]:
    """Words w0 to w99 in BERT's [CLS] A [SEP] B [SEP]; a new one each time, as it can be set to truncate."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    def make() -> LibraryTokenizer:
        words = ["[PAD]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(100))]
        inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="w0"))
        inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
        inner.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
        )
        return LibraryTokenizer(inner, len(words), None, 0)

    return make


@pytest.fixture(scope="session")
def gpt_like() -> LibraryTokenizer:
    """Byte-level BPE in which " is" and " good" are tokens, and so is "ab", which may cross a border."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("i", "s"), ("Ġ", "is"), ("o", "o"), ("g", "oo"), ("goo", "d"), ("Ġ", "good"), ("a", "b")]
    vocab = {token: i for i, token in enumerate(["<end>", *letters, *(a + b for a, b in merges)])}
    inner = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    inner.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return LibraryTokenizer(inner, len(vocab), 0, None)
