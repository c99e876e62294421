"""The laboratory's document: what it holds, what it warns of, and that it is JSON."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.laws import CHINCHILLA, LAWS, power_law
from lora_jax.scaling.one_law import Questions
from lora_jax.scaling.tables.table import RunTable, make_table
from tests.as_documents import fit_law

TOP = {
    "law", "name", "formula", "reference", "variables", "response", "table", "n", "n_clusters", "loss_unit",
    "response_unit",
    "clusters", "columns", "unit_told",
    "n_column", "flops_column", "notes", "left_out", "objective", "params", "derived", "leading", "bootstrap",
    "certificate", "predictions", "differences", "runs", "profiles", "samples", "band", "frontier",
    "conventions", "comparison", "command", "versions", "format",
}  # fmt: skip
FEW = 200
NONE_READ = 20  # replicates, where no interval is looked at


def test_the_document_is_whole_and_json(sweep: Callable[..., RunTable]) -> None:
    table = sweep(6, 5)
    asked = Questions(
        n_bootstrap=FEW,
        predict=[{"N": 1e7, "D": 1e8}],
        budgets=[1e16],
        serve=[(1.6, 1e9)],
        versus=["besiroglu"],
        figures=True,
    )
    document = fit_law(table, CHINCHILLA, asked, "lora-jax fit")
    assert set(document) == TOP
    assert set(document["params"]) == {"E", "A", "alpha", "B", "beta"} == set(document["profiles"])
    for row in document["params"].values():
        assert row["ci95"][0] <= row["value"] <= row["ci95"][1]
    assert [row["quantity"] for row in document["predictions"]] == [
        "loss",
        "loss of one run",
        "N*",
        "D*",
        "D/N",
        "loss",
        "N to serve",
        "D to serve",
        "FLOPs in all",
        "D/N to serve",
    ]
    assert document["differences"][0]["p"] < 0.05
    assert document["leading"] == {"name": "a", "value": pytest.approx(document["derived"]["a"]["value"])}
    assert len(document["runs"]) == document["n"] == len(table)
    assert all(row["influence"] is not None for row in document["runs"])
    json.dumps(document, allow_nan=False)


def test_the_numbers_are_the_fits(sweep: Callable[..., RunTable]) -> None:
    table = sweep(6, 5)
    found = fit(CHINCHILLA, table)
    document = fit_law(table, CHINCHILLA, Questions(n_bootstrap=FEW, predict=[{"N": 1e7, "D": 1e8}]))
    assert {k: row["value"] for k, row in document["params"].items()} == pytest.approx(found.params)
    assert document["objective"]["value"] == found.objective
    said, one_run = document["predictions"]
    assert said["value"] == pytest.approx(found.predict(N=1e7, D=1e8)[0])
    assert said["beyond"] == pytest.approx(1e15 / (table["n_params"] * table["n_tokens"]).max())
    assert one_run["ci95"][1] - one_run["ci95"][0] > said["ci95"][1] - said["ci95"][0]
    for row, residual in zip(document["runs"], found.residuals, strict=True):
        assert np.log(row["measured"] / row["fitted"]) == pytest.approx(residual, abs=1e-12)


def test_one_variable_has_a_band_and_two_a_frontier(sweep: Callable[..., RunTable]) -> None:
    one = fit_law(sweep(), power_law("N"), Questions(objective="squared", n_bootstrap=FEW))
    assert one["frontier"] is None
    assert len(one["band"]["x"]) == 60
    assert all(
        low < mid < high
        for low, mid, high in zip(one["band"]["lo"], one["band"]["loss"], one["band"]["hi"], strict=True)
    )
    two = fit_law(sweep(6, 5), CHINCHILLA, Questions(n_bootstrap=FEW))
    assert two["band"] is None
    sizes = [row["n_params"]["value"] for row in two["frontier"]["rows"]]
    assert sizes == sorted(sizes)


def test_conventions_move_the_exponent(sweep: Callable[..., RunTable]) -> None:
    """Counting the embeddings shrinks the range of N, so its exponent grows."""
    asked = Questions(objective="squared", n_bootstrap=FEW)
    rows = fit_law(sweep(6, 5), power_law("N"), asked)["conventions"]
    values = {row["n_column"]: row["exponent"]["value"] for row in rows.values()}
    assert values["n_params"] < values["n_params_with_head"] < values["n_params_total"]


def test_a_fixed_parameter_stays_and_has_no_interval(sweep: Callable[..., RunTable]) -> None:
    document = fit_law(
        sweep(6, 5), CHINCHILLA, Questions(n_bootstrap=FEW, fixed={"E": 1.2, "beta": 0.4, "B": 4e4**0.4})
    )
    assert document["params"]["E"]["value"] == pytest.approx(1.2)
    assert document["params"]["E"]["fixed"]
    assert document["params"]["E"]["ci95"] is None
    assert document["params"]["alpha"]["value"] == pytest.approx(0.35, abs=0.02)
    with pytest.raises(LoraJaxError, match=r"A has the unit of a power, so it needs alpha too"):
        fit_law(sweep(6, 5), CHINCHILLA, Questions(fixed={"A": 100.0}))


def test_standard_errors_are_weights(sweep: Callable[..., RunTable]) -> None:
    """A run with a huge standard error counts for nothing."""
    table = sweep(6, 5)
    se = 0.01 * table["loss"]  # of ln L the same in every run
    loss = table["loss"].copy()
    loss[3], se[3] = 2 * loss[3], 1e4
    spoiled = replace(table, columns={**table.columns, "loss": loss, "loss_se": se})
    asked = Questions(objective="squared", n_bootstrap=FEW, weights="loss_se")
    weighted = fit_law(spoiled, CHINCHILLA, asked)["params"]
    clean = fit(CHINCHILLA, table.take(np.delete(np.arange(len(table)), 3)), "squared").params
    assert {k: v["value"] for k, v in weighted.items()} == pytest.approx(clean, rel=1e-3)
    broken = replace(spoiled, columns={**spoiled.columns, "loss_se": 0 * se})
    with pytest.raises(LoraJaxError, match="standard errors that are not above 0"):
        fit_law(broken, CHINCHILLA, asked)


def test_few_runs_are_warned_of(sweep: Callable[..., RunTable]) -> None:
    few = sweep().take(range(8))
    verdict = fit_law(few, CHINCHILLA, Questions(n_bootstrap=FEW))["certificate"]["verdict"]
    assert verdict.startswith("be careful")
    assert "8 runs for 5 parameters" in verdict


def test_somebodys_parameters_are_judged_not_fitted(sweep: Callable[..., RunTable]) -> None:
    given = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}
    document = fit_law(sweep(6, 5), CHINCHILLA, Questions(n_bootstrap=FEW, given=given))
    assert {k: row["value"] for k, row in document["params"].items()} == pytest.approx(given)
    assert not document["certificate"]["converged"]
    assert "not converged" in document["certificate"]["verdict"]
    assert "above the minimum" in document["certificate"]["verdict"]


GIVEN = {"E": 1.2, "A": 30.0, "alpha": 0.35, "B": 40.0, "beta": 0.4}


def test_what_is_judged_has_no_interval_and_the_fit_beside_it_has(sweep: Callable[..., RunTable]) -> None:
    """An interval belongs to the value that it was made around, in every part of the document."""
    asked = Questions(
        n_bootstrap=FEW,
        predict=[{"N": 1e7, "D": 1e8}],
        budgets=[1e16],
        serve=[(1.6, 1e9)],
        versus=["besiroglu"],
        figures=True,
    )
    table = sweep(6, 5)
    fitted = fit_law(table, CHINCHILLA, asked)
    judged = fit_law(table, CHINCHILLA, replace(asked, given=GIVEN))
    for part in ("params", "derived"):
        for name, row in judged[part].items():
            assert (row["se"], row["ci95"]) == (None, None), name
            assert row["fitted"]["value"] == fitted[part][name]["value"], name
            assert row["fitted"]["ci95"] == fitted[part][name]["ci95"], name
    assert judged["predictions"]
    for row in judged["predictions"]:
        assert (row["se"], row["ci95"], row["ci80"]) == (None, None, None), row["quantity"]
        assert not row["quantity"].endswith("of one run")
    value = GIVEN["E"] + GIVEN["A"] * 1e7 ** -GIVEN["alpha"] + GIVEN["B"] * 1e8 ** -GIVEN["beta"]
    assert judged["predictions"][0]["value"] == pytest.approx(value)
    assert not judged["profiles"]
    assert not judged["samples"]
    assert judged["frontier"] is None
    assert judged["differences"] == fitted["differences"]  # of the fit, which is what has an uncertainty
    shifts = [[run["influence"] for run in d["runs"]] for d in (judged, fitted)]
    assert shifts[0] == shifts[1]
    json.dumps(judged, allow_nan=False)


@pytest.mark.parametrize(
    "options",
    [
        {"delta": 0.01},
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in ({"weights": "loss_se"}, {"fixed": {"E": 1.1}}, {"objective": "l1"})
        ),
    ],
    ids=str,
)
def test_the_judge_heeds_delta_weights_and_what_is_fixed(
    sweep: Callable[..., RunTable], options: dict[str, Any]
) -> None:
    """A minimum under these options is one to the judge with them, and none without."""
    table = sweep(6, 5, noise=0.02)
    se = table["loss"] * np.geomspace(0.001, 0.05, len(table))
    table = replace(table, columns={**table.columns, "loss_se": se})
    asked = replace(Questions(n_bootstrap=NONE_READ), **options)
    params = {k: v["value"] for k, v in fit_law(table, CHINCHILLA, asked)["params"].items()}
    with_them = fit_law(table, CHINCHILLA, replace(asked, given=params))
    assert with_them["certificate"]["converged"]
    without = fit_law(table, CHINCHILLA, Questions(n_bootstrap=NONE_READ, given=params))
    assert not without["certificate"]["converged"]


def test_what_is_judged_may_not_be_fixed_elsewhere(sweep: Callable[..., RunTable]) -> None:
    table = sweep(6, 5, noise=0.02)
    with pytest.raises(LoraJaxError, match=r"E is fixed at 1.1 and 1.2 is to be judged"):
        fit_law(table, CHINCHILLA, Questions(n_bootstrap=NONE_READ, given=GIVEN, fixed={"E": 1.1}))


def test_the_objective_is_named_with_its_delta(sweep: Callable[..., RunTable]) -> None:
    table = sweep(4, 4)
    for delta, said in ((None, "Huber(1e-3)"), (0.05, "Huber(0.05)"), (2.5e-4, "Huber(2.5e-4)")):
        asked = Questions(n_bootstrap=NONE_READ, delta=delta)
        assert said in fit_law(table, CHINCHILLA, asked)["objective"]["words"]
    with pytest.raises(LoraJaxError, match=r"'l1' has no delta and 0\.01 was given"):
        fit_law(table, CHINCHILLA, Questions(n_bootstrap=NONE_READ, objective="l1", delta=0.01))
    with pytest.raises(LoraJaxError, match=r"delta of the Huber is 0\.0, but it must be a number from"):
        fit_law(table, CHINCHILLA, Questions(n_bootstrap=NONE_READ, delta=0.0))


def test_other_laws_are_compared_under_the_same_objective(sweep: Callable[..., RunTable]) -> None:
    asked = Questions(n_bootstrap=FEW, delta=0.02, compare=True)
    found = fit_law(sweep(6, 5), CHINCHILLA, asked)["comparison"]
    assert (found["objective"], found["delta"]) == ("huber", 0.02)


def test_a_bound_hands_over_to_the_profile() -> None:
    """No floor in the data: bootstrap replicates end at its bound, and the profile says that it is open."""
    n = np.geomspace(1e4, 1e7, 30)
    loss = (1e10 / n) ** 0.08 * np.exp(0.004 * np.random.default_rng(0).standard_normal(30))
    asked = Questions(objective="squared", n_bootstrap=FEW)
    document = fit_law(make_table("x", n_params=n, loss=loss), LAWS["power-n-floor"], asked)
    row = document["params"]["E"]
    assert row["by"] == "profile"
    assert row["profile95"][0] is None
    assert row["ci95"] is None
    assert document["certificate"]["verdict"].startswith("be careful")


def test_questions_of_the_wrong_law_get_one_sentence(sweep: Callable[..., RunTable]) -> None:
    with pytest.raises(LoraJaxError, match="a budget is split by laws of N and D"):
        fit_law(sweep(), power_law("N"), Questions(n_bootstrap=FEW, budgets=[1e15]))
    with pytest.raises(LoraJaxError, match="has no variable 'M'"):
        fit_law(sweep(), CHINCHILLA, Questions(n_bootstrap=FEW, predict=[{"M": 1.0}]))
    with pytest.raises(LoraJaxError, match="needs D to predict"):
        fit_law(sweep(), CHINCHILLA, Questions(n_bootstrap=FEW, predict=[{"N": 1e7}]))
