"""Cells: the noise between seeds is what seeds differ by, and nothing else."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lora_jax.documents import to_document
from lora_jax.scaling.tables.cells import UNSEEDED, seed_noise
from lora_jax.scaling.tables.table import RunTable, make_table
from tests.as_documents import fit_sweep

SD = 0.01


def make_cells(n_cells: int, seeds: np.ndarray, seed: int = 0) -> RunTable:
    """Cells of one size each, with a run for every entry of `seeds`: equal seeds give equal losses."""
    rng = np.random.default_rng(seed)
    effect = SD * rng.standard_normal((n_cells, int(seeds.max()) + 1))[:, seeds]
    n_params = np.geomspace(1e4, 1e6, n_cells)
    return make_table(
        "synthetic",
        n_params=np.repeat(n_params, len(seeds)),
        n_tokens=np.full(n_cells * len(seeds), 1e9),
        loss=(np.repeat(3 * n_params**-0.1, len(seeds)) * np.exp(effect.ravel())),
        seed=np.tile(seeds, n_cells),
    )


def without(table: RunTable, column: str) -> RunTable:
    return replace(table, columns={name: x for name, x in table.columns.items() if name != column})


def test_the_spread_between_seeds_is_found() -> None:
    noise = seed_noise(make_cells(200, np.arange(3)))
    assert (noise.n_cells, noise.degrees_of_freedom) == (200, 400)
    assert noise.sd == pytest.approx(SD, rel=0.15)  # its own error is 1/sqrt(800), 3.5 %


def test_without_a_column_of_seeds_there_is_no_noise_between_seeds(sweep: Callable[..., RunTable]) -> None:
    """Runs of one cell may be one run read twice, or differ in what the table does not say."""
    assert seed_noise(without(make_cells(20, np.arange(3)), "seed")) == UNSEEDED
    table = sweep()
    assert seed_noise(table).n_cells == 1
    fits = fit_sweep(without(table, "seed"), n_bootstrap=20)
    assert fits["noise"] == to_document(UNSEEDED)
    assert not [fit for fit in fits["fits"] if any("seeds" in w for w in fit["certificate"]["warnings"])]


def test_runs_of_one_seed_are_not_several_seeds() -> None:
    assert seed_noise(make_cells(20, np.zeros(3, dtype=int))) == UNSEEDED
    once, twice = make_cells(20, np.array([0, 1])), make_cells(20, np.array([0, 1, 1]))
    assert to_document(seed_noise(twice)) == pytest.approx(to_document(seed_noise(once)))


def test_rates_are_not_seeds() -> None:
    table = make_cells(20, np.arange(3))
    rates = replace(table, columns={**table.columns, "base_learning_rate": table["seed"] + 1.0})
    assert seed_noise(rates) == UNSEEDED
