"""A results folder of a fine-tuning sweep that was not trained: its scores are drawn from a known model.

Test example i has an easiness, a seed moves a method's ability, and a run answers example i right with
probability 1 / (1 + exp(-(ability + seed effect + easiness))).
"""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from lora_jax.comparison.methods import compare_methods
from lora_jax.comparison.results import MethodComparison
from lora_jax.comparison.tuned_runs import run_from_document
from lora_jax.config import digest
from lora_jax.runs.record import Finetuning, RunRecord

BASE_SIZE = 22_000_000
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
# label: (configuration, trainable parameters, ability, share of FLOPs, place of the best rate)
METHODS: dict[str, tuple[dict[str, Any], int, float, float, int]] = {
    "Full": ({"method": "Full"}, BASE_SIZE, 3.0, 1.0, 1),
    "Top-1": ({"method": "TopLayers", "layers": 1}, 1_770_000, 1.8, 0.41, 1),
    "Top-2": ({"method": "TopLayers", "layers": 2}, 3_540_000, 2.3, 0.52, 2),
    "BitFit": ({"method": "BitFit"}, 28_000, 2.2, 0.69, 2),
    "AdapterH": ({"method": "AdapterH", "size": 8}, 84_000, 2.8, 0.71, 1),
    "AdapterL": ({"method": "AdapterL", "size": 16}, 82_000, 2.7, 0.70, 2),
    "Prefix": ({"method": "Prefix", "length": 10}, 46_000, 2.0, 0.75, 3),
    "LoRA r 1": ({"method": "LoRA", "rank": 1}, 9_200, 2.4, 0.68, 2),
    "LoRA r 4": ({"method": "LoRA", "rank": 4}, 36_900, 2.8, 0.69, 2),
    "LoRA r 16": ({"method": "LoRA", "rank": 16}, 147_500, 2.9, 0.70, 1),
}
N_HEAD = 148_000
QUESTION = "A sweep that was not trained. <b>Not bold.</b>\n\nWhich method is the best?\n"


def draw_values(rng, ability: float, easiness_N, seed_effect: float) -> list[float]:
    chance = 1 / (1 + np.exp(-(ability + seed_effect + easiness_N)))
    return (rng.random(len(easiness_N)) < chance).astype(float).tolist()


def number(value: float, n: int) -> dict[str, Any]:
    se = (value * (1 - value) / n) ** 0.5
    return {"value": value, "se": se, "ci95": [value - 1.96 * se, value + 1.96 * se]}


def make_record(label: str, rate: float, seed: int, values: list[float], dev: float) -> dict[str, Any]:
    """Return a record as runs/RUN_ID.json holds it; no values: diverged."""
    method, n_trainable, _, flops_share, _ = METHODS[label]
    done = bool(values)
    tuning = Finetuning(
        base="minilm",
        base_fingerprint="abc",
        task="sst2",
        label=label,
        method=method,
        n_trainable=n_trainable,
        n_head=N_HEAD,
        flops_share=flops_share,
        optimizer_bytes=8 * (n_trainable + N_HEAD),
        metric="accuracy",
        dev={"accuracy": number(dev, 500), "loss": number(0.3, 500)} if done else {},
        test={"accuracy": number(float(np.mean(values)), len(values))} if done else {},
        test_values=values,
        kept_step=30,
        stopped_early=False,
        seconds_per_step=0.1 * flops_share if done else None,
    )
    config = {
        "base": "minilm",
        "task": {"name": "sst2", "n_train": 2000},
        "method": method,
        "label": label,
        "optim": {"learning_rate": rate, "batch_size": 16},
        "seed": seed,
    }
    return dataclasses.asdict(make_run(config, tuning))


def make_run(config: dict[str, Any], tuning: Finetuning) -> RunRecord:
    """Return the record of a fine-tuning run; it diverged if it has no test values."""
    done, rate, seed = bool(tuning.test_values), config["optim"]["learning_rate"], config["seed"]
    slug = tuning.label.lower().replace(" ", "-")
    return RunRecord(
        run_id=f"sst2-{slug}-lr{rate:g}-s{seed}-{digest(config)}",
        sweep="synthetic",
        status="done" if done else "diverged",
        config=config,
        data={"task": "sst2", "fingerprint": "<f>"},
        seed=seed,
        n_params=10_600_000,
        n_params_with_head=10_600_000,
        n_params_total=BASE_SIZE + N_HEAD,
        n_tokens=60_000,
        unique_tokens=20_000,
        epochs=3.0,
        flops=1e13,
        flops_exact=1.1e13 * tuning.flops_share,
        train_loss=0.2 if done else None,
        heldout_loss=0.3 if done else None,
        heldout_loss_se=0.01 if done else None,
        bits_per_byte=None,
        cooled=done,
        learning_rate=rate,
        n_steps=40,
        diverged_at=None if done else 7,
        wall_seconds=9.5,
        trained_tokens=60_000,
        tokens_per_second=9000.0 if done else None,
        device="cpu, 2 cores",
        versions={"jax": "0.10.2"},
        git_commit="0123456789abcdef",
        created_at="2026-01-01T00:00:00+00:00",
        finetuning=vars(tuning),
    )


def make_records(
    n_test: int = 300, seeds: tuple[int, ...] = (0, 1, 2), seed: int = 1
) -> list[dict[str, Any]]:
    """Return a sweep's records: four rates with the first seed, the best with all; one diverged."""
    rng = np.random.default_rng(seed)
    easiness_N = 2.0 * rng.normal(size=n_test)
    records = []
    for label, (_, _, ability, _, best) in METHODS.items():
        for i, rate in enumerate(RATES):
            for run_seed in seeds if i == best else seeds[:1]:
                able = ability - 0.8 * (i - best) ** 2
                values = draw_values(rng, able, easiness_N, 0.1 * rng.normal())
                if label == "AdapterH" and i == 3:
                    values = []
                records.append(
                    make_record(label, rate, run_seed, values, 0.8 + 0.03 * ability - 0.03 * (i - best) ** 2)
                )
    return records


def compare(records: list[dict[str, Any]]) -> MethodComparison:
    """Compare the methods of records as files hold them."""
    return compare_methods([run_from_document(record) for record in records])


def write_folder(folder: Path, records: list[dict[str, Any]]) -> Path:
    """Write a results folder without comparison.json."""
    rng = np.random.default_rng(3)
    for name in ("runs", "curves"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for record in records:
        (folder / "runs" / f"{record['run_id']}.json").write_text(json.dumps(record))
        with (folder / "curves" / f"{record['run_id']}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("step", "n_tokens", "flops", "loss", "learning_rate"))
            able = METHODS[record["finetuning"]["label"]][2]
            for step in range(1, 376):
                loss = 0.15 + 0.5 * np.exp(-step * able / 200) + 0.08 * abs(rng.normal())
                writer.writerow((step, 160 * step, 1e10 * step, loss, 1e-3))
    sweep = {
        "name": "synthetic",
        "question": QUESTION,
        "command": "./launch.sh finetune configs/synthetic.py",
        "run_ids": [record["run_id"] for record in records],
        "overrides": {},
        "data": {},
    }
    (folder / "sweep.json").write_text(json.dumps(sweep))
    return folder
