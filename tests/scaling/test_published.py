"""Fits of run tables that others published, to the figures that a fully converged fit gives."""

import numpy as np
import pytest
from scipy.optimize import minimize

from lora_jax.scaling.fit import fit, judge
from lora_jax.scaling.frontier import optimum
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.table import RunTable
from lora_jax.scaling.uncertainty import bootstrap


def _near(params: dict[str, float], expected: dict[str, float], rel: float) -> None:
    for name, value in expected.items():
        assert params[name] == pytest.approx(value, rel=rel), name


def test_chinchilla_huber(chinchilla_240: RunTable) -> None:
    assert len(chinchilla_240) == 240
    found = fit(CHINCHILLA, chinchilla_240, "huber")
    _near(found.params, {"A": 477.83, "B": 2143.4, "E": 1.8172, "alpha": 0.34730, "beta": 0.36717}, 5e-5)
    assert found.objective == pytest.approx(0.00101827, abs=1e-8)
    assert found.certificate.converged
    assert found.certificate.grad_norm < 1e-9
    assert found.certificate.verdict == "believe it"


def test_chinchilla_l1(chinchilla_240: RunTable) -> None:
    found = fit(CHINCHILLA, chinchilla_240, "l1")
    _near(found.params, {"A": 482.01, "B": 2085.43, "E": 1.8169, "alpha": 0.34781, "beta": 0.36585}, 5e-5)
    params = found.params
    assert params["beta"] / (params["alpha"] + params["beta"]) == pytest.approx(0.5126, abs=1e-4)
    assert found.certificate.converged


def test_chinchilla_all_rows_shows_what_the_outliers_do(chinchilla: RunTable) -> None:
    found = fit(CHINCHILLA, chinchilla, "huber")
    _near(found.params, {"A": 495.7, "B": 12845, "E": 1.891, "alpha": 0.349, "beta": 0.453}, 1e-3)
    outliers = found.certificate.outliers
    assert outliers is not None
    largest = {chinchilla.run_ids[i] for i in np.argsort(chinchilla["loss"])[-5:]}
    assert len(set(outliers.run_ids) & largest) >= 4
    assert outliers.shift == pytest.approx(-0.05, abs=0.005)
    assert "5 outlying runs" in found.certificate.verdict


def test_gemstones_hot(gemstones: RunTable) -> None:
    found = fit(CHINCHILLA, gemstones, "huber")
    _near(found.params, {"A": 213.1, "B": 4.968e6, "E": 2.1432, "alpha": 0.2929, "beta": 0.7130}, 2e-4)
    assert found.objective == pytest.approx(0.001981613, abs=1e-9)
    assert found.certificate.converged


def test_bootstrap_errors_are_the_published_ones(chinchilla_240: RunTable) -> None:
    replicates = bootstrap(fit(CHINCHILLA, chinchilla_240, "huber"), 2000)
    assert replicates.kind == "case"
    assert replicates.n_failed == 0
    samples = {**replicates.params, "a": optimum(replicates.params, 1e21)["a"]}
    expected = {"A": 122, "B": 1277, "E": 0.0253, "alpha": 0.0151, "beta": 0.0206, "a": 0.0199}
    for name, se in expected.items():
        # the se of a skewed B rests on its far tail: 2000 draws know it to several percent
        assert samples[name].std() == pytest.approx(se, rel=0.15 if name == "B" else 0.08), name
    best = optimum(replicates.params, 5.76e23)
    quantiles = np.quantile(best["n_tokens"] / best["n_params"], [0.5, 0.1, 0.9, 0.025, 0.975])
    np.testing.assert_allclose(quantiles, [17.2, 9.9, 29.3, 7.7, 36.2], rtol=0.1)


def test_stopping_early_is_noticed(chinchilla_240: RunTable) -> None:
    """The mean, not the sum, at SciPy's default tolerances: the optimiser stops next to where it began."""
    t = chinchilla_240
    ln_n, ln_d, ln_l = np.log(t["n_params"]), np.log(t["n_tokens"]), np.log(t["loss"])

    def mean_huber(p: np.ndarray) -> float:
        fitted = np.logaddexp(np.logaddexp(p[0] - p[3] * ln_n, p[1] - p[4] * ln_d), p[2])
        size = np.abs(fitted - ln_l)
        return float(np.where(size < 1e-3, 0.5 * size**2, 1e-3 * (size - 5e-4)).mean())

    start = {"A": 406.4, "B": 410.7, "E": 1.69, "alpha": 0.34, "beta": 0.28}
    begin = [np.log(start["A"]), np.log(start["B"]), np.log(start["E"]), start["alpha"], start["beta"]]
    answer = minimize(mean_huber, begin, method="L-BFGS-B")
    a, b, e, alpha, beta = answer.x
    stopped = {"A": np.exp(a), "B": np.exp(b), "E": np.exp(e), "alpha": alpha, "beta": beta}
    assert answer.success, "SciPy believes it"
    certificate = judge(CHINCHILLA, t, stopped, start=start).certificate
    assert not certificate.converged
    assert certificate.grad_norm > 1e-4
    assert certificate.polish_gain > 0.05
    assert certificate.start_equals_answer
    assert "not converged" in certificate.verdict
    good = fit(CHINCHILLA, t).params
    assert judge(CHINCHILLA, t, good, start=start).certificate.converged
