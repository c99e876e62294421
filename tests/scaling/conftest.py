"""Published run tables, and synthetic sweeps whose law is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lora_jax.scaling.tables.table import RunTable, make_table, read_table

TRUTH = {"E": 1.2, "A": 3e3**0.35, "alpha": 0.35, "B": 4e4**0.4, "beta": 0.4}


@pytest.fixture(scope="session")
def chinchilla(published: Path) -> RunTable:
    return read_table(published / "chinchilla.csv", {"n_params": "Model Size", "flops": "Training FLOP"})


@pytest.fixture(scope="session")
def chinchilla_240(chinchilla: RunTable) -> RunTable:
    return chinchilla.take(np.sort(np.argsort(chinchilla["loss"])[:-5]))


@pytest.fixture(scope="session")
def gemstones(published: Path) -> RunTable:
    names = {"n_params": "params_active_precise", "n_tokens": "tokens", "loss": "final_loss"}
    return read_table(published / "gemstones" / "fitting_hot.jsonl", names)


@pytest.fixture
def sweep() -> Callable[..., RunTable]:
    """Return a function that makes a grid of runs from TRUTH, with noise and three seeds in one cell."""

    def make(n_sizes: int = 5, n_counts: int = 4, noise: float = 0.004, seed: int = 0) -> RunTable:
        grid = np.meshgrid(np.geomspace(2e4, 1e6, n_sizes), np.geomspace(5e5, 8e6, n_counts))
        rows = np.concatenate([np.arange(n_sizes * n_counts), [1, 1]])
        n_params, n_tokens = (x.ravel()[rows] for x in grid)
        mean = TRUTH["E"] + TRUTH["A"] * n_params ** -TRUTH["alpha"] + TRUTH["B"] * n_tokens ** -TRUTH["beta"]
        loss = mean * np.exp(noise * np.random.default_rng(seed).standard_normal(len(mean)))
        return make_table(
            "synthetic",
            [f"run-{i}" for i in range(len(rows))],
            n_params=n_params,
            n_params_with_head=n_params + 16384,
            n_params_total=n_params + 20480,
            n_tokens=n_tokens,
            flops=6 * n_params * n_tokens,
            flops_exact=6.3 * n_params * n_tokens,
            loss=loss,
            seed=np.concatenate([np.zeros(len(rows) - 2), [1, 2]]),
            base_learning_rate=np.full(len(rows), 0.01),
        )

    return make
