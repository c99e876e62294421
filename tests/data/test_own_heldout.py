"""Held-out text of the user's own: all of it and nothing else is held out, and none of it is trained on."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lora_jax.config import DataConfig, SourceConfig, to_dict
from lora_jax.data import Dataset, prepare
from lora_jax.errors import LoraJaxError

Write = Callable[..., SourceConfig]


def windows_of(text: bytes, n: int = 17) -> set[bytes]:
    tokens = np.frombuffer(text, np.uint8).astype(np.int32)
    return {tokens[i : i + n].tobytes() for i in range(0, len(tokens) - n + 1, n - 1)}


@pytest.fixture
def named(tmp_path: Path, write_documents: Write) -> dict[str, tuple[SourceConfig, ...]]:
    """One source of 20 documents to train on, two of 6 and of 1 that are held out."""
    held = [
        write_documents(tmp_path / "held", n=6, n_words=90, seed=1),
        SourceConfig(name=f"files:{tmp_path}/one.txt"),
    ]
    (tmp_path / "one.txt").write_text("another text " * 40)
    train = write_documents(tmp_path / "train", n=20, n_words=150)
    return {"sources": (train,), "heldout_sources": tuple(held)}


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:300"])
def test_all_of_it_is_held_out_and_all_else_trained_on(
    named: dict[str, tuple[SourceConfig, ...]], tmp_path: Path, tokenizer: str
) -> None:
    config = DataConfig(**named, seq_len=16, tokenizer=tokenizer)  # pyright: ignore[reportArgumentType]
    for dataset in (prepare(config, 300), prepare(config, 300)):
        about = json.loads(json.dumps(dataset.describe()))
        (source,) = about["sources"]
        assert (source["train_documents"], source["heldout_documents"]) == (20, 0)
        held = about["heldout_sources"]
        assert [one["heldout_documents"] for one in held] == [6, 1]
        files = [p.stat().st_size for p in (tmp_path / "held").iterdir()]
        assert held[0]["heldout_bytes"] == sum(files)


def test_windows_are_of_the_named_text(named: dict[str, tuple[SourceConfig, ...]]) -> None:
    dataset = prepare(DataConfig(**named, seq_len=16), 256)  # pyright: ignore[reportArgumentType]
    assert isinstance(dataset, Dataset)
    streams = [bytes(source.heldout.tokens) for source in dataset._heldout_sources]
    allowed = [windows_of(stream) for stream in streams]
    found = [window.tobytes() for window in dataset.heldout_WT]
    counts = [sum(window in windows for window in found) for windows in allowed]
    assert sum(counts) == len(found)
    assert abs(counts[0] - counts[1]) <= 1, "equal weights"
    assert len(set(dataset.heldout_documents_W)) == 7


def test_a_document_on_both_sides_is_refused(
    named: dict[str, tuple[SourceConfig, ...]], tmp_path: Path
) -> None:
    copy = tmp_path / "held" / "copy.txt"
    copy.write_bytes((tmp_path / "train" / "003.txt").read_bytes())
    with pytest.raises(
        LoraJaxError, match=r"1 of 7 documents of 'files:.*held.*' in data.heldout_sources are in"
    ):
        prepare(DataConfig(**named, seq_len=16), 256)  # pyright: ignore[reportArgumentType]


def test_documents_of_two_sources_are_counted(tmp_path: Path, write_documents: Write) -> None:
    one = write_documents(tmp_path / "one", n=8, n_words=60)
    two = write_documents(tmp_path / "two", n=5, n_words=60)  # the first five
    said: list[str] = []
    prepare(DataConfig(sources=(one, two), seq_len=16), 256, on_progress=said.append)
    assert f"{one.name} and {two.name} share 5 documents of equal text, which are drawn from both" in said


def test_a_fraction_beside_named_text_is_refused() -> None:
    with pytest.raises(LoraJaxError, match=r"heldout_fraction is 0.1 and data.heldout_sources is given"):
        DataConfig(heldout_fraction=0.1, heldout_sources=(SourceConfig(),))


def test_a_config_without_it_keeps_its_identity() -> None:
    assert "heldout_sources" not in to_dict(DataConfig())
    assert "heldout_sources" in to_dict(DataConfig(heldout_sources=(SourceConfig(name="files:a"),)))
