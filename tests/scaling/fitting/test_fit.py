"""Fits: exact on exact data, equal to SciPy's, indifferent to units, and honest about bad designs."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import curve_fit, least_squares, linprog

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.laws import CHINCHILLA, LAWS, Law, power_law
from lora_jax.scaling.tables.table import RunTable, make_table
from tests.scaling.conftest import TRUTH

ONE = {"N": 1.0, "D": 1.0, "C": 1.0, "S": 1.0, "B": 1.0, "U": 1.0, "F": 1.0, "P": 1.0, "L": 1.0}
BENT = {"E": 1.5, "c0": 0.05, "c1": 0.4, "f1": 0.3}
TRUE_PARAMS = {
    "power-n": {"N_c": 8.8e13, "alpha_N": 0.076},
    "power-d": {"D_c": 5.4e13, "alpha_D": 0.095},
    "power-c": {"C_c": 2.6e28, "alpha_C": 0.050},
    "power-n-floor": {"E": 1.5, "N_c": 3e3, "alpha_N": 0.35},
    "power-d-floor": {"E": 1.5, "D_c": 4e4, "alpha_D": 0.4},
    "power-c-floor": {"E": 1.5, "C_c": 1e11, "alpha_C": 0.2},
    "chinchilla": TRUTH,
    "kaplan": {"N_c": 6.4e13, "alpha_N": 0.076, "D_c": 1.8e13, "alpha_D": 0.103},
    "kaplan-steps": {"N_c": 6.5e13, "alpha_N": 0.077, "S_c": 2.1e3, "alpha_S": 0.76},
    "steps-batch": {
        "E": 1.4, "A_N": 160.0, "alpha": 0.3, "A_S": 8.0, "beta": 0.35, "A_B": 2.0, "gamma": 0.25,
    },
    "critical-batch": {"B_star": 2e8, "slope": 1 / 0.21},
    "shared-exponent": {"E": 1.2, "A": 5e3, "alpha": 0.5, "B": 6e4, "beta": 0.6, "gamma": 0.7},
    "data-constrained": {
        "E": 1.87, "A": 521.0, "alpha": 0.35, "B": 1488.0, "beta": 0.33, "R_D_star": 15.4, "R_N_star": 5.3,
    },
    "over-training": {"E": 1.5, "a": 40.0, "b": 90.0, "eta": 0.3},
    "downstream-error": {"eps": 0.8, "k": 2.0, "gamma": 0.9},
    "broken-n": {**BENT, "b": 4.0, "d1": 3e6}, "broken-d": {**BENT, "b": 4.0, "d1": 3e7},
    "broken-c": {**BENT, "b": 4.0, "d1": 1e15},
    "finetuning-n": {"E": 0.9, "A": 90.0, "alpha": 0.12, "beta": 0.2},
    "finetuning-d": {"E": 0.9, "A": 90.0, "alpha": 0.12, "beta": 0.2},
    "finetuning-p": {"E": 0.9, "A": 9.0, "alpha": 0.05, "beta": 0.2},
    "rectified": {"E": 0.9, "B": 60.0, "D_l": 30.0, "beta": 0.5},
    "farseer": {
        "a1": -1.0, "alpha": 0.05, "b1": 1.0, "a2": 20.0, "beta": -0.12, "b2": 1.0, "a3": -0.1, "gamma": 0.13,
        "b3": 1.2,
    },
}  # fmt: skip


def _exact(law: Law, params: dict[str, float]) -> RunTable:
    n_params, n_tokens = (
        x.ravel() for x in np.meshgrid(np.geomspace(1e5, 1e8, 10), np.geomspace(1e6, 1e9, 8))
    )
    rng = np.random.default_rng(0)
    batch = np.tile([2.0, 8.0, 32.0, 128.0], 20)  # sequences of 64 tokens
    table = make_table(
        "exact",
        n_params=n_params,
        n_tokens=n_tokens,
        n_steps=n_tokens / (64 * batch),
        batch_size=batch,
        unique_tokens=n_tokens / np.tile([1, 3, 9, 30], 20),
        trainable_params=n_params / 30,
        finetune_tokens=rng.permutation(np.geomspace(200, 2e6, 80)),
        loss=np.linspace(2, 5, 80),
    )
    features = law.features({v: table.variable(v) for v in law.variables}, ONE)
    response = np.exp(law.log_response(law.to_theta(params, ONE), features))
    return replace(table, columns={**table.columns, law.response: response})


@pytest.mark.parametrize("objective", ["huber", "l1", "squared", "least-squares"])
@pytest.mark.parametrize("name", LAWS)
def test_a_law_without_noise_is_recovered(name: str, objective: str) -> None:
    law, truth = LAWS[name], TRUE_PARAMS[name]
    found = fit(law, _exact(law, truth), objective)
    for parameter, value in truth.items():
        # a flat valley (gamma against the exponents inside) resolves its parameters less than its losses
        rel = 1e-4 if name != "shared-exponent" else 1e-2
        assert found.params[parameter] == pytest.approx(value, rel=rel), parameter
    assert found.certificate.converged
    assert np.abs(found.residuals).max() < 1e-7


def test_squared_no_floor_is_linear_regression_of_logs(sweep: Callable[..., RunTable]) -> None:
    table = sweep()
    slope, intercept = np.polyfit(np.log(table["n_params"]), np.log(table["loss"]), 1)
    found = fit(power_law("N"), table, "squared").params
    assert found["alpha_N"] == pytest.approx(-slope, rel=1e-9)
    assert np.log(found["N_c"]) == pytest.approx(-intercept / slope, rel=1e-9)


def test_squared_agrees_with_scipy(sweep: Callable[..., RunTable]) -> None:
    table = sweep()
    ln_n, ln_d, ln_l = (np.log(table[c]) for c in ("n_params", "n_tokens", "loss"))

    def model(_: np.ndarray, e: float, a: float, alpha: float, b: float, beta: float) -> np.ndarray:
        return np.log(np.exp(e) + np.exp(a - alpha * (ln_n - 12)) + np.exp(b - beta * (ln_d - 14)))

    start = [0.0, 0.0, 0.3, 0.0, 0.3]
    theirs = least_squares(lambda p: model(ln_n, *p) - ln_l, start, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    fitted = curve_fit(model, ln_n, ln_l, p0=start)[0]
    ours = fit(CHINCHILLA, table, "squared")
    assert ours.objective == pytest.approx(2 * theirs.cost, rel=1e-9)
    for other in (theirs.x, fitted):
        assert [ours.params["alpha"], ours.params["beta"]] == pytest.approx(other[[2, 4]], rel=1e-4)
        assert ours.params["E"] == pytest.approx(np.exp(other[0]), rel=1e-4)


def test_l1_is_the_linear_programme() -> None:
    """Without a floor the L1 fit of logs is a linear programme, whose optimum SciPy knows exactly."""
    rng = np.random.default_rng(0)
    n_params = np.exp(rng.uniform(10, 14, 31))  # few equal sizes would leave a whole segment of optima
    loss = (1e10 / n_params) ** 0.08 * np.exp(0.01 * rng.standard_normal(31))
    table = make_table("line", n_params=n_params, loss=loss)
    x, y, n = np.log(table["n_params"]) - 12, np.log(table["loss"]), len(table)
    design = np.stack([np.ones(n), -x], 1)
    cost = np.concatenate([np.zeros(2), np.ones(2 * n)])
    equal = np.concatenate([design, np.eye(n), -np.eye(n)], 1)
    theirs = linprog(cost, A_eq=equal, b_eq=y, bounds=[(None, None)] * 2 + [(0, None)] * (2 * n))
    ours = fit(power_law("N"), table, "l1")
    assert ours.certificate.converged
    assert ours.objective == pytest.approx(theirs.fun, rel=1e-6)
    assert ours.params["alpha_N"] == pytest.approx(theirs.x[1], rel=1e-5)


def test_huber_is_never_above_scipy(sweep: Callable[..., RunTable]) -> None:
    """SciPy's Huber of the same residuals: equal where it converges, and never lower."""
    table = sweep()
    x, y = np.log(table["n_params"]) - 12, np.log(table["loss"])
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 20_000}
    theirs = least_squares(lambda p: p[0] - p[1] * x - y, [0.5, 0.1], loss="huber", f_scale=1e-3, **tight)
    ours = fit(power_law("N"), table, "huber")
    assert ours.certificate.converged
    assert ours.objective <= theirs.cost * (1 + 1e-9)
    assert ours.objective == pytest.approx(theirs.cost, rel=1e-2)


@pytest.mark.parametrize(
    "law", [power_law("N"), power_law("N", irreducible=True), CHINCHILLA], ids=lambda law: law.key
)
def test_units_do_not_matter(law: Law, sweep: Callable[..., RunTable]) -> None:
    table = sweep()
    billions = replace(table, columns={**table.columns, "n_params": table["n_params"] / 1e9})
    one, other = fit(law, table).params, fit(law, billions).params
    exponent = "alpha" if law is CHINCHILLA else "alpha_N"
    assert other[exponent] == pytest.approx(one[exponent], rel=1e-9)
    if "N_c" in one:
        assert other["N_c"] * 1e9 == pytest.approx(one["N_c"], rel=1e-6)


def test_a_weight_of_two_is_a_row_twice(sweep: Callable[..., RunTable]) -> None:
    table = sweep()
    weights = np.ones(len(table))
    weights[3] = 2
    twice = table.take([*range(len(table)), 3])
    one, other = fit(CHINCHILLA, table, "squared", weights).params, fit(CHINCHILLA, twice, "squared").params
    assert one == pytest.approx(other, rel=1e-7)


def test_d_in_proportion_to_n_is_flagged() -> None:
    n = np.geomspace(1e5, 1e8, 12)
    noise = np.exp(0.003 * np.random.default_rng(0).standard_normal(12))
    table = make_table(
        "k", n_params=n, n_tokens=20 * n, loss=noise * (1.7 + 400 * n**-0.34 + 1e3 * (20 * n) ** -0.37)
    )
    assert "D = k N in every run" in fit(CHINCHILLA, table).certificate.verdict.words


def test_one_size_is_flagged() -> None:
    d = np.geomspace(1e6, 1e8, 9)
    table = make_table("one", n_params=np.full(9, 1e6), n_tokens=d, loss=1.5 + (1e5 / d) ** 0.4)
    assert "all runs have the same N" in fit(CHINCHILLA, table).certificate.verdict.words


def test_mixing_cooled_and_uncooled_runs_is_flagged(sweep: Callable[..., RunTable]) -> None:
    table = sweep()
    cooled = np.ones(len(table))
    assert (
        "cooled"
        not in fit(
            CHINCHILLA, replace(table, columns={**table.columns, "cooled": cooled})
        ).certificate.verdict.words
    )
    cooled[:4] = 0
    mixed = fit(CHINCHILLA, replace(table, columns={**table.columns, "cooled": cooled}))
    assert "4 of 22 runs were not cooled down" in mixed.certificate.verdict.words


def test_a_floor_that_the_runs_do_not_show_is_flagged() -> None:
    n = np.geomspace(1e5, 1e6, 6)
    noise = np.exp(0.003 * np.random.default_rng(1).standard_normal(6))
    certificate = fit(
        power_law("N", irreducible=True),
        make_table("flat", n_params=n, loss=noise * (1e10 / n) ** 0.08),
        "squared",
    ).certificate
    assert "E" in (*certificate.weakly_identified, *certificate.at_bound)


def test_influence_is_what_dropping_the_row_does(sweep: Callable[..., RunTable]) -> None:
    table = sweep()
    loss = table["loss"].copy()
    loss[0] *= 1.2
    table = replace(table, columns={**table.columns, "loss": loss})
    found = fit(power_law("N"), table, "squared")
    influence = found.certificate.influence
    assert influence is not None
    shifts = []
    for i in range(len(table)):
        without = fit(power_law("N"), table.take(np.delete(np.arange(len(table)), i)), "squared")
        shifts.append(without.params["alpha_N"] - found.params["alpha_N"])
    assert influence.shift == pytest.approx(shifts[int(np.abs(shifts).argmax())], rel=1e-6)
    assert influence.run_ids == (table.run_ids[int(np.abs(shifts).argmax())],)


def test_mistakes_get_one_sentence(sweep: Callable[..., RunTable]) -> None:
    table = sweep()
    with pytest.raises(LoraJaxError, match="nearest: 'huber'"):
        fit(CHINCHILLA, table, "hubber")
    with pytest.raises(LoraJaxError, match="5 parameters"):
        fit(CHINCHILLA, table.take([0, 1]))
    with pytest.raises(LoraJaxError, match="weights"):
        fit(CHINCHILLA, table, weights=np.ones(3))
    with pytest.raises(LoraJaxError, match="n_tokens"):
        fit(power_law("D"), make_table("x", n_params=[1, 2, 3], loss=[3, 2, 1]))


def test_a_large_table_needs_no_square_of_its_rows() -> None:
    """20,000 rows in a matrix of all pairs would be 3.2 GB; the starts are tried on some of them."""
    rng = np.random.default_rng(0)
    n_params = np.exp(rng.uniform(np.log(1e7), np.log(1e10), 20_000))
    n_tokens = n_params * np.exp(rng.uniform(np.log(5), np.log(300), 20_000))
    loss = 1.8 + 480 * n_params**-0.35 + 2100 * n_tokens**-0.37
    noise = np.exp(0.01 * rng.standard_normal(20_000))
    table = make_table("large", n_params=n_params, n_tokens=n_tokens, loss=loss * noise)
    tracemalloc.start()
    found = fit(CHINCHILLA, table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.certificate.converged
    assert found.params["alpha"] == pytest.approx(0.35, abs=0.01)
    assert peak < 1e9


def test_of_equal_minima_rounding_does_not_choose() -> None:
    """With D = k N and equal exponents, A and B share one term in any way: one of these is the answer."""
    n_params = np.geomspace(1e7, 1e10, 8)
    loss = (1.8 + 480 * n_params**-0.35) * np.exp(0.005 * np.random.default_rng(0).standard_normal(8))
    found = [
        fit(
            CHINCHILLA,
            make_table("ridge", n_params=n_params, n_tokens=20 * n_params, loss=loss * (1 + shift)),
        )
        for shift in (0.0, 3e-16, 6e-16, 9e-16, 12e-16)
    ]
    for other in found[1:]:
        assert other.params["A"] == pytest.approx(found[0].params["A"], rel=1e-3)
