"""The law of steps and batch: the best batch that it says, cells by batch, units that are named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from lora_jax.scaling.comparing.candidates import screen
from lora_jax.scaling.comparing.origins import cut, order_rows
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.intervals.uncertainty import bootstrap
from lora_jax.scaling.laws import LAWS
from lora_jax.scaling.one_law import Questions, fit_law
from lora_jax.scaling.tables.batches import batch_doubt, batch_unit
from lora_jax.scaling.tables.reshaping import Reshaping
from lora_jax.scaling.tables.run_table import RunTable
from lora_jax.scaling.tables.table import make_table, read_table
from tests.scaling.near import fit_near

LAW = LAWS["steps-batch"]
TRUTH = {"E": 1.5, "A_N": 300.0, "alpha": 0.32, "A_S": 12.0, "beta": 0.36, "A_B": 1.2, "gamma": 0.24}
CENTRE = {"N": 1.0, "S": 1.0, "B": 1.0}


def runs(seed: int | None = None, tokens_each: float = 1.0, noise: float = 0.005) -> RunTable:
    """Four sizes, three lengths, five batches; the batch counts sequences of `tokens_each` tokens."""
    n, d, b = (
        x.ravel()
        for x in np.meshgrid(np.geomspace(1e7, 1e9, 4), np.geomspace(1e9, 1e11, 3), np.geomspace(3e4, 8e6, 5))
    )
    loss = np.exp(
        LAW.log_response(LAW.to_theta(TRUTH, CENTRE), LAW.features({"N": n, "S": d / b, "B": b}, CENTRE))
    )
    if seed is not None:
        loss = loss * np.exp(noise * np.random.default_rng((5, seed)).standard_normal(len(n)))
    return make_table("made up", n_params=n, n_tokens=d, n_steps=d / b, batch_size=b / tokens_each, loss=loss)


def test_the_best_batch_at_fixed_tokens_grows_with_the_power_that_is_derived() -> None:
    """Against a search for the least loss at D = S B."""

    def best(d: float) -> float:
        def loss(ln_b: float) -> float:
            b = np.exp(ln_b)
            return TRUTH["A_S"] * (d / b) ** -TRUTH["beta"] + TRUTH["A_B"] * b ** -TRUTH["gamma"]

        found: Any = minimize_scalar(loss, bounds=(0, 40), method="bounded", options={"xatol": 1e-10})
        return float(found.x)

    slope = (best(1e12) - best(1e9)) / np.log(1e3)
    theta = {k: np.asarray(v) for k, v in TRUTH.items()}
    assert float(LAW.derived["batch_power"](theta)) == pytest.approx(slope, rel=1e-6)
    assert LAW.leading(LAW.to_theta(TRUTH, CENTRE)) == ("batch_power", pytest.approx(slope, rel=1e-6))


def test_the_batch_may_count_tokens_or_sequences() -> None:
    """Exponents and losses are the same; the coefficient follows the unit, which the report names."""
    tokens, sequences = runs(0), runs(0, tokens_each=2048)
    assert (batch_unit(tokens), batch_unit(sequences)) == ("tokens", "sequences of 2048 tokens")
    one, other = (fit_law(table, LAW, Questions(n_bootstrap=50)) for table in (tokens, sequences))
    for name in ("E", "alpha", "beta", "gamma", "A_S"):
        assert other.params[name].value == pytest.approx(one.params[name].value, rel=1e-5)
    gamma = one.params["gamma"].value
    assert other.params["A_B"].value * 2048**gamma == pytest.approx(one.params["A_B"].value, rel=1e-5)
    assert any("counts sequences of 2048 tokens" in note for note in other.notes)


def test_a_batch_that_disagrees_with_steps_and_tokens_is_named() -> None:
    table = runs(0)
    batch = table["batch_size"].copy()
    batch[7] *= 4
    wrong = replace(table, columns={**table.columns, "batch_size": batch})
    assert batch_doubt(table, LAW.variables) is None
    doubt = batch_doubt(wrong, LAW.variables)
    assert doubt is not None
    assert "from 0.25 (row 8) to 1 " in doubt
    assert batch_doubt(wrong, ("N", "D")) is None
    report = fit_law(wrong, LAW, Questions(n_bootstrap=20))
    assert report.certificate.verdict.level != "believe"
    assert any(
        "n_tokens, n_steps and batch_size do not agree" in line for line in report.certificate.warnings
    )


def test_without_tokens_the_unit_is_said_to_be_unknown() -> None:
    table = runs(0)
    bare = make_table("bare", **{k: table[k] for k in ("n_params", "n_steps", "batch_size", "loss")})
    assert batch_unit(bare) is None
    assert any("does not say which" in note for note in fit_law(bare, LAW, Questions(n_bootstrap=20)).notes)


def test_the_best_rate_is_chosen_at_each_batch(tmp_path: Path) -> None:
    table = runs(0)
    path = tmp_path / "rates.csv"
    names = ("n_params", "n_tokens", "n_steps", "batch_size")
    lines = [",".join((*names, "lr", "loss"))]
    for i in range(len(table)):
        start = ",".join(f"{table[name][i]:.10g}" for name in names)
        lines += [f"{start},{lr},{table['loss'][i] * (1 + 0.01 * abs(lr - 2)):.10g}" for lr in (1, 2, 3)]
    path.write_text("\n".join(lines) + "\n")
    apart = read_table(path, reshaping=Reshaping(best_per_cell=True, apart=("B",)))
    assert len(apart) == len(table)
    np.testing.assert_allclose(apart["loss"], table["loss"], rtol=1e-9)
    assert len(read_table(path, reshaping=Reshaping(best_per_cell=True))) == 12


def test_the_law_is_compared_where_steps_and_batch_vary() -> None:
    table = runs(0)
    named = {"steps-batch": LAW, "chinchilla": LAWS["chinchilla"]}
    kept, _ = screen(table, named, "loss", cut(order_rows(table)))
    assert [name for name, _ in kept] == ["steps-batch", "chinchilla"]
    one = table.take(table["batch_size"] == table["batch_size"][0])
    reasons = {e.name: e.reason for e in screen(one, named, "loss", cut(order_rows(one)))[1]}
    assert reasons["steps-batch"] == "batch_size (B) is the same in every row"


@pytest.mark.slow
def test_intervals_of_the_power_of_the_batch_are_as_wide_as_it_scatters() -> None:
    """And centred: what makes 95% of them hold the truth. Of 200 tables in 2026, 95% did.

    The spread of 200 estimates is known to 5%, the mean width of 25 intervals to less, so that a fifth is
    more than three standard errors. Intervals a fifth too narrow would hold the truth in 88 of 100 tables.
    """
    truth = TRUTH["beta"] / (TRUTH["beta"] + TRUTH["gamma"])
    fits = [fit_near(LAW, runs(seed), TRUTH) for seed in range(200)]
    estimates = np.array([f.params["beta"] / (f.params["beta"] + f.params["gamma"]) for f in fits])
    assert abs(estimates.mean() - truth) < 0.3 * estimates.std()
    spread = np.ptp(np.quantile(estimates, [0.025, 0.975]))
    found = [bootstrap(f, 200, seed=seed) for seed, f in enumerate(fits[:25])]
    widths = [np.ptp(one.interval_of(LAW.derived["batch_power"]).interval) for one in found]
    assert np.mean(widths) == pytest.approx(spread, rel=0.2)


def test_step_laws_runs_have_a_best_batch_that_grows_with_the_tokens(published: Path) -> None:
    """Li et al. 2025 (2503.04715) find D^0.571 from the best runs alone."""
    path = published / "step_law.csv"
    if not path.exists():
        pytest.skip("the runs of Step Law are not there")
    mapping = {"loss": "smooth loss", "n_params": "N", "n_tokens": "D", "batch_size": "bs", "n_steps": "ti"}
    table = read_table(path, mapping, reshaping=Reshaping(best_per_cell=True, apart=("B",)))
    assert batch_unit(table) == "sequences of 2048 tokens"
    params = fit(LAW, table).params
    assert params["beta"] / (params["beta"] + params["gamma"]) == pytest.approx(0.571, abs=0.12)
