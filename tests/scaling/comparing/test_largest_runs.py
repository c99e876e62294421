"""The out-of-sample check of a fit's own law."""

from dataclasses import replace

import numpy as np
import pytest

from lora_jax.scaling.comparing.extrapolation import search
from lora_jax.scaling.comparing.largest_runs import LargestRuns, largest_runs
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.tables.table import RunTable, make_table
from tests.scaling.fitting.test_structure import GRID, LADDER, Form, hoffmann, shared, simulate


def faster(n: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The largest runs gain more than the law of the smaller ones says: it predicts too much for them."""
    return hoffmann(n, d) * (1 - 0.03 * np.clip(np.log(n * d / 3e19) / 3, 0, 1))


def check(table: RunTable) -> LargestRuns | None:
    found = search(CHINCHILLA, table)
    return largest_runs(found.problem, found.theta)


def warned(form: Form, design: tuple[np.ndarray, ...], noise: str, seeds: range, size: float) -> float:
    found = [check(simulate(form, design, noise, seed, size)) for seed in seeds]
    return float(np.mean([f is not None and f.warning is not None for f in found]))


@pytest.mark.parametrize(
    ("design", "noise"), [(GRID, "normal"), (GRID, "heteroscedastic"), (LADDER, "clustered")]
)
def test_a_true_law_predicts_its_largest_runs(design: tuple[np.ndarray, ...], noise: str) -> None:
    assert warned(hoffmann, design, noise, range(1000, 1010), 0.01) <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("design", "noise"), [(GRID, "normal"), (GRID, "heteroscedastic"), (LADDER, "clustered")]
)
def test_a_true_law_predicts_them_in_95_of_100(design: tuple[np.ndarray, ...], noise: str) -> None:
    assert warned(hoffmann, design, noise, range(2000, 2060), 0.01) <= 0.05


def test_a_false_one_misses_them_to_one_side_and_the_words_say_how_far() -> None:
    table = simulate(faster, GRID, "normal", 0, 0.003)
    found = check(table)
    assert found is not None
    assert found.warning is not None
    assert found.errors.mean() > 0.01
    low, high = 100 * found.errors.min(), 100 * found.errors.max()
    assert f"{found.n_inside} of {found.n_runs} inside their 95 % intervals" in found.warning
    assert f"{low:+.2g} to {high:+.2g} % off" in found.warning
    assert found.warning.startswith("predicts its own largest runs badly: fitted to the smaller ")


@pytest.mark.parametrize("form", [faster, shared])
def test_other_forms_are_seen(form: Form) -> None:
    assert warned(form, GRID, "normal", range(5), 0.001) >= 0.8


def test_few_rows_and_rows_that_cost_the_same_say_nothing() -> None:
    n, d = GRID
    assert check(make_table("few", n_params=n[::4], n_tokens=d[::4], loss=hoffmann(n, d)[::4])) is None
    loss = hoffmann(n, 1e19 / n) * (1 + 1e-4 * d / d.max())
    one_cost = make_table("one", n_params=n, n_tokens=1e19 / n, loss=loss)
    problem = search(CHINCHILLA, simulate(hoffmann, GRID, "normal", 0, 0.01)).problem
    assert largest_runs(replace(problem, table=one_cost), np.zeros(5)) is None
