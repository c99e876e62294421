"""Small corpora of real files, and one token store of the State of the Union for the whole session."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lora_jax.config import DataConfig, SourceConfig
from lora_jax.data import Dataset, prepare

WORDS = ("liberty", "treasury", "the", "of", "and", "congress", "héros", "国", "peace", "1812", "—", "\n\n")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, with no prepared sets of the user's in sight."""
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("LORA_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_folder(folder: Path, n: int, n_words: int, seed: int = 0) -> SourceConfig:
    """Write `n` different text files of random words and return the source that names them."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for row in range(n):
        words = rng.choice(WORDS, n_words)
        numbers = rng.integers(0, 10**6, n_words)
        text = " ".join(f"{word} {number}" for word, number in zip(words, numbers, strict=True))
        (folder / f"{row:03}.txt").write_text(text, encoding="utf-8")
    return SourceConfig(name=f"files:{folder}/*.txt")


@pytest.fixture
def write_documents() -> Callable[..., SourceConfig]:
    """Return the function (folder, n, n_words, seed=0) that writes text files and names them as a source."""
    return write_folder


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Dataset]:
    """Return a function that prepares a corpus of 20 files; its arguments are DataConfig's."""

    def make(**fields: object) -> Dataset:
        source = write_folder(tmp_path / "text", n=20, n_words=150)
        config = DataConfig(**({"sources": (source,), "seq_len": 16} | fields))  # pyright: ignore[reportArgumentType]
        return prepare(config, vocab_size=512)

    return make


@pytest.fixture(scope="session")
def sotu_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that holds the State of the Union prepared and tokenised as bytes."""
    folder = tmp_path_factory.mktemp("sotu-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TFDS_DATA_DIR", raising=False)
        prepare(DataConfig(), vocab_size=256, cache_dir=folder)
    return folder
