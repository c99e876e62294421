"""The split is by document and the store is whole or absent."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lora_jax.config import DataConfig, SourceConfig
from lora_jax.data import Dataset, files, prepare, tokens
from lora_jax.data.documents import Chained
from lora_jax.data.tokenizers import ByteTokenizer
from lora_jax.data.tokens import TokenStream
from lora_jax.errors import LoraJaxError

Make = Callable[..., Dataset]
Write = Callable[..., SourceConfig]


def documents_of(stream: TokenStream) -> list[bytes]:
    """The texts of a byte stream, cut at the separators."""
    return bytes(stream.tokens).split(b"\0")[:-1]


def test_every_document_lies_whole_on_one_side(
    make_dataset: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "DOCUMENTS", 7)  # placed together
    for fraction in (1e-6, 0.05, 0.5, 0.999):
        (source,) = make_dataset(heldout_fraction=fraction).sources
        train, heldout = documents_of(source.train), documents_of(source.heldout)
        files = [p.read_bytes() for p in (tmp_path / "text").glob("*.txt")]
        assert sorted(train + heldout) == sorted(files)
        assert train
        assert heldout
        starts = np.cumsum([0] + [len(d) + 1 for d in train])[:-1]
        assert source.train.documents["start"].tolist() == starts.tolist()


def test_the_heldout_side_just_reaches_its_fraction(make_dataset: Make) -> None:
    (source,) = make_dataset(heldout_fraction=0.3).sources
    assert source.train.n_bytes is not None
    assert source.heldout.n_bytes is not None
    total = source.train.n_bytes + source.heldout.n_bytes
    last = len(documents_of(source.heldout)[-1])
    assert source.heldout.n_bytes >= 0.3 * total > source.heldout.n_bytes - last


def test_the_split_depends_on_contents_and_not_on_names_or_order(
    tmp_path: Path, write_documents: Write
) -> None:
    one = write_documents(tmp_path / "one", n=12, n_words=100)
    (tmp_path / "two").mkdir()
    for row, path in enumerate(sorted((tmp_path / "one").glob("*.txt"), reverse=True)):
        (tmp_path / "two" / f"{row}-{path.name}").write_bytes(path.read_bytes())
    two = SourceConfig(name=f"files:{tmp_path}/two/*")
    stores = [prepare(DataConfig(sources=(s,), seq_len=16), 256).sources[0] for s in (one, two)]
    assert stores[0].identity == stores[1].identity
    assert (stores[0].train.tokens == stores[1].train.tokens).all()


@pytest.mark.parametrize("seed", range(4))
def test_copies_of_a_document_stay_on_one_side_across_sources(
    tmp_path: Path, write_documents: Write, seed: int
) -> None:
    """A small source holds one of its two documents out; the large one, which has both, must follow."""
    small = write_documents(tmp_path / "small", n=2, n_words=50, seed=seed)
    large = write_documents(tmp_path / "large", n=20, n_words=50, seed=100 + seed)
    for path in (tmp_path / "small").glob("*.txt"):
        for copy in ("one", "two"):
            (tmp_path / "large" / f"{copy}-{path.name}").write_bytes(path.read_bytes())
    dataset = prepare(DataConfig(sources=(small, large), seq_len=16, heldout_fraction=0.05), 256)
    train = {d for s in dataset.sources for d in documents_of(s.train)}
    heldout = {d for s in dataset.sources for d in documents_of(s.heldout)}
    assert not train & heldout
    assert len(train | heldout) == 22


@pytest.mark.parametrize("copies", [1, 3])
def test_a_single_document_cannot_be_split(tmp_path: Path, copies: int) -> None:
    for i in range(copies):
        (tmp_path / f"{i}.txt").write_text("the same text")
    with pytest.raises(LoraJaxError, match=r"has 1 document of different content and a second one is needed"):
        prepare(DataConfig(sources=(SourceConfig(name=f"files:{tmp_path}/*.txt"),)), 256)


def test_a_warm_cache_reads_no_document(make_dataset: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for tokenizer in ("bytes", "bpe:300"):
        cold = make_dataset(tokenizer=tokenizer)
        with monkeypatch.context() as patch:
            patch.setattr(Chained, "read", None)
            warm = make_dataset(tokenizer=tokenizer)
        assert (warm.batch(3, 4, 0) == cold.batch(3, 4, 0)).all()


def test_unchanged_files_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_documents: Write
) -> None:
    source = write_documents(tmp_path / "text", n=5, n_words=50)
    config = DataConfig(sources=(source,), seq_len=16)
    paths = sorted((tmp_path / "text").glob("*.txt"))
    for path in paths:
        os.utime(path, (1e9, 1e9))
    cold = prepare(config, 256)
    with monkeypatch.context() as patch:
        patch.setattr(files, "hash_file", None)
        assert prepare(config, 256).sources[0].identity == cold.sources[0].identity
    paths[0].write_text("something else of another length")
    assert prepare(config, 256).sources[0].identity != cold.sources[0].identity


def stores_of(cache: Path) -> list[Path]:
    return sorted((cache / "tokens").iterdir())


def test_a_damaged_store_is_made_again(make_dataset: Make, cache: Path) -> None:
    expected = bytes(make_dataset().sources[0].train.tokens)
    (store,) = stores_of(cache)
    for damage in ("0-train.tokens", "meta.json"):
        path = store / damage
        path.write_bytes(path.read_bytes()[:-10])
        assert bytes(make_dataset().sources[0].train.tokens) == expected
    (store / "0-heldout.documents").unlink()
    assert bytes(make_dataset().sources[0].train.tokens) == expected
    assert stores_of(cache) == [store], "nothing else may be left behind"


def test_an_interrupted_writer_leaves_nothing(
    make_dataset: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: object, texts: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ByteTokenizer, "encode_batch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            make_dataset()
    assert stores_of(cache) == []
    assert make_dataset().unique_tokens > 0


def test_a_killed_writers_folder_is_never_read(make_dataset: Make, cache: Path) -> None:
    expected = make_dataset().batch(0, 8, 0)
    (store,) = stores_of(cache)
    (store / "meta.json").unlink()  # written last
    store.rename(store.with_name(f".{store.name}.killed"))
    assert (make_dataset().batch(0, 8, 0) == expected).all()


def test_whoever_publishes_first_stays(
    make_dataset: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second process that finishes while we write the same store costs us nothing but the work."""
    encode = ByteTokenizer.encode_batch
    inside = []

    def race(self: ByteTokenizer, texts: list[str]) -> list[np.ndarray]:
        if not inside:
            inside.append(True)
            make_dataset()
        return encode(self, texts)

    monkeypatch.setattr(ByteTokenizer, "encode_batch", race)
    dataset = make_dataset()
    assert len(stores_of(cache)) == 1
    assert len(dataset.sources[0].train.tokens) > 0


def test_a_full_disk_is_explained(make_dataset: Make, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LoraJaxError, match=r"cache folder is .*its disk is full.*LORA_JAX_CACHE"):
        make_dataset()
    assert stores_of(cache) == []


def test_a_cache_that_cannot_be_a_folder_is_explained(make_dataset: Make, cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(LoraJaxError, match=r"cannot be written .*LORA_JAX_CACHE"):
        make_dataset()
