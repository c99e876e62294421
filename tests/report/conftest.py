"""A results folder as a sweep would leave it: 6 sizes x 5 token counts whose losses obey a known law.

L = E + A N^-alpha + B D^-beta with noise of 0.5 % (and less between seeds), three seeds in one cell, one
diverged run and one grid of learning rates.
"""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from lora_jax.config import ModelConfig, OptimConfig, RunConfig, run_id, to_dict
from lora_jax.runs.record import RunRecord
from lora_jax.runs.store import RunStore
from lora_jax.scaling.documents import write_fits
from lora_jax.scaling.sweep import fit_sweep
from lora_jax.scaling.tables.table import read_table
from lora_jax.training.schedules import peak_learning_rate

LAW = {"E": 1.1, "A": 14.0, "alpha": 0.34, "B": 60.0, "beta": 0.33}
SIZES = [(16, 1), (24, 2), (32, 3), (48, 4), (64, 6), (96, 8)]  # d_model, n_layers
TOKENS = [2**k * 65_536 for k in range(5)]
QUESTION = """A sweep that was not trained: losses from a known law. <b>Not bold.</b>

Question: does the report show what the fits found?
Command:  lora-jax report results/synthetic
"""


def loss_of(n_params: float, n_tokens: float) -> float:
    return LAW["E"] + LAW["A"] * n_params ** -LAW["alpha"] + LAW["B"] * n_tokens ** -LAW["beta"]


def make_config(width: int, layers: int, n_tokens: int, seed: int, rate: float) -> RunConfig:
    model = ModelConfig(d_model=width, n_layers=layers, n_heads=2, vocab_size=256, context=128)
    return RunConfig(model=model, optim=OptimConfig(learning_rate=rate), n_tokens=n_tokens, seed=seed)


def make_record(config: RunConfig, noise: float, diverged: bool = False) -> RunRecord:
    m = config.model
    n_params = 12 * m.n_layers * m.d_model**2
    with_head = n_params + m.vocab_size * m.d_model
    total = with_head + m.context * m.d_model
    penalty = 0.02 * math.log2(config.optim.learning_rate / 1e-2) ** 2
    loss = None if diverged else loss_of(n_params, config.n_tokens) * math.exp(noise) + penalty
    return RunRecord(
        run_id=run_id(config),
        sweep="synthetic",
        status="diverged" if diverged else "done",
        config=to_dict(config),
        data={"tokenizer": "bytes", "fingerprint": "<abc>"},
        seed=config.seed,
        n_params=n_params,
        n_params_with_head=with_head,
        n_params_total=total,
        n_tokens=config.n_tokens,
        unique_tokens=config.n_tokens,
        epochs=0.4,
        flops=6.0 * with_head * config.n_tokens,
        flops_exact=6.6 * with_head * config.n_tokens,
        train_loss=None if loss is None else loss - 0.02,
        heldout_loss=loss,
        heldout_loss_se=None if loss is None else 0.008,
        bits_per_byte=None if loss is None else loss / math.log(2),
        cooled=not diverged,
        learning_rate=peak_learning_rate(config),
        n_steps=config.n_steps,
        diverged_at=40 if diverged else None,
        wall_seconds=12.5,
        trained_tokens=config.n_tokens,
        tokens_per_second=60_000.0,
        device="cpu, 2 cores",
        versions={"jax": "0.10.2", "python": "3.11"},
        git_commit="0123456789abcdef",
        created_at="2025-01-01T00:00:00+00:00",
    )


def make_records() -> list[RunRecord]:
    rng = np.random.default_rng(0)
    records = []
    for width, layers in SIZES:
        for n_tokens in TOKENS:
            seeds = range(3) if (width, n_tokens) == (32, TOKENS[2]) else range(1)
            for seed in seeds:
                config = make_config(width, layers, n_tokens, seed, 1e-2)
                records.append(make_record(config, 0.005 * rng.standard_normal()))
    for rate in (2.5e-3, 5e-3, 2e-2, 4e-2):
        records.append(make_record(make_config(32, 3, TOKENS[1], 0, rate), 0.005 * rng.standard_normal()))
    records.append(make_record(make_config(64, 6, TOKENS[1], 0, 3e-1), 0.0, diverged=True))
    return records


def make_curve(record: RunRecord, rng: np.random.Generator) -> list[dict[str, float]]:
    last = record.diverged_at or record.n_steps
    rows = []
    for step in np.unique(np.geomspace(1, last, 60).astype(int)):
        seen = step * record.n_tokens / record.n_steps
        loss = min(5.6, loss_of(record.n_params, seen)) * math.exp(0.01 * rng.standard_normal())
        flops = record.flops_exact * step / record.n_steps
        rows.append(
            {"step": int(step), "n_tokens": int(seen), "flops": flops, "loss": loss, "learning_rate": 0.01}
        )
    return rows


def write_folder(folder: Path) -> Path:
    records = make_records()
    rng = np.random.default_rng(1)
    store = RunStore(folder)
    store.claim(
        {
            "name": "synthetic",
            "question": QUESTION,
            "command": "launch.sh scaling configs/synthetic.py",
            "run_ids": [r.run_id for r in records],
            "overrides": [],
            "data": {},
        }
    )
    for record in records:
        store.write(record, make_curve(record, rng))
    write_fits(folder / "fits.json", fit_sweep(read_table(folder), n_bootstrap=100))
    return folder


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory) -> Path:
    """A results folder without figures and page, which tests only read."""
    return write_folder(tmp_path_factory.mktemp("results") / "synthetic")


@pytest.fixture
def fresh(synthetic, tmp_path) -> Path:
    """A results folder that a test may spoil."""
    return Path(shutil.copytree(synthetic, tmp_path / "fresh"))
