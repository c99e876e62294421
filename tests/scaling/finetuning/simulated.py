"""Tables of fine-tuning runs with a known truth: five sizes over 100-fold N, five sets over 64-fold F."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lora_jax.scaling.tables.run_table import RunTable
from lora_jax.scaling.tables.table import make_table

N = np.geomspace(1e6, 1e8, 5)
F = np.geomspace(1e4, 64e4, 5)
NOISE, SEEDS = 0.02, 3
# (alpha, beta, E, what is above E at the smallest N and F)
METHODS = {"full": (0.35, 0.15, 1.0, 2.6), "lora": (0.30, 0.10, 1.0, 2.2), "prompt": (0.25, 0.07, 1.0, 2.6)}
# of the rank: excess 0 up to F^c = c r^g, k ln(F / F^c) beyond
CAPACITY = {"k": 0.08, "c": 1.2e4, "g": 0.8}
RANKS = (1.0, 4.0, 16.0, 64.0)


def loss_of(method: str, n: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Return the loss without noise."""
    alpha, beta, e, top = METHODS[method]
    return e + top * (n / N[0]) ** -alpha * (f / F[0]) ** -beta


def true_crossing(first: str, second: str, n: float) -> float:
    """Return the F at which two methods of one E have the same loss: a closed form of the paper."""
    (a1, b1, e1, t1), (a2, b2, e2, t2) = METHODS[first], METHODS[second]
    assert e1 == e2
    ratio = t1 / t2 * (n / N[0]) ** (a2 - a1)
    return float(F[0] * ratio ** (1 / (b1 - b2)))


def make_runs(
    seed: int,
    methods: Sequence[str] = tuple(METHODS),
    noise: float = NOISE,
    n_seeds: int = SEEDS,
    sizes: np.ndarray = N,
    sets: np.ndarray = F,
) -> RunTable:
    """Return runs of these methods, at one rate each."""
    rng = np.random.default_rng((seed, 11))
    grid = [(m, n, f, s) for m in methods for n in sizes for f in sets for s in range(n_seeds)]
    clean = np.array([loss_of(m, np.array(n), np.array(f)) for m, n, f, _ in grid])
    return _table(grid, clean, noise, rng)


def make_ranks(
    seed: int,
    noise: float = NOISE,
    n_seeds: int = SEEDS,
    capacity: Mapping[str, float] = CAPACITY,
    sizes: np.ndarray = N,
) -> RunTable:
    """Return runs of full fine-tuning and of LoRA at several ranks, which leave it beyond their capacity."""
    rng = np.random.default_rng((seed, 12))
    grid = [("full", n, f, s) for n in sizes for f in F for s in range(n_seeds)]
    clean = [float(loss_of("full", np.array(n), np.array(f))) for _, n, f, _ in grid]
    ranks = [0.0] * len(grid)
    for r in RANKS:
        for n in sizes:
            for f in F:
                over = max(0.0, np.log(f / (capacity["c"] * r ** capacity["g"])))
                excess = capacity["k"] * over
                grid += [("lora", n, f, s) for s in range(n_seeds)]
                clean += [float(loss_of("full", np.array(n), np.array(f)) * np.exp(excess))] * n_seeds
                ranks += [r] * n_seeds
    table = _table(grid, np.array(clean), noise, rng)
    return replace(table, labels={**table.labels, "rank": tuple(f"{r:g}" if r else "" for r in ranks)})


def _table(
    grid: Sequence[tuple[str, float, float, int]], clean: np.ndarray, noise: float, rng: np.random.Generator
) -> RunTable:
    names, n, f, s = zip(*grid, strict=True)
    loss = clean * np.exp(noise * rng.standard_normal(len(grid)))
    table = make_table("simulated", n_params=n, finetune_tokens=f, loss=loss, seed=s)
    return replace(table, labels={"method": tuple(names)})
