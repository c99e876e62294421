"""Bounds in published units: kept to, whatever the parameter, and harmless where they do not bind."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.bounds import Ends
from lora_jax.scaling.fitting.fit import evaluate_given, fit
from lora_jax.scaling.fitting.profile import profile
from lora_jax.scaling.intervals.uncertainty import bootstrap
from lora_jax.scaling.laws import CHINCHILLA, LAWS, power_law
from lora_jax.scaling.tables.table import RunTable, make_table

BEYOND = {"E": 0.4, "b": 30.0, "c0": 0.05, "c1": 7.0, "d1": 2e13, "f1": 0.6}  # c1 beyond our usual 5


def _broken() -> RunTable:
    c = np.geomspace(1e11, 1e15, 40)
    p = BEYOND
    bend = (1 + (c / p["d1"]) ** (1 / p["f1"])) ** (-p["c1"] * p["f1"])
    loss = p["E"] + p["b"] * c ** -p["c0"] * bend
    return make_table("broken", flops=c, loss=loss)


def test_a_law_beyond_our_bounds_is_found_where_they_are_moved() -> None:
    law = LAWS["broken-c"]
    assert "c1" in fit(law, _broken(), "squared").certificate.at_bound
    found = fit(law, _broken(), "squared", moved={"c1": (0.0, 10.0)})
    assert found.params == pytest.approx(BEYOND, rel=1e-4)
    assert found.certificate.converged
    assert found.certificate.at_bound == ()


def test_published_constants_beyond_our_bounds_are_judged_within_wider_ones() -> None:
    judged = evaluate_given(LAWS["broken-c"], _broken(), BEYOND, objective="squared")
    assert judged.certificate.at_bound == ()
    assert judged.certificate.converged
    assert any("c1 = 7 lies outside our usual bounds" in note for note in judged.problem.table.notes)
    kept = evaluate_given(LAWS["broken-c"], _broken(), BEYOND, objective="squared", moved={"c1": (None, 6.0)})
    assert kept.certificate.at_bound == ("c1",)


MOVED = [
    ("chinchilla", "A", (None, 200.0)), ("chinchilla", "A", (9000.0, None)), ("chinchilla", "E", (1.4, 1.5)),
    ("chinchilla", "alpha", (0.4, 0.45)), ("chinchilla", "B", (1e5, 1e6)), ("power-n", "N_c", (1e9, None)),
    ("power-n", "N_c", (None, 1e3)), ("kaplan", "D_c", (1e8, None)), ("shared-exponent", "gamma", (1.5, 2.0)),
    ("farseer", "b3", (2.0, 3.0)), ("broken-n", "d1", (3e7, 1e9)), ("rectified", "B", (None, 10.0)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "parameter", "ends"), MOVED)
def test_a_parameter_keeps_to_bounds_in_its_own_unit(
    name: str, parameter: str, ends: tuple[float | None, float | None], sweep: Callable[..., RunTable]
) -> None:
    table = sweep(6, 5)
    fine = np.random.default_rng(0).permutation(np.geomspace(1e3, 1e6, len(table)))
    table = replace(table, columns={**table.columns, "finetune_tokens": fine})
    found = fit(LAWS[name], table, "squared", moved={parameter: ends})
    value = found.params[parameter]
    assert ends[0] is None or value >= ends[0] * (1 - 1e-9)
    assert ends[1] is None or value <= ends[1] * (1 + 1e-9)
    if parameter in found.certificate.at_bound:
        assert min(abs(value / end - 1) for end in ends if end is not None) < 1e-6
        assert parameter in found.certificate.verdict.words.split("at a bound: ")[1].split(";")[0].split(", ")
        drawn = bootstrap(found, 50).params[parameter]
        assert ends[0] is None or drawn.min() >= ends[0] * (1 - 1e-9)
        assert ends[1] is None or drawn.max() <= ends[1] * (1 + 1e-9)


@pytest.mark.parametrize(
    "moved", [{"A": (1.0, 1e9)}, {"B": (None, 1e9), "E": (0.1, None)}, {"alpha": (-1.0, 9.0)}]
)
def test_bounds_that_do_not_bind_change_nothing(
    moved: dict[str, Ends], sweep: Callable[..., RunTable]
) -> None:
    table = sweep(6, 5)
    one, other = fit(CHINCHILLA, table), fit(CHINCHILLA, table, moved=moved)
    assert other.params == pytest.approx(one.params, rel=1e-6)
    assert other.certificate.condition_number == pytest.approx(one.certificate.condition_number, rel=1e-3)
    drawn = [profile(f.problem, f.theta, f.objective, "A") for f in (one, other)]
    assert drawn[1].low == pytest.approx(drawn[0].low, rel=1e-3)
    assert drawn[1].high == pytest.approx(drawn[0].high, rel=1e-3)


def test_a_moved_exponent_may_rise() -> None:
    n = np.geomspace(1e5, 1e9, 9)
    table = make_table("up", n_params=n, loss=2 * (n / 1e5) ** 0.1)
    found = fit(power_law("N"), table, "squared", moved={"alpha_N": (-1.0, 1.0)})
    assert found.params["alpha_N"] == pytest.approx(-0.1)


def test_mistakes_get_one_sentence(sweep: Callable[..., RunTable]) -> None:
    table = sweep()

    def refuses(moved: dict[str, Ends], words: str, fixed: dict[str, float] | None = None) -> None:
        with pytest.raises(LoraJaxError, match=words):
            fit(CHINCHILLA, table, moved=moved, fixed=fixed)

    refuses({"alpa": (0.0, 1.0)}, "nearest: 'alpha'")
    refuses({"alpha": (1.0, 0.5)}, "give the lower one first")
    refuses({"alpha": (0.5, 0.5)}, "give the lower one first")
    refuses({"A": (None, -1.0)}, "A is above 0")
    refuses({"alpha": (None, -1.0)}, "give the lower end too")
    refuses({"alpha": (7.0, None)}, "give the upper end too")
    refuses({"E": (None, None)}, "are empty")
    refuses({"alpha": (0.1, 1.0)}, "is fixed", fixed={"alpha": 0.3})
    with pytest.raises(LoraJaxError, match="one end"):
        fit(power_law("N"), table, moved={"N_c": (1.0, 2.0)})
