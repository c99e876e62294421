"""Spending: the closed forms, the constraint that serving keeps, and where two laws cross."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.fitting.problem import pose
from lora_jax.scaling.intervals.uncertainty import bootstrap
from lora_jax.scaling.laws import CHINCHILLA, LAWS, power_law
from lora_jax.scaling.laws.finetuning import crossover
from lora_jax.scaling.prediction import frontier
from lora_jax.scaling.prediction.allocation import crossing, optimum, serving, summarise
from lora_jax.scaling.prediction.forecasts import predict_serving
from lora_jax.scaling.tables.table import RunTable, make_table


def test_chinchillas_optimum_is_the_closed_form(sweep: Callable[..., RunTable]) -> None:
    found = fit(CHINCHILLA, sweep())
    for flops in (1e12, 1e15, 1e24):
        ours = optimum(found.problem, found.theta[None], flops)
        theirs = frontier.optimum({k: np.array([v]) for k, v in found.params.items()}, flops)
        for mine, name in (("N*", "n_params"), ("D*", "n_tokens"), ("loss", "loss")):
            assert ours[mine] == pytest.approx(theirs[name], rel=1e-5)


def test_a_budget_beyond_all_runs_has_its_optimum_or_none(sweep: Callable[..., RunTable]) -> None:
    """Never the end of a search, nor where rounding puts the minimum of a loss that is flat."""
    found = fit(CHINCHILLA, sweep())
    flops, n_found = 10.0 ** np.arange(-90, 100, 5), 0
    for budget in flops:
        ours = optimum(found.problem, found.theta[None], float(budget))
        theirs = frontier.optimum({k: np.array([v]) for k, v in found.params.items()}, float(budget))
        if np.isfinite(ours["N*"][0]):
            n_found += 1
            assert ours["N*"] == pytest.approx(theirs["n_params"], rel=0.02)
            assert ours["D*"] == pytest.approx(theirs["n_tokens"], rel=0.02)
    assert 20 < n_found < len(flops)


def test_serving_beyond_the_search_has_no_answer(sweep: Callable[..., RunTable]) -> None:
    found = fit(CHINCHILLA, sweep())
    best = serving(found.problem, found.theta[None], 1.6, 1e99)
    assert all(np.isnan(value).all() for value in best.values())
    replicates = bootstrap(found, 20)
    with pytest.raises(LoraJaxError, match="at or below the fitted floor E = "):
        predict_serving(replicates, 0.9 * found.params["E"], 1e9)


@pytest.mark.parametrize("name", ["kaplan", "shared-exponent", "over-training"])
def test_any_law_of_n_and_d_has_its_optimum(name: str, sweep: Callable[..., RunTable]) -> None:
    found = fit(LAWS[name], sweep(), "squared")

    def loss(ln_n: float) -> float:
        return float(found.predict(N=np.exp(ln_n), D=1e14 / 6 / np.exp(ln_n))[0])

    theirs: Any = minimize_scalar(loss, bounds=(2, 30), method="bounded", options={"xatol": 1e-9})
    ours = optimum(found.problem, found.theta[None], 1e14)
    assert ours["loss"][0] == pytest.approx(theirs.fun, rel=1e-10)
    assert np.log(ours["N*"][0]) == pytest.approx(theirs.x, abs=1e-4)
    assert 6 * ours["N*"] * ours["D*"] == pytest.approx(1e14)


def test_serving_nothing_is_the_compute_optimum(sweep: Callable[..., RunTable]) -> None:
    """At D_inf = 0 the cheapest model of a loss is the one whose budget gives it: the two are inverse."""
    found = fit(CHINCHILLA, sweep())
    best = optimum(found.problem, found.theta[None], 1e14)
    cheapest = serving(found.problem, found.theta[None], float(best["loss"][0]), 0.0)
    assert cheapest["FLOPs"][0] == pytest.approx(1e14, rel=1e-6)
    assert cheapest["N"][0] == pytest.approx(best["N*"][0], rel=1e-3)


def test_serving_keeps_the_loss_and_favours_small_models(sweep: Callable[..., RunTable]) -> None:
    found = fit(CHINCHILLA, sweep())
    sizes = []
    for tokens in (0.0, 1e8, 1e10):
        best = serving(found.problem, found.theta[None], 1.6, tokens)
        n, d = best["N"][0], best["D"][0]
        assert found.predict(N=n, D=d)[0] == pytest.approx(1.6, rel=1e-9)
        assert best["FLOPs"][0] == pytest.approx(6 * n * d + 2 * n * tokens, rel=1e-9)
        for factor in (0.9, 1.1):  # any other size of this loss costs more
            other = n * factor
            e, b, beta = (found.params[k] for k in ("E", "B", "beta"))
            rest = 1.6 - e - found.params["A"] * other ** -found.params["alpha"]
            need = (b / rest) ** (1 / beta)
            assert 6 * other * need + 2 * other * tokens > best["FLOPs"][0]
        sizes.append(n)
    assert sizes[0] > sizes[1] > sizes[2]


def test_a_loss_below_the_floor_is_out_of_reach(sweep: Callable[..., RunTable]) -> None:
    found = fit(CHINCHILLA, sweep())
    best = serving(found.problem, found.theta[None], 0.5 * found.params["E"], 1e9)
    assert all(np.isnan(value).all() for value in best.values())
    nothing = summarise(bootstrap(found, 20), best["N"], np.full(100, np.nan))
    assert np.isnan(nothing.value)
    assert nothing.ci95 is None


def test_the_crossover_is_h_x_to_the_gamma() -> None:
    """Zhang et al. 2402.17193: with one floor, F_c = H X^gamma."""
    law = LAWS["finetuning-p"]
    rng = np.random.default_rng(0)
    table = make_table(
        "x",
        n_params=np.ones(20),
        trainable_params=rng.uniform(1e4, 1e6, 20),
        finetune_tokens=rng.uniform(1e3, 1e6, 20),
        loss=np.linspace(2, 3, 20),
    )
    problem = pose(law, table)
    first = {"E": 0.9, "A": 9.0, "alpha": 0.05, "beta": 0.10}
    second = {"E": 0.9, "A": 20.0, "alpha": 0.02, "beta": 0.22}
    pair = [(problem, law.to_theta(p, problem.centre)[None]) for p in (first, second)]
    found = crossing(pair[0], pair[1], "F", {"P": 1e5})
    theirs = crossover(*({k: np.array(v) for k, v in p.items()} for p in (first, second)))
    assert found[0] == pytest.approx(theirs["H"] * 1e5 ** theirs["gamma"], rel=1e-9)
    assert np.isnan(crossing(pair[0], pair[0], "F", {"P": 1e5})[0])


def test_a_law_of_one_variable_splits_no_budget(sweep: Callable[..., RunTable]) -> None:
    found = fit(power_law("N"), sweep(), "squared")
    with pytest.raises(LoraJaxError, match="a budget is split by laws of N and D"):
        optimum(found.problem, found.theta[None], 1e14)
