"""A sweep of many runs that nobody trained: valid configs, records and curves, whose losses obey a law."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lora_jax.config import ModelConfig, OptimConfig, RunConfig, run_id, to_dict
from lora_jax.model.declare import count_parameters, flops_per_token
from lora_jax.runs.record import RunRecord
from lora_jax.runs.recording import CURVE_POINTS
from lora_jax.runs.store import RunStore
from lora_jax.training.schedules import peak_learning_rate

SIZES, LENGTHS, SEEDS, RATES = 20, 20, 5, (2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2)
BEST_RATE = 1e-2
N_RUNS = SIZES * LENGTHS * SEEDS * len(RATES)

Curve = list[dict[str, float]]


def list_runs(n: int = N_RUNS) -> list[RunConfig]:
    """Return n of the N_RUNS runs, spread evenly over sizes and lengths."""
    models = [
        ModelConfig(d_model=16 * (i + 1), n_layers=1 + i // 3, n_heads=2, vocab_size=256, context=128)
        for i in range(SIZES)
    ]
    runs = [
        RunConfig(
            model=model, optim=OptimConfig(learning_rate=rate), n_tokens=65_536 + 16_384 * i**2, seed=seed
        )
        for model in models
        for i in range(LENGTHS)
        for seed in range(SEEDS)
        for rate in RATES
    ]
    return [runs[i * N_RUNS // n] for i in range(n)]


def claim(folder: Path, runs: list[RunConfig]) -> RunStore:
    """Make a results folder for the runs."""
    store = RunStore(folder)
    store.claim(
        {
            "name": "large",
            "question": "",
            "command": "./launch.sh bench --only store",
            "run_ids": [run_id(run) for run in runs],
            "overrides": [],
            "data": {},
        }
    )
    return store


def make_results(runs: list[RunConfig]) -> Iterator[tuple[RunRecord, Curve]]:
    """Give the record and the curve of each run, as training would leave them."""
    rng = np.random.default_rng(0)
    for run in runs:
        yield _make_record(run, 0.005 * rng.standard_normal()), _make_curve(run, rng)


def _loss(n_params: float, n_tokens: float) -> float:
    return 1.1 + 14 * n_params**-0.34 + 60 * n_tokens**-0.33


def _make_record(run: RunConfig, noise: float) -> RunRecord:
    counts, per_token = count_parameters(run.model), float(flops_per_token(run.model, run.data.seq_len))
    off = math.log2(run.optim.learning_rate / BEST_RATE)
    loss = _loss(counts.non_embedding, run.n_tokens) * math.exp(noise) + 0.02 * off**2
    return RunRecord(
        run_id=run_id(run),
        sweep="large",
        status="done",
        config=to_dict(run),
        data={"tokenizer": "bytes"},
        seed=run.seed,
        n_params=counts.non_embedding,
        n_params_with_head=counts.with_head,
        n_params_total=counts.total,
        n_tokens=run.n_tokens,
        unique_tokens=run.n_tokens,
        epochs=0.5,
        flops=6.0 * counts.with_head * run.n_tokens,
        flops_exact=per_token * run.n_tokens,
        train_loss=loss - 0.02,
        heldout_loss=loss,
        heldout_loss_se=0.008,
        bits_per_byte=loss / math.log(2),
        cooled=True,
        learning_rate=peak_learning_rate(run),
        n_steps=run.n_steps,
        diverged_at=None,
        wall_seconds=12.5,
        trained_tokens=run.n_tokens,
        tokens_per_second=6e4,
        device="cpu",
        versions={"jax": "0", "python": "3"},
        git_commit=None,
        created_at="2025-01-01T00:00:00+00:00",
    )


def _make_curve(run: RunConfig, rng: np.random.Generator) -> Curve:
    n_params, per_token = count_parameters(run.model).non_embedding, flops_per_token(run.model, 128)
    stride = math.ceil(run.n_steps / CURVE_POINTS)
    steps = [min(start + stride, run.n_steps) for start in range(0, run.n_steps, stride)]
    noise = 0.01 * rng.standard_normal(len(steps))
    rows = []
    for step, e in zip(steps, noise.tolist(), strict=True):
        tokens = step * run.tokens_per_step
        loss = min(5.6, _loss(n_params, tokens)) * math.exp(e)
        rows.append(
            {
                "step": step,
                "n_tokens": tokens,
                "flops": float(tokens * per_token),
                "loss": round(loss, 6),
                "learning_rate": 0.01,
            }
        )
    return rows
