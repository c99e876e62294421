"""Runs of a study that was not trained: ln loss is what a world says, and noise."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lora_jax.estimate import Estimate
from lora_jax.scaling.finetuning.study_runs import (
    ConfigFields,
    DataFields,
    Forgotten,
    MethodFields,
    OptimFields,
    StudyFields,
    StudyRun,
    TuningFields,
)

WINDOWS = 200
FULL = MethodFields("Full")


def lora(rank: int, *targets: str) -> MethodFields:
    return MethodFields("LoRA", rank, targets or ("all",))


METHODS = {"full": FULL, **{f"LoRA r {rank}": lora(rank) for rank in (1, 4, 16, 64)}}


@dataclass(frozen=True)
class World:
    """What is true.

    Attributes:
        full_rate: The best rate of full fine-tuning.
        ratio: LoRA's best rate over it, at rank 1.
        rank_drift: The exponent of LoRA's best rate in the rank.
        extra: What a method adds to ln loss, by label.
        batch: What a batch above 8 adds to ln loss, by label.
        noise: The sd of ln loss between runs.
        forgotten: Forgetting of a method at F = 1 and N = 1, by label; the exponents are .5 and -.3.
    """

    full_rate: float = 3e-3
    ratio: float = 10.0
    rank_drift: float = 0.0
    extra: Mapping[str, float] = field(default_factory=dict)
    batch: Mapping[str, float] = field(default_factory=dict)
    noise: float = 0.002
    forgotten: Mapping[str, float] = field(default_factory=dict)

    def best_rate(self, method: MethodFields) -> float:
        if method.rank is None:
            return self.full_rate
        return self.full_rate * self.ratio * method.rank**self.rank_drift


def trainable(method: MethodFields) -> int:
    if method.rank is None:
        return 100_000
    width = {"attention": 500, "mlp": 1000}.get(method.targets[0], 1500)
    return method.rank * width


def make_run(
    world: World,
    label: str,
    method: MethodFields,
    where: tuple[int, int, int],
    rate: float,
    seed: int,
    rng: np.random.Generator,
) -> StudyRun:
    """where: N, windows, batch size."""
    n_params, n_train, batch = where
    away = math.log(rate / world.best_rate(method))
    ln_loss = 1.2 - 0.05 * math.log(n_params / 1e4) - 0.03 * math.log(n_train / 64) + 0.02 * away**2
    ln_loss += world.extra.get(label, 0.0) + (world.batch.get(label, 0.0) if batch > 8 else 0.0)
    ln_loss += world.noise * rng.standard_normal()
    loss = math.exp(ln_loss)
    easiness = np.random.default_rng(0).standard_normal(WINDOWS)  # of the windows, which all runs share
    values = loss * (1 + 0.2 * (easiness - easiness.mean()))
    tokens = 63 * n_train
    change = world.forgotten.get(label, 0.01) * tokens**0.5 * n_params**-0.3
    change *= math.exp(0.02 * rng.standard_normal()) * (rate / world.best_rate(method)) ** 0.5
    source = Forgotten("speeches", 3.0, Estimate(change, 0.01, (change - 0.02, change + 0.02)))
    return StudyRun(
        run_id=f"{label}-{n_params}-{n_train}-{batch}-{rate:g}-{seed}".replace(" ", "-"),
        status="done",
        config=ConfigFields(OptimFields(batch)),
        data=DataFields("same"),
        seed=seed,
        n_params=n_params,
        n_params_with_head=2 * n_params,
        n_steps=2 * n_train // batch,
        learning_rate=rate,
        heldout_loss=loss,
        bits_per_byte=None,
        finetuning=TuningFields(
            f"base {n_params}",
            "text:code",
            label,
            method,
            trainable(method),
            1.0 if method.rank is None else 2 / 3 + trainable(method) / (2 * n_params),
            "loss",
            tuple(values.tolist()),
            StudyFields(n_train, tokens, None, source),
        ),
    )


def make_study(
    world: World,
    methods: Mapping[str, MethodFields] = METHODS,
    sizes: Sequence[int] = (64, 256, 1024, 4096),
    batches: Sequence[int] = (8,),
    bases: Sequence[int] = (200_000,),
    grid: Sequence[float] = (1 / 9, 1 / 3, 1.0, 3.0, 9.0),
    draw: int = 0,
) -> list[StudyRun]:
    """Return runs at five rates around each method's best, and a second seed at the middle one."""
    rng = np.random.default_rng(draw)
    runs = []
    for n_params in bases:
        for n_train in sizes:
            for batch in batches:
                for label, method in methods.items():
                    middle = world.full_rate * (1.0 if method.rank is None else world.ratio)
                    tries = [(middle * step, 0) for step in grid] + [(middle, 1)]
                    where = (n_params, n_train, batch)
                    runs += [make_run(world, label, method, where, *one, rng) for one in tries]
    return runs


def write_curves(folder: Path, runs: Sequence[StudyRun], rank_effect: float) -> None:
    """Write training curves that fall from 4 to 2, apart by an effect for each factor e of rank."""
    (folder / "curves").mkdir(parents=True)
    for run in runs:
        rng = np.random.default_rng(run.seed)  # the batches are those of the seed
        steps = np.arange(2, run.n_steps + 1, 2)
        apart = rank_effect * math.log(run.rank) if run.rank else 0.0
        losses = np.exp(np.log(4 - 2 * (steps / run.n_steps) ** 0.25) + apart)
        losses *= np.exp(0.02 * rng.standard_normal(len(steps)))
        rows = "".join(f"{s},{loss:.6f}\n" for s, loss in zip(steps, losses, strict=True))
        (folder / "curves" / f"{run.run_id}.csv").write_text(f"step,loss\n{rows}")
