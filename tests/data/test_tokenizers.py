"""Round trips, determinism, and anybody's tokenizer.json."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as Inner
from tokenizers import models, normalizers, pre_tokenizers, trainers

from lora_jax.data import Dataset
from lora_jax.data.bpe import train_bpe
from lora_jax.data.tokenizers import ByteTokenizer, SubwordTokenizer, split_lines
from lora_jax.errors import LoraJaxError

Make = Callable[..., Dataset]

TEXTS = [
    "",
    " ",
    "\n",
    "\n\n\n  x\n",
    "  leading and trailing  ",
    "plain words, and numbers 1234567.\r\n\tTabs",
    "héros 国 🙂 \u202e e\u0301",
    "it spells <|endoftext|> out",
    "\x00\x01\x7f",
    "no\u00a0break\u2028line",
]


@pytest.fixture(scope="module")
def bpe() -> SubwordTokenizer:
    return SubwordTokenizer(
        "bpe:400", train_bpe(["the treasury of the union, " * 50, *TEXTS], 400), by_line=True
    )


@pytest.mark.parametrize("text", TEXTS)
def test_decoding_undoes_encoding(bpe: SubwordTokenizer, text: str) -> None:
    for tokenizer in (ByteTokenizer(), bpe):
        tokens = tokenizer.encode(text)
        assert tokenizer.decode(tokens) == text
        assert all(0 <= t < tokenizer.vocab_size for t in tokens)


@pytest.mark.parametrize("text", TEXTS)
def test_lines_join_to_the_text(text: str) -> None:
    assert "".join(split_lines(text)) == text


def test_bytes_of_tokens_are_those_of_their_text(bpe: SubwordTokenizer) -> None:
    expected = [len(text.encode()) for text in TEXTS]
    for tokenizer in (ByteTokenizer(), bpe):
        assert tokenizer.count_bytes([tokenizer.encode(text) for text in TEXTS]) == expected
    assert bpe.count_bytes([np.array([bpe.separator])]) == [0]


def test_text_never_makes_a_separator(bpe: SubwordTokenizer) -> None:
    assert bpe.separator not in bpe.encode("<|endoftext|>")
    assert bpe.decode([bpe.separator or 0]) == "<|endoftext|>"


def test_a_batch_is_its_texts_one_by_one(bpe: SubwordTokenizer) -> None:
    for tokens, text in zip(bpe.encode_batch(TEXTS), TEXTS, strict=True):
        assert tokens.tolist() == bpe.encode(text).tolist()


def test_training_is_deterministic_and_merges(make_dataset: Make, tmp_path: Path) -> None:
    one = make_dataset(tokenizer="bpe:400")
    for path in (tmp_path / "cache" / "tokenizers").iterdir():
        path.unlink()
    two = make_dataset(tokenizer="bpe:400")
    assert one.tokenizer.fingerprint == two.tokenizer.fingerprint
    assert one.tokenizer.vocab_size == 400
    assert (one.bytes_per_token or 0) > 1.3


def test_only_training_text_trains_the_tokenizer(make_dataset: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_jax.data import bpe

    seen: list[str] = []

    def spy(texts: object, vocab_size: int) -> object:
        seen.extend(texts)  # pyright: ignore[reportArgumentType]
        return train_bpe(seen, vocab_size)

    monkeypatch.setattr(bpe, "train_bpe", spy)
    dataset = make_dataset(tokenizer="bpe:300", heldout_fraction=0.4)
    (source,) = dataset.sources
    assert len(seen) == len(source.train.documents)
    assert sum(len(t.encode()) for t in seen) == source.train.n_bytes


@pytest.mark.parametrize("spec", ["bpe:abc", "bpe:100", "bpe:256", "bpe:", "bpe:-5", "bpe", "bpe:5e2"])
def test_a_bad_bpe_size_is_refused(make_dataset: Make, spec: str) -> None:
    with pytest.raises(LoraJaxError, match=rf"tokenizer is '{spec}', but it must be 'bpe:SIZE'.*257"):
        make_dataset(tokenizer=spec)


def test_an_unknown_tokenizer_is_refused(make_dataset: Make) -> None:
    with pytest.raises(
        LoraJaxError, match=r"tokenizer is 'byte', but it must be 'bytes', 'bpe:SIZE' or the path"
    ):
        make_dataset(tokenizer="byte")


def write_wordpieces(path: Path, special: list[str]) -> Inner:
    inner = Inner(models.BPE(unk_token="<unk>"))
    inner.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Prepend("_")])
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", *special], show_progress=False)
    inner.train_from_iterator(["the treasury of the union 0123456789\n" * 20], trainer)
    inner.save(str(path))
    return inner


def test_a_tokenizer_json_encodes_as_its_own_library_does(make_dataset: Make, tmp_path: Path) -> None:
    inner = write_wordpieces(tmp_path / "tokenizer.json", ["</s>"])
    dataset = make_dataset(tokenizer=str(tmp_path / "tokenizer.json"))
    assert dataset.tokenizer.vocab_size == inner.get_vocab_size()
    assert dataset.tokenizer.separator == inner.token_to_id("</s>")
    text = "the union\nof the treasury\n\n0 1"
    assert dataset.tokenizer.encode(text).tolist() == inner.encode(text, add_special_tokens=False).ids


def test_a_tokenizer_json_without_a_separator_is_refused(make_dataset: Make, tmp_path: Path) -> None:
    write_wordpieces(tmp_path / "tokenizer.json", [])
    with pytest.raises(LoraJaxError, match="no token that separates documents"):
        make_dataset(tokenizer=str(tmp_path / "tokenizer.json"))


def test_an_unreadable_tokenizer_json_is_refused(make_dataset: Make, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(LoraJaxError, match=r"tokenizer\.json, which cannot be read"):
        make_dataset(tokenizer=str(path))
    for content in (b"", b"{}", b"\xff\xfe", b'{"version": "1.0", "model": {"type": "BPE"}}'):
        path.write_bytes(content)
        with pytest.raises(LoraJaxError, match=r"tokenizer\.json, which is not a tokenizer"):
            make_dataset(tokenizer=str(path))
