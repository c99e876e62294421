"""A small real corpus (the project's own licence text, in documents), tiny runs on it, and their records."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig, SourceConfig, to_dict
from lora_jax.config import run_id as name_run
from lora_jax.data import Dataset, prepare
from lora_jax.runs.record import RunRecord
from tests.licence import write_licence


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_licence(tmp_path_factory.mktemp("corpus"), 8)


@pytest.fixture(scope="session")
def base(corpus: Path) -> RunConfig:
    return RunConfig(
        model=ModelConfig(d_model=8, n_layers=1, n_heads=1, vocab_size=256, context=16, **LLAMA),
        data=DataConfig(
            sources=(SourceConfig(name=f"files:{corpus}/*.txt"),),
            seq_len=16,
            max_epochs=100.0,
            heldout_fraction=0.3,  # several documents, for a standard error between them
        ),
        optim=OptimConfig(batch_size=4, warmup_steps=4),
        n_tokens=20 * 4 * 16,
    )


@pytest.fixture(scope="session")
def dataset(base: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(base.data, base.model.vocab_size, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def make_record(base: RunConfig) -> Callable[..., RunRecord]:
    """Return a function that makes the record of a run; `run` and any field may be given."""

    def make(run: RunConfig = base, **fields: object) -> RunRecord:
        record = RunRecord(
            run_id=name_run(run),
            sweep="tiny",
            status="done",
            config=to_dict(run),
            data={"tokenizer": "bytes"},
            seed=run.seed,
            n_params=100,
            n_params_with_head=200,
            n_params_total=300,
            n_tokens=run.n_tokens,
            unique_tokens=run.n_tokens,
            epochs=0.5,
            flops=1.5e6,
            flops_exact=2.5e6,
            train_loss=3.25,
            heldout_loss=3.5,
            heldout_loss_se=None,
            bits_per_byte=5.0,
            cooled=True,
            learning_rate=0.0125,
            n_steps=run.n_steps,
            diverged_at=None,
            wall_seconds=1.5,
            trained_tokens=run.n_tokens,
            tokens_per_second=None,
            device="cpu",
            versions={"jax": "0"},
            git_commit=None,
            created_at="2025-01-01T00:00:00+00:00",
        )
        return dataclasses.replace(record, **fields)

    return make
