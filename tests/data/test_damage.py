"""What is damaged in the cache is made again, or told: no batch is ever another than it was."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lora_jax.config import DataConfig, SourceConfig
from lora_jax.data import Dataset, prepare
from lora_jax.data.blocks import BLOCK_BYTES, CheckedArray, hash_blocks
from lora_jax.data.documents import Chained
from lora_jax.data.tfds import SetDocuments, find_prepared, parse_name
from lora_jax.digests import MANIFEST
from lora_jax.errors import Damaged, LoraJaxError

SOTU_ROWS = 249


@pytest.fixture
def config(tmp_path: Path, write_documents: Callable[..., SourceConfig]) -> DataConfig:
    source = write_documents(tmp_path / "text", n=20, n_words=150)
    return DataConfig(sources=(source,), seq_len=16, heldout_fraction=0.3)


def numbers_of(dataset: Dataset) -> bytes:
    """Everything that training takes from a dataset, as bytes."""
    dataset.batch(0, 2, 0)  # some blocks are read before the others
    batches = [dataset.batch(step, 16, 1) for step in range(dataset.unique_tokens // 16 // 16 + 1)]
    heldout = (dataset.heldout_WT, dataset.heldout_documents_W, np.float64(dataset.bytes_per_token))
    return b"".join(np.asarray(array).tobytes() for array in (*batches, *heldout))


def cached_files(cache: Path) -> Iterator[Path]:
    return (path for path in sorted(cache.rglob("*")) if path.is_file())


def flip(path: Path, place: int, mask: int = 0x41) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= mask
    path.write_bytes(content)


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:300"])
def test_a_byte_flipped_anywhere_in_the_cache_changes_no_number(
    config: DataConfig, cache: Path, tokenizer: str
) -> None:
    import dataclasses

    config = dataclasses.replace(config, tokenizer=tokenizer)
    said: list[str] = []
    expected = numbers_of(prepare(config, 512))
    draw = np.random.default_rng(0)
    names = [path.relative_to(cache) for path in cached_files(cache)]
    assert {name.parts[0] for name in names} >= {"tokens"} | (
        {"tokenizers"} if tokenizer != "bytes" else set()
    )
    for name in names:
        for place in draw.integers(0, (cache / name).stat().st_size, 4):
            whole = (cache / name).read_bytes()
            flip(cache / name, int(place))
            dataset = prepare(config, 512, on_progress=said.append)
            assert numbers_of(dataset) == expected, f"byte {place} of {name}"
            assert dataset.describe() == prepare(config, 512).describe()
            if (cache / name).read_bytes() != whole:  # it was without effect and is left as it is
                (cache / name).write_bytes(whole)
    assert any("made again" in line for line in said)


@pytest.mark.parametrize("when", ["before it is opened", "while it is read"])
def test_damaged_tokens_are_made_again_with_a_note(config: DataConfig, cache: Path, when: str) -> None:
    expected = numbers_of(prepare(config, 256))
    (path,) = cache.glob("tokens/*/0-train.tokens")
    said: list[str] = []
    if when == "while it is read":
        dataset = prepare(config, 256, on_progress=said.append)
        flip(path, path.stat().st_size // 2)
    else:
        flip(path, path.stat().st_size // 2)
        dataset = prepare(config, 256, on_progress=said.append)
        assert said == [], "opening a store does not read its tokens"
    assert numbers_of(dataset) == expected
    assert said[0] == f"{path} is damaged: the tokens are made again from the text"
    said.clear()
    assert numbers_of(prepare(config, 256, on_progress=said.append)) == expected
    assert said == []


def test_a_store_of_an_older_version_is_made_again(config: DataConfig, cache: Path) -> None:
    expected = numbers_of(prepare(config, 256))
    (store,) = cache.glob("tokens/*")
    meta = json.loads((store / "meta.json").read_text())
    del meta["digest"], meta["hashes"]
    (store / "meta.json").write_text(json.dumps(meta))
    for path in store.glob("*.hashes"):
        path.unlink()
    flip(store / "0-train.tokens", 100)
    said: list[str] = []
    assert numbers_of(prepare(config, 256, on_progress=said.append)) == expected
    assert "an older version wrote it without hashes: it is made again" in said[0]


def test_text_that_changed_meanwhile_is_not_mixed_in(config: DataConfig, cache: Path, tmp_path: Path) -> None:
    dataset = prepare(config, 256)
    for path in (tmp_path / "text").glob("*.txt"):
        path.write_text(path.read_text().replace("e", "f"))
    (tokens,) = cache.glob("tokens/*/0-train.tokens")
    flip(tokens, 10)
    with pytest.raises(LoraJaxError, match=r"holds another text than when it was split"):
        numbers_of(dataset)


def test_a_damaged_index_of_files_is_read_again(
    config: DataConfig, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its identity flipped would name another text."""
    import os

    for path in (tmp_path / "text").glob("*.txt"):
        os.utime(path, (1e9, 1e9))
    expected = prepare(config, 256).sources[0].identity
    (index,) = cache.glob("files/*.json")
    index.write_text(index.read_text().replace(expected, "0" * len(expected)))
    assert prepare(config, 256).sources[0].identity == expected
    monkeypatch.setattr(Chained, "read", None)
    assert prepare(config, 256).sources[0].identity == expected


def test_a_block_is_read_once_and_the_others_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tokens"
    content = np.random.default_rng(0).integers(0, 2**16, 40 * BLOCK_BYTES // 2, np.uint16)
    path.write_bytes(content.tobytes())
    array = CheckedArray(
        path, content.dtype, hash_blocks(path), lambda damaged: pytest.fail("nothing is damaged")
    )
    checked: list[int] = []
    agree = CheckedArray._agree

    def count(self: CheckedArray, blocks: np.ndarray) -> bool:
        checked.extend(blocks.tolist())
        return agree(self, blocks)

    monkeypatch.setattr(CheckedArray, "_agree", count)
    half = BLOCK_BYTES // 2
    for _ in range(2):
        index = np.array([[5 * half - 1, 5 * half], [7, 8]])
        assert (array.take(index) == content[index]).all()
    assert sorted(checked) == [0, 4, 5]
    assert (array.read_all() == content).all()
    assert sorted(checked) == list(range(40))


@pytest.mark.slow
def test_a_large_store_opens_at_once(tmp_path: Path) -> None:
    """Ten times the size, opened in about the same time: 2 GB with its hashes, the file sparse."""
    path, n_bytes = tmp_path / "tokens", 2 * 10**9 // BLOCK_BYTES * BLOCK_BYTES
    with path.open("wb") as file:
        file.truncate(n_bytes)
    one = tmp_path / "one"
    one.write_bytes(bytes(BLOCK_BYTES))
    hashes = np.repeat(hash_blocks(one), n_bytes // BLOCK_BYTES)
    started = time.perf_counter()
    array = CheckedArray(path, np.dtype(np.uint16), hashes, lambda damaged: None)
    assert (array.take(np.arange(129) + n_bytes // 4) == 0).all()
    assert time.perf_counter() - started < 0.2


# ---- prepared sets


def test_a_damaged_shard_or_description_of_a_prepared_set_is_told(tmp_path: Path) -> None:
    """Opened with no store in the cache: the text itself is read."""
    prepare(DataConfig(), 256, tmp_path)
    folder = find_prepared(parse_name("sotu"), tmp_path / "tensorflow_datasets")
    assert folder is not None
    assert (folder / MANIFEST).is_file()
    for path in (path for path in sorted(folder.iterdir()) if path.name not in (MANIFEST, "LICENSE")):
        whole = path.read_bytes()
        for place in (0, len(whole) // 3, len(whole) - 1):
            flip(path, place)
            with pytest.raises(Damaged, match=f"{path.name} is damaged: delete .* and start again"):
                _read_anew(tmp_path, folder)
            path.write_bytes(whole)
        path.unlink()
        if path.name == "dataset_info.json":  # then it is no prepared set, and is prepared again
            path.write_bytes(whole)
            continue
        with pytest.raises(Damaged, match=f"{path.name} is damaged"):
            _read_anew(tmp_path, folder)
        path.write_bytes(whole)
    (folder / MANIFEST).unlink()  # of an older version
    assert len(_read_anew(tmp_path, folder)) == SOTU_ROWS


def _read_anew(cache: Path, folder: Path) -> SetDocuments:
    from lora_jax.data.tfds import prepare_set

    assert prepare_set(parse_name("sotu"), cache / "tensorflow_datasets", lambda line: None) == folder
    return SetDocuments(folder, "train", "text")
