"""A killed tokenising goes on where it was; a spool that was damaged since is made again from there."""

import contextlib
import fcntl
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lora_jax.config import DataConfig, SourceConfig
from lora_jax.data import encoding, prepare, progress
from lora_jax.data.spool import Spool, spool_folder
from lora_jax.data.tokenizers import ByteTokenizer

Write = Callable[..., SourceConfig]
IDS = np.dtype(np.uint16)


def fill(folder: Path, n_parts: int) -> list[np.ndarray]:
    """Write parts of 5 documents of random lengths."""
    draw = np.random.default_rng(0)
    documents = [draw.integers(0, 2**16, n, IDS) for n in draw.integers(0, 50, 5 * n_parts)]
    spool = Spool(folder, IDS)
    for part in range(n_parts):
        spool.write(documents[5 * part : 5 * part + 2], np.arange(2))
        spool.write(documents[5 * part + 2 : 5 * part + 5], np.arange(3))
        spool.end_part()
    spool.write([np.zeros(7, IDS)], np.array([7]))  # of a part that never ended
    spool.close()
    return documents


def test_a_spool_holds_its_whole_parts(tmp_path: Path) -> None:
    documents = fill(tmp_path, 3)
    with contextlib.closing(Spool(tmp_path, IDS)) as spool:
        assert spool.n_documents == 15
        lengths = spool.read_documents()["n_tokens"]
        assert lengths.tolist() == [len(one) for one in documents]
        places = zip((np.cumsum(lengths) - lengths).tolist(), lengths.tolist(), strict=True)
        assert [spool.read_tokens(*place) for place in places] == [one.tobytes() for one in documents]


@pytest.mark.parametrize("name", ["tokens", "documents", "parts.json"])
def test_a_damaged_part_and_those_behind_it_are_left_out(tmp_path: Path, name: str) -> None:
    documents = fill(tmp_path, 3)
    second_part = {"tokens": 2 * sum(map(len, documents[:5])), "documents": 5 * 16, "parts.json": 40}
    content = bytearray((tmp_path / name).read_bytes())
    content[second_part[name]] ^= 0x41
    (tmp_path / name).write_bytes(content)
    with contextlib.closing(Spool(tmp_path, IDS)) as spool:
        assert spool.n_documents == (0 if name == "parts.json" else 5)
        assert len(spool.read_documents()) == spool.n_documents


def test_a_spool_of_another_type_begins_anew(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with contextlib.closing(Spool(tmp_path, np.dtype(np.uint32))) as spool:
        assert spool.n_documents == 0


def test_a_folder_is_one_process_s_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with spool_folder(tmp_path, "key") as first, spool_folder(tmp_path, "key") as second:
        assert first.name == "key"
        assert second.name != "key"
    assert list((tmp_path / "spools").iterdir()) == []
    flock = fcntl.flock

    def too_late(handle: int, how: int) -> None:
        shutil.rmtree(tmp_path / "spools" / "key")
        (tmp_path / "spools" / "key").mkdir()
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    with spool_folder(tmp_path, "key") as folder:
        assert folder.name != "key", "its owner has removed it, and another may hold the new one"


def test_a_killed_tokenising_goes_on(
    tmp_path: Path, write_documents: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_documents(tmp_path / "text", n=40, n_words=60)
    config = DataConfig(sources=(source,), seq_len=16)
    expected = prepare(config, 256, tmp_path / "other")
    monkeypatch.setattr(encoding, "PART_BYTES", 5000)
    monkeypatch.setattr(encoding, "BATCH_BYTES", 1000)
    encode, seen = ByteTokenizer.encode_batch, list[str]()

    def kill(self: ByteTokenizer, texts: list[str]) -> list[np.ndarray]:
        seen.extend(texts)
        if len(seen) > 25:
            raise KeyboardInterrupt
        return encode(self, texts)

    with monkeypatch.context() as patch:
        patch.setattr(ByteTokenizer, "encode_batch", kill)
        with pytest.raises(KeyboardInterrupt):
            prepare(config, 256)
    again, said = list[str](), list[str]()

    def count(self: ByteTokenizer, texts: list[str]) -> list[np.ndarray]:
        again.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(ByteTokenizer, "encode_batch", count)
    monkeypatch.setattr(progress, "SAY_SECONDS", 0.0)
    dataset = prepare(config, 256, on_progress=said.append)
    told = "".join(f"{line}\n" for line in said)
    assert re.search(
        rf"reading {re.escape(source.name)}: 39 of 40 documents, [\d,.]+ documents/s, 0 s left\n", told
    )
    assert re.search(rf"tokenising {re.escape(source.name)}: 0 of 0 MB, [\d.]+ MB/s, 0 s left\n", told)
    assert 0 < len(again) < 30
    assert any(", from 0 MB on" in line for line in said)
    for side in ("train", "heldout"):
        found, wanted = getattr(dataset.sources[0], side), getattr(expected.sources[0], side)
        assert bytes(found.tokens) == bytes(wanted.tokens)
        assert bytes(found.documents) == bytes(wanted.documents)
    assert list((tmp_path / "cache" / "spools").iterdir()) == []
