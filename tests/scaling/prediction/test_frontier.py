"""The frontier: which runs are on it, and the optimum of the joint law."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.intervals.uncertainty import bootstrap
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.prediction.frontier import efficient_runs, frontier, optimum
from lora_jax.scaling.tables.table import RunTable
from tests.scaling.conftest import TRUTH


def test_no_cheaper_run_beats_an_efficient_one_and_every_other_is_beaten(
    sweep: Callable[..., RunTable],
) -> None:
    table = sweep(noise=0.05)
    flops, loss = table["flops"], table["loss"]
    efficient = set(efficient_runs(table).tolist())
    for i in range(len(table)):
        others = np.arange(len(table)) != i
        beaten = bool((others & (flops <= flops[i]) & (loss < loss[i])).any())
        assert (i in efficient) is not beaten


def test_optimum_is_the_minimum_along_a_budget() -> None:
    params = {k: np.array([v]) for k, v in TRUTH.items()}
    flops = 1e14

    def loss(ln_n: float) -> float:
        n = np.exp(ln_n)
        d = flops / 6 / n
        return TRUTH["E"] + TRUTH["A"] * n ** -TRUTH["alpha"] + TRUTH["B"] * d ** -TRUTH["beta"]

    numeric = minimize_scalar(loss, bounds=(5, 25), method="bounded", options={"xatol": 1e-10})
    best = optimum(params, flops)
    assert np.log(best["n_params"][0]) == pytest.approx(numeric.x, abs=1e-4)
    assert best["loss"][0] == pytest.approx(numeric.fun, rel=1e-12)
    assert 6 * best["n_params"][0] * best["n_tokens"][0] == pytest.approx(flops)
    ratio = optimum(params, 10 * flops)["n_params"] / best["n_params"]
    assert np.log10(ratio[0]) == pytest.approx(best["a"][0])
    assert best["G"][0] * (flops / 6) ** best["a"][0] == pytest.approx(best["n_params"][0])


def test_frontier_intervals_hold_the_truth(sweep: Callable[..., RunTable]) -> None:
    found = frontier(bootstrap(fit(CHINCHILLA, sweep(6, 5)), 300), np.geomspace(1e11, 1e13, 3))
    assert found.a is not None
    assert found.b is not None
    assert found.a.low < 0.4 / 0.75 < found.a.high
    assert found.a.value + found.b.value == pytest.approx(1)
    assert [row.flops for row in found.rows] == pytest.approx([1e11, 1e12, 1e13])
    for row in found.rows:
        assert row.loss.low < row.loss.value < row.loss.high
