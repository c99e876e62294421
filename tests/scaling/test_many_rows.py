"""Memory and time grow with the rows of a table, and never with their square."""

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lora_jax.scaling.appraisal import appraise
from lora_jax.scaling.comparing.error_resampling import draw
from lora_jax.scaling.comparing.origins import cut, order_rows
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.fitting.problem import Problem, pose
from lora_jax.scaling.fitting.structure import structure
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.tables.best_rows import keep_best
from lora_jax.scaling.tables.cells import average_seeds, rows_of_each, seed_noise, settle_learning_rates
from lora_jax.scaling.tables.mixtures import check_rows
from lora_jax.scaling.tables.run_table import RunTable
from lora_jax.scaling.tables.table import make_table

TRUTH = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
FEW, MANY = 20_000, 200_000


def scattered(n: int) -> RunTable:
    """Return n runs of a Chinchilla law, each a cell of its own, with 1 % of noise."""
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(np.log(1e7), np.log(1e10), n))
    tokens = sizes * np.exp(rng.uniform(np.log(5), np.log(300), n))
    loss = 1.8 + 480 * sizes**-0.35 + 2100 * tokens**-0.37
    return make_table(
        "many", n_params=sizes, n_tokens=tokens, loss=loss * np.exp(0.01 * rng.standard_normal(n))
    )


def peak_of(action: Callable[[], Any]) -> tuple[int, float, Any]:
    """Return the bytes that an action took at its worst beside what was there, its seconds and its result."""
    tracemalloc.start()
    begun = time.perf_counter()
    try:
        result = action()
        return tracemalloc.get_traced_memory()[1], time.perf_counter() - begun, result
    finally:
        tracemalloc.stop()


def posed(table: RunTable) -> tuple[Problem, np.ndarray]:
    problem = pose(CHINCHILLA, table)
    return problem, CHINCHILLA.to_theta(TRUTH, problem.centre)


@pytest.mark.slow
def test_the_sign_flips_of_many_rows_take_little() -> None:
    problem, theta = posed(scattered(MANY))
    peak, _, found = peak_of(lambda: structure(problem, theta, np.arange(MANY)))
    assert peak < 5e8, "1,999 signs of each row would be 6.4 GB"
    assert found is not None
    assert found.p > 0.01, "the law is the truth"


@pytest.mark.slow
def test_of_many_clusters_structure_is_still_found() -> None:
    table = scattered(3 * FEW)
    size = np.log(table.variable("N"))
    wave = 0.002 * np.cos(3 * np.pi * (size - size.min()) / np.ptp(size))
    table = replace(table, columns={**table.columns, "loss": table["loss"] * np.exp(wave)})
    problem, theta = posed(table)
    found = structure(problem, theta, np.arange(len(table)))
    assert found is not None
    assert found.p < 0.01


@pytest.mark.slow
def test_the_draws_of_many_predictions_take_little() -> None:
    origin = np.arange(3).repeat(MANY // 2)
    unit = np.tile(np.arange(MANY // 2), 3)
    peak, _, draws = peak_of(lambda: draw(origin, unit, 4000))
    assert peak < 1e9, "4,000 multiplicities of each row would be 3.2 GB"
    errors = np.random.default_rng(0).standard_normal(len(unit)) ** 2
    assert draws is not None
    means = draws.mean(errors)
    assert means.mean() == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_what_looks_at_cells_takes_time_by_the_row() -> None:
    """Each used to look through all rows once for every cell: 40 billion looks."""
    table = scattered(MANY)
    for action in (order_rows, average_seeds, seed_noise, settle_learning_rates, keep_best, check_rows):
        begun = time.perf_counter()
        action(table)
        assert time.perf_counter() - begun < 20, action
    assert len(cut(order_rows(table))) > 1


def test_rows_of_each_number_are_those_rows() -> None:
    numbers = np.random.default_rng(0).permutation(np.arange(50) // 3)
    for i, rows in enumerate(rows_of_each(numbers)):
        assert rows.tolist() == np.flatnonzero(numbers == i).tolist()


@pytest.mark.slow
def test_a_whole_appraisal_takes_memory_by_the_row() -> None:
    """Ten times the rows take at most ten times the bytes, and less than 2 kB a row beside what is fixed."""
    peaks = [
        peak_of(lambda n=n: appraise(fit(CHINCHILLA, scattered(n)), n_bootstrap=20))[0] for n in (2_000, FEW)
    ]
    assert peaks[1] < 10 * peaks[0] + 2_000 * FEW
    assert peaks[1] < 1e9
