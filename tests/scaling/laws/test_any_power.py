"""Power laws of any columns: regression of logarithms, published exponents, and what they cannot say."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.documents import fit_from_document
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.intervals.uncertainty import bootstrap
from lora_jax.scaling.laws import find_law, recall_law
from lora_jax.scaling.laws.any_power import any_power
from lora_jax.scaling.one_law import Questions
from lora_jax.scaling.tables.table import RunTable, make_table, read_table
from tests.as_documents import fit_law

STEP_LAW = {"k": 1.79, "a": -0.713, "b": 0.307}  # the best rate of Step Law, 2503.04715


def _rates(noise: float = 0.05, n: int = 30, seed: int = 0) -> RunTable:
    rng = np.random.default_rng(seed)
    n_params, n_tokens = np.exp(rng.uniform(18, 21, n)), np.exp(rng.uniform(21, 25, n))
    rate = 1.79 * n_params**-0.713 * n_tokens**0.307 * np.exp(noise * rng.standard_normal(n))
    return make_table("rates", n_params=n_params, n_tokens=n_tokens, lr=rate)


@pytest.mark.parametrize("objective", ["huber", "l1", "squared", "least-squares"])
def test_exact_rows_give_the_law_back_rising_and_falling(objective: str) -> None:
    found = fit(any_power("lr", ["N", "D"]), _rates(noise=0), objective)
    assert found.params == pytest.approx(STEP_LAW, rel=1e-7)
    assert found.certificate.converged


def test_the_fit_is_linear_regression_of_logarithms() -> None:
    table = _rates()
    design = np.stack([np.ones(len(table)), np.log(table["n_params"]), np.log(table["n_tokens"])], axis=1)
    theirs, *_ = np.linalg.lstsq(design, np.log(table["lr"]), rcond=None)
    found = fit(any_power("lr", ["N", "D"]), table, "squared")
    assert [np.log(found.params["k"]), found.params["a"], found.params["b"]] == pytest.approx(
        theirs, rel=1e-9
    )
    assert found.certificate.verdict.is_believed


def test_intervals_are_those_of_student(sweep: Callable[..., RunTable]) -> None:
    """With normal noise a slope's interval has a closed form, which the bootstrap must give."""
    from scipy.stats import t

    table = _rates(n=12, seed=3)
    design = np.stack([np.ones(12), np.log(table["n_params"]), np.log(table["n_tokens"])], axis=1)
    theirs, square, *_ = np.linalg.lstsq(design, np.log(table["lr"]), rcond=None)
    error = np.sqrt(square[0] / 9 * np.linalg.inv(design.T @ design)[1, 1])
    half = t.ppf(0.975, 9) * error
    drawn = bootstrap(fit(any_power("lr", ["N", "D"]), table, "squared"), 4000, kind="parametric")
    low, high = drawn.intervals()["a"].interval
    assert [low - theirs[1], high - theirs[1]] == pytest.approx([-half, half], rel=0.08)


def test_published_exponents_of_n_star(published: Path) -> None:
    """N* = k C^a through the published optima gives the exponent of each published configuration."""
    configurations = json.loads((published / "porian_published_fits.json").read_text())
    for one in configurations:
        pairs = [(o["flops"], o["n_star_bs_median"]) for o in one["optima"]]
        flops, sizes = zip(*(pair for pair in pairs if pair[1]), strict=True)  # null: no optimum there
        table = make_table("optima", flops=flops, n_opt=sizes)
        found = fit(any_power("n_opt", ["C"]), table, "squared").params
        assert found["a"] == pytest.approx(one["a_unweighted"], abs=1e-6)
        assert found["k"] == pytest.approx(one["n_coef_unweighted"], rel=1e-4)


def test_units_of_a_variable_scale_k_alone() -> None:
    table = _rates()
    billions = make_table("b", n_params=table["n_params"] / 1e9, n_tokens=table["n_tokens"], lr=table["lr"])
    law = any_power("lr", ["N", "D"])
    one, other = fit(law, table).params, fit(law, billions).params
    assert other["a"] == pytest.approx(one["a"], rel=1e-9)
    assert other["k"] == pytest.approx(one["k"] * 1e9 ** one["a"], rel=1e-7)


def test_the_document_speaks_of_the_response_and_of_no_loss(tmp_path: Path) -> None:
    from lora_jax.report.fit.page import write_fit_report

    asked = Questions("squared", n_bootstrap=200, predict=[{"n_params": 1e9, "D": 1e11}], figures=True)
    document = fit_law(_rates(), any_power("lr", ["N", "D"]), asked)
    first = document["predictions"][0]
    assert first["quantity"] == "lr"
    assert first["at"] == {"N": 1e9, "D": 1e11}
    assert first["ci95"][0] < 1.79 * 1e9**-0.713 * 1e11**0.307 < first["ci95"][1]
    page = write_fit_report(fit_from_document(document), tmp_path).read_text()
    assert "nats per token" not in page.split("Settings")[0]
    assert (tmp_path / "figures" / "fit.png").exists()
    law = recall_law(document["formula"], "lr", ["N", "D"])
    assert law is not None
    assert law.key == "lr(N,D)"


def test_any_column_may_be_a_variable_and_a_loss_is_not_needed(tmp_path: Path) -> None:
    path = tmp_path / "optima.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["batch tokens", "best rate"])
        writer.writerows([b, 3e-6 * b**0.5] for b in np.geomspace(1e4, 1e7, 6))
    table = read_table(path, needs_loss=False)
    found = fit(any_power("best rate", ["batch tokens"]), table, "squared")
    assert found.params == pytest.approx({"k": 3e-6, "a": 0.5}, rel=1e-9)
    with pytest.raises(LoraJaxError, match="no column 'loss'"):
        read_table(path)


def test_mistakes_get_one_sentence() -> None:
    with pytest.raises(LoraJaxError, match="different columns"):
        any_power("lr", ["N", "N"])
    with pytest.raises(LoraJaxError, match="none of them the response"):
        any_power("flops", ["flops"])
    with pytest.raises(LoraJaxError, match="--response n_opt --of flops"):
        find_law("power")
    with pytest.raises(LoraJaxError, match="lr has values that are not above 0: row 2"):
        fit(any_power("lr", ["N"]), make_table("t", n_params=[1, 2, 3], lr=[1, 0, 2]))
    with pytest.raises(LoraJaxError, match="no least loss at a budget"):
        fit_law(_rates(), any_power("lr", ["N", "D"]), Questions(n_bootstrap=50, budgets=[1e20]))
    with pytest.raises(LoraJaxError, match="leave --compare out"):
        fit_law(_rates(), any_power("lr", ["N", "D"]), Questions(n_bootstrap=50, compare=True))
