"""Fits of run tables that others published, to the figures that a fully converged fit gives."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from lora_jax.scaling.fitting.fit import evaluate_given, fit
from lora_jax.scaling.fitting.profile import profile
from lora_jax.scaling.intervals.uncertainty import bootstrap
from lora_jax.scaling.laws import CHINCHILLA, LAWS
from lora_jax.scaling.laws.law import coefficient, irreducible
from lora_jax.scaling.laws.power_sum import Term, power_sum
from lora_jax.scaling.prediction.frontier import optimum
from lora_jax.scaling.tables.table import RunTable, make_table, read_table


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
    assert found.certificate.verdict.is_believed


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
    assert "5 outlying runs" in found.certificate.verdict.words


def test_gemstones_hot(gemstones: RunTable) -> None:
    found = fit(CHINCHILLA, gemstones, "huber")
    _near(found.params, {"A": 213.1, "B": 4.968e6, "E": 2.1432, "alpha": 0.2929, "beta": 0.7130}, 2e-4)
    assert found.objective == pytest.approx(0.001981613, abs=1e-9)
    assert found.certificate.converged


def test_gemstones_cooled(published: Path) -> None:
    names = {"n_params": "params_active_precise", "n_tokens": "tokens", "loss": "final_loss"}
    found = fit(CHINCHILLA, read_table(published / "gemstones" / "fitting_cool_begin.jsonl", names))
    assert found.objective <= 0.0019515326
    _near(found.params, {"alpha": 0.3117, "beta": 0.6800}, 5e-4)


def test_over_training_predicts_the_large_models(published: Path) -> None:
    """Gadre et al. 2403.08540: five small runs predict 1.4B at M = 640 and 6.9B at M = 20 on C4."""
    columns = {"n_params": "N", "n_tokens": "D", "loss": "loss_c4_val"}
    small = "name~^rpj-d=.*-1\\.0$|^rpj-d=96_l=8_h=4-16\\.0$"
    runs = read_table(published / "gadre.csv", columns, where=["dataset=rpj", small])
    assert len(runs) == 5
    found = fit(LAWS["over-training"], runs, "least-squares")
    for name, expected in (("rpj-open_lm_1b-32.0", 0.7103), ("rpj-open_lm_7b-1.0", 0.7320)):
        large = read_table(published / "gadre.csv", columns, where=[f"name={name}"])
        predicted = found.predict(N=large["n_params"][0], D=large["n_tokens"][0])[0]
        assert 100 * abs(predicted / large["loss"][0] - 1) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("c4_last5", 2.3444),
        ("bpb_mmlu_avg_test", 0.7502),
        ("bpb_hellaswag_val", 0.6532),
        ("bpb_arc_challenge_test", 0.7833),
        ("bpb_arc_easy_test", 0.5931),
        ("bpb_piqa_val", 0.8748),
    ],
)
def test_olmo_ladder_predicts_13b(published: Path, column: str, expected: float) -> None:
    columns = {"n_params": "N_non_embed", "n_tokens": "D", "loss": column}
    runs = read_table(published / "olmo_ladder.csv", columns, where=["mode=train"])
    assert len(runs) == 16
    predicted = fit(CHINCHILLA, runs).predict(N=13202396160.0, D=5000088518656.0)[0]
    assert predicted == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("name", "times"), [("flan", 4.0), ("gigaword", 1.5)])
def test_rectified_law_beats_the_power_law(published: Path, name: str, times: float) -> None:
    """Lin et al. 2402.02314: mean RMSD of ln L at most .0080; that of a plain power law is far more."""
    text = (published / "rectified_finetuning" / f"{name}.csv").read_text()
    wide = list(csv.DictReader(text.splitlines()))
    sizes = [column for column in wide[0] if column.isdigit() and int(column) >= 200]
    plain_law = power_sum(
        "L(F)",
        "power law",
        "L = E + B F^-beta",
        "2402.02314",
        [Term(irreducible("E")), Term(coefficient("B", F="beta"), (("F", "beta"),))],
    )
    rectified, plain = [], []
    for row in wide[:12]:
        table = make_table(
            row["config name"],
            n_params=[float(row["size"])] * len(sizes),
            finetune_tokens=[float(size) for size in sizes],
            loss=[float(row[size]) for size in sizes],
        )
        rectified.append(np.sqrt(np.mean(fit(LAWS["rectified"], table, "squared").residuals ** 2)))
        plain.append(np.sqrt(np.mean(fit(plain_law, table, "squared").residuals ** 2)))
    assert np.mean(rectified) <= 0.0080
    assert np.mean(plain) > times * np.mean(rectified)


def test_repeated_epochs_are_weakly_identified(published: Path) -> None:
    """Muennighoff et al. 2305.16264: the published R_D* is a local minimum, the profile flat."""
    columns = {"n_params": "params", "n_tokens": "tokens", "loss": "val_loss_c4"}
    runs = read_table(published / "muennighoff.csv", columns, where=["in_published_fit=1"])
    assert len(runs) == 182
    law = LAWS["data-constrained"]
    fixed = {
        "E": np.exp(0.6254804),
        "A": np.exp(6.255414),
        "B": np.exp(7.3049974),
        "alpha": 0.3526596,
        "beta": 0.3526596,
    }
    found = fit(law, runs, fixed=fixed)
    problem = found.problem
    there = law.to_theta({**fixed, "R_D_star": 15.39, "R_N_star": 5.31}, problem.centre)
    assert problem.value(there) == pytest.approx(0.0158259, abs=1e-7)
    _near(found.params, {"R_D_star": 95.4, "R_N_star": 1.71}, 5e-3)
    assert found.objective == pytest.approx(0.0158047, abs=1e-7)
    assert found.certificate.n_minima > 1
    assert set(found.certificate.weakly_identified) == {"R_D_star", "R_N_star"}
    flat = profile(problem, found.theta, found.objective, "R_D_star")
    assert np.interp([12.0, 300.0], flat.value, flat.objective - flat.best).max() < flat.rise
    assert flat.low is None or flat.low < 12
    assert flat.high is None or flat.high > 300


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
    certificate = evaluate_given(CHINCHILLA, t, stopped, start=start).certificate
    assert not certificate.converged
    assert certificate.grad_norm > 1e-4
    assert certificate.polish_gain > 0.05
    assert certificate.start_equals_answer
    assert "not converged" in certificate.verdict.words
    good = fit(CHINCHILLA, t).params
    assert evaluate_given(CHINCHILLA, t, good, start=start).certificate.converged
