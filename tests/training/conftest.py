"""A small real corpus, prepared once: the project's own licence text, cut into documents."""

from pathlib import Path

import pytest

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig, SourceConfig
from lora_jax.data import Dataset, prepare
from tests.licence import write_licence


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_licence(tmp_path_factory.mktemp("corpus"), 8)


@pytest.fixture(scope="session")
def base(corpus: Path) -> RunConfig:
    return RunConfig(
        model=ModelConfig(d_model=16, n_layers=2, n_heads=2, vocab_size=256, context=32, **LLAMA),
        data=DataConfig(sources=(SourceConfig(name=f"files:{corpus}/*.txt"),), seq_len=32, max_epochs=100.0),
        optim=OptimConfig(batch_size=4, warmup_steps=4),
        n_tokens=50 * 4 * 32,
    )


@pytest.fixture(scope="session")
def dataset(base: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(base.data, base.model.vocab_size, tmp_path_factory.mktemp("cache"))
