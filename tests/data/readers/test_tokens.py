"""Tokens that somebody made are trained on as they are; what disagrees with itself is refused."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from lora_jax.config import DataConfig, SourceConfig
from lora_jax.data import Dataset, prepare
from lora_jax.data.bpe import train_bpe
from lora_jax.errors import LoraJaxError

TEXTS = [f"{n} héros 国 {'liberty of the union ' * (n % 9 + 3)}" for n in range(120)]
Write = Callable[[Path, list[list[int]]], Path]


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    return train_bpe(TEXTS * 3, 400)


def encode(tokenizer: Tokenizer) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(TEXTS, add_special_tokens=False)]


def write_nanogpt(path: Path, documents: list[list[int]]) -> Path:
    """Each document ends in a separator, which is 0 here."""
    np.array([i for one in documents for i in (*one, 0)], np.uint16).tofile(path)
    return path


def write_llmc(path: Path, documents: list[list[int]]) -> Path:
    """Each document begins with a separator."""
    ids = np.array([i for one in documents for i in (0, *one)], np.uint16)
    header = np.zeros(256, np.int32)
    header[:3] = 20240520, 1, len(ids)
    path.write_bytes(header.tobytes() + ids.tobytes())
    return path


def write_megatron(path: Path, documents: list[list[int]]) -> Path:
    """Two sequences a document, as with --split-sentences, and a separator at its end."""
    sequences = [part for one in documents for part in (one[:3], [*one[3:], 0])]
    np.array([i for one in sequences for i in one], np.int32).tofile(path)
    lengths = np.array([len(one) for one in sequences], np.int32)
    pointers = 4 * (np.cumsum(lengths, dtype=np.int64) - lengths)
    bounds = np.arange(0, len(sequences) + 1, 2, dtype=np.int64)
    head = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 4, len(sequences), len(bounds))
    path.with_suffix(".idx").write_bytes(head + lengths.tobytes() + pointers.tobytes() + bounds.tobytes())
    return path


WRITERS = [write_nanogpt, write_llmc, write_megatron]


def open_tokens(name: str | Path, tokenizer: str, **fields: Any) -> Dataset:
    source = SourceConfig(name=f"tokens:{name}")
    return prepare(DataConfig(sources=(source,), tokenizer=tokenizer, seq_len=16, **fields), 512)


@pytest.mark.parametrize("write", WRITERS)
def test_tokens_are_those_of_the_text(tmp_path: Path, bpe: Tokenizer, write: Write) -> None:
    """Documents, splits by fraction, and bytes: as if the text were tokenised here."""
    bpe.save(str(tmp_path / "tokenizer.json"))
    documents = encode(bpe)
    (tmp_path / "shards").mkdir()
    write(tmp_path / "shards" / "a.bin", documents[:50])
    write(tmp_path / "shards" / "b.bin", documents[50:])
    dataset = open_tokens(tmp_path / "shards", str(tmp_path / "tokenizer.json"), heldout_fraction=0.2)
    (source,) = dataset.sources
    streams = [stream.tokens.tolist() for stream in (source.train, source.heldout)]
    texts = [bpe.decode(ids, skip_special_tokens=False).split("<|endoftext|>")[:-1] for ids in streams]
    assert sorted(texts[0] + texts[1]) == sorted(TEXTS)
    n_bytes = [sum(len(text.encode()) for text in side) for side in texts]
    assert [source.train.n_bytes, source.heldout.n_bytes] == n_bytes
    assert n_bytes[1] == pytest.approx(0.2 * sum(n_bytes), rel=0.1)
    assert dataset.bytes_per_token == pytest.approx(n_bytes[1] / len(streams[1]), rel=1e-6)


def test_bytes_of_a_tokenizer_that_is_not_byte_level(tmp_path: Path) -> None:
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    from tokenizers import decoders

    inner.decoder = decoders.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    inner.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=300, special_tokens=["</s>", "<unk>"], show_progress=False)
    )
    inner.save(str(tmp_path / "tokenizer.json"))
    write_nanogpt(tmp_path / "a.bin", encode(inner))
    (source,) = open_tokens(tmp_path / "a.bin", str(tmp_path / "tokenizer.json")).sources
    total = (source.train.n_bytes or 0) + (source.heldout.n_bytes or 0)
    assert total == sum(len(text.encode()) for text in TEXTS)


@pytest.mark.parametrize("write", [write_nanogpt, write_llmc])
def test_of_an_unknown_tokenizer_the_last_tokens_are_held_out(
    tmp_path: Path, bpe: Tokenizer, write: Write
) -> None:
    path, said = write(tmp_path / "a.bin", encode(bpe) * 9), list[str]()
    ids = np.fromfile(path, np.uint16)[512 if write is write_llmc else 0 :]
    source = SourceConfig(name=f"tokens:{path}")
    config = DataConfig(sources=(source,), tokenizer="unknown:400", seq_len=16, heldout_fraction=0.3)
    dataset = prepare(config, 400, on_progress=said.append)
    (tokens,) = dataset.sources
    joined = [*tokens.train.tokens.tolist(), *tokens.heldout.tokens.tolist()]
    assert joined == ids.tolist(), "nothing is put between, and nothing taken away"
    assert 0.3 * len(ids) <= tokens.heldout.n_tokens < 0.3 * len(ids) + 2 * 4096
    assert any("nothing tells its documents apart, so its last tokens are held out" in line for line in said)
    assert dataset.bytes_per_token is None
    assert dataset.describe()["sources"][0]["train_bytes"] is None
    assert len(set(dataset.heldout_documents_W)) > 1


def test_an_index_tells_documents_of_an_unknown_tokenizer(tmp_path: Path, bpe: Tokenizer) -> None:
    write_megatron(tmp_path / "a.bin", encode(bpe))
    (source,) = open_tokens(tmp_path / "a.bin", "unknown:400").sources
    assert source.train.n_documents + source.heldout.n_documents == len(TEXTS)
    assert source.train.n_tokens + source.heldout.n_tokens == sum(len(one) + 1 for one in encode(bpe))


def test_a_shard_of_their_own_is_held_out(tmp_path: Path, bpe: Tokenizer) -> None:
    bpe.save(str(tmp_path / "tokenizer.json"))
    documents = encode(bpe)
    write_llmc(tmp_path / "train.bin", documents[:90])
    write_llmc(tmp_path / "val.bin", documents[90:])
    held = (SourceConfig(name=f"tokens:{tmp_path}/val.bin"),)
    dataset = open_tokens(tmp_path / "train.bin", str(tmp_path / "tokenizer.json"), heldout_sources=held)
    about = dataset.describe()
    assert about["sources"][0]["train_documents"] == 90
    assert about["heldout_sources"][0]["heldout_documents"] == 30


def test_running_tokens_keep_the_order_of_their_files(tmp_path: Path, bpe: Tokenizer) -> None:
    """Another order holds other tokens out, so it is another source."""
    write_nanogpt(tmp_path / "a.bin", encode(bpe)[:60] * 9)
    write_nanogpt(tmp_path / "b.bin", encode(bpe)[60:] * 9)
    before = open_tokens(tmp_path / "*.bin", "unknown:400").sources[0]
    (tmp_path / "a.bin").rename(tmp_path / "c.bin")
    after = open_tokens(tmp_path / "*.bin", "unknown:400").sources[0]
    assert before.identity != after.identity
    assert before.heldout.tokens.tolist() != after.heldout.tokens.tolist()


# ---- refusals


def refuse(path: Path, match: str, tokenizer: str = "unknown:400") -> None:
    with pytest.raises(LoraJaxError, match=match):
        open_tokens(path, tokenizer)


def test_sizes_that_disagree_are_refused(tmp_path: Path, bpe: Tokenizer) -> None:
    path = tmp_path / "a.bin"
    write_nanogpt(path, encode(bpe)).write_bytes(path.read_bytes()[:-1])
    refuse(path, r"a.bin has [\d,]+ bytes, but tokens of two bytes .* cut off or of another type")
    write_llmc(path, encode(bpe)).write_bytes(path.read_bytes()[:-2])
    refuse(path, r"its header promises [\d,]+ tokens, which are [\d,]+ bytes: it is cut off")
    np.array([i for one in encode(bpe) for i in one], np.uint32).tofile(path)
    refuse(path, r"looks like tokens of four bytes without a header")
    header = np.zeros(256, np.int32)
    header[:3] = 20240520, 9, 0
    path.write_bytes(header.tobytes())
    refuse(path, r"version 9 in its header of llm.c")
    whole = write_megatron(path, encode(bpe)).read_bytes()
    path.write_bytes(whole[:-4])
    refuse(
        path, r"its .idx promises [\d,]+ tokens of 4 bytes one after the other: they are not of one data set"
    )
    path.write_bytes(whole)
    index = path.with_suffix(".idx").read_bytes()
    for content, match in (
        (index[:-3], r"a.idx is no index of Megatron \([\d,]+ bytes, its head promises"),
        (b"nothing", r"no index of Megatron \(it does not begin with MMIDIDX"),
        (index[:9] + struct.pack("<Q", 2) + index[17:], r"known \(version 2, type 4\)"),
        (index[:-8] + struct.pack("<q", 7), r"its documents are not all of its sequences"),
    ):
        path.with_suffix(".idx").write_bytes(content)
        refuse(path, match)


@pytest.mark.parametrize("write", WRITERS)
def test_an_id_beyond_the_vocabulary_is_refused(tmp_path: Path, bpe: Tokenizer, write: Write) -> None:
    documents = encode(bpe) * 9
    documents[7][2] = 400
    path = write(tmp_path / "a.bin", documents)
    refuse(path, r"a.bin has the id 400 as token [\d,]+, and .* has 400 tokens")
    open_tokens(path, "unknown:401")


def test_the_tokenizer_must_be_that_of_the_tokens(tmp_path: Path, bpe: Tokenizer) -> None:
    path = write_nanogpt(tmp_path / "a.bin", encode(bpe))
    for tokenizer in ("bytes", "bpe:300"):
        refuse(path, r"is tokens already, and data.tokenizer is not what made them", tokenizer)
    refuse(path, r"tokenizer is 'unknown:x', but it must be 'unknown:SIZE'", "unknown:x")
    (tmp_path / "a.txt").write_text("some text " * 30)
    (tmp_path / "b.txt").write_text("other text " * 30)
    source = SourceConfig(name=f"files:{tmp_path}/*.txt")
    with pytest.raises(LoraJaxError, match="which encodes no text"):
        prepare(DataConfig(sources=(source,), tokenizer="unknown:400", seq_len=16), 512)
    (tmp_path / "notes.txt").write_text("x")
    refuse(tmp_path, r"notes.txt, which is no .bin of tokens|a.txt, which is no .bin of tokens")
