"""Designs: the promised interval is what refitting gives, budgets are kept, and a ladder does worse."""

import json
from typing import Any

import numpy as np
import pytest

from lora_jax.documents import to_document
from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.certificate import COLLINEAR
from lora_jax.scaling.fitting.fit import evaluate_given, fit
from lora_jax.scaling.laws import CHINCHILLA, power_law
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.planning.design import Cell, check_design
from lora_jax.scaling.planning.forecast import student_t
from lora_jax.scaling.planning.lattice import Limits, lattices, paid_flops
from lora_jax.scaling.planning.plan_design import ladder_runs, plan_design
from lora_jax.scaling.tables.table import RunTable, make_table

HOFFMANN = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}  # 2203.15556, equation 10
SMALL: dict[str, Any] = {"max_runs": 12, "n_simulated": 0}  # few lattices, for speed


def loss_of(n: Array, d: Array, params: dict[str, float] = HOFFMANN) -> Array:
    return params["E"] + params["A"] * n ** -params["alpha"] + params["B"] * d ** -params["beta"]


def runs(cells: tuple[Cell, ...]) -> tuple[Array, Array]:
    return np.array([c.n_params for c in cells]), np.array([c.n_tokens for c in cells])


def table_of(n: Array, d: Array, noise: float = 0.0, seed: int = 0) -> RunTable:
    scatter = np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    return make_table("synthetic", n_params=n, n_tokens=d, loss=loss_of(n, d) * scatter)


def cells_of(n: Array, d: Array) -> list[Cell]:
    return [Cell(float(x), float(y), float(6 * x * y), float(6 * x * y)) for x, y in zip(n, d, strict=True)]


def grid() -> tuple[Array, Array]:
    n, ratio = np.meshgrid(np.geomspace(1e6, 1e8, 4), [5.0, 20.0, 80.0])
    return n.ravel(), (n * ratio).ravel()


# ------------------------------------------------------------------------------------------ the search


def limits(**changes: Any) -> Limits:
    base: dict[str, Any] = {
        "budget_flops": 1e18,
        "n_range": (1e4, np.inf),
        "ratio_range": (4.0, 400.0),
        "min_runs": 10,
        "max_runs": 16,
    }
    return Limits(**(base | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"share_trunks": True},
        {"flops_per_token": lambda n: 6 * n + 40 * np.sqrt(n) * 128},
        {"n_range": (1e6, 3e7)},
        {"max_tokens": 3e8},
        {"max_share": 0.3},
    ],
)
def test_every_lattice_keeps_to_the_limits(changes: dict[str, Any]) -> None:
    limit = limits(**changes)
    found = list(lattices(limit))
    assert len(found) > 5
    spent = []
    for one in found:
        n, d = one.n_params, one.n_tokens
        paid = paid_flops(limit, n, d)
        spent.append(paid.sum() / limit.budget_flops)
        assert spent[-1] < 1 + 1e-3
        assert limit.n_range[0] * (1 - 1e-6) <= n.min() <= n.max() <= limit.n_range[1] * (1 + 1e-6)
        assert 4 * (1 - 1e-3) < (d / n).min() < (d / n).max() < 400 * (1 + 1e-3)
        assert d.max() <= limit.max_tokens + 1
        assert 10 <= len(n) <= 16
        assert (6 * n * d).max() <= limit.max_share * (6 * n * d).sum() * (1 + 1e-3)
        check_design(cells_of(n, d))
    if not {"n_range", "max_tokens"} & set(changes):
        assert min(spent) > 1 - 1e-3


def test_a_trunk_is_paid_once() -> None:
    n, d = np.array([1e6, 1e6, 1e6, 2e6]), np.array([4e7, 1e7, 2e7, 1e7])
    paid = paid_flops(limits(share_trunks=True), n, d)
    assert paid.sum() == pytest.approx(6e6 * (4e7 + 0.2 * 3e7) + 12e6 * 1e7)
    assert paid[1] == 6e6 * 1e7  # the shortest has nobody's trunk to use
    assert paid_flops(limits(), n, d) == pytest.approx(6 * n * d)


def test_more_money_runs_or_knowledge_never_widen_the_interval() -> None:
    def width(budget: float, **more: Any) -> float:
        return plan_design(HOFFMANN, budget, target={"N": 1e9, "D": 4e10}, **(SMALL | more)).half_width

    base = width(1e18)
    assert width(1e19) < base
    assert width(1e18, max_runs=16) < base
    assert width(1e18, share_trunks=True) < base
    assert width(1e18, existing=table_of(*grid())) < base
    assert width(1e18, ratio_range=(10.0, 100.0)) >= base / 1.02  # within the tolerance of a simpler choice
    assert width(1e18, noise_sd=0.03) == pytest.approx(3 * base)


def test_a_plan_is_told_in_plain_numbers() -> None:
    plan = plan_design(HOFFMANN, 1e18, target_flops=1e19, flops_per_second=1e12, **SMALL)
    text = json.loads(json.dumps(to_document(plan.report()), allow_nan=False))
    assert text["n_runs"] == len(text["cells"]) == len(plan.cells) <= 12
    assert text["spent_flops"] == pytest.approx(1e18, rel=1e-3)
    assert text["seconds"] == pytest.approx(1e6, rel=1e-3)
    assert text["degrees_of_freedom"] == len(plan.cells) - 5
    low, high = text["loss_at_target"]["ci95"]
    assert np.log(high / low) == pytest.approx(2 * plan.half_width)
    assert text["loss_at_target"]["se"] * student_t(text["degrees_of_freedom"]) == pytest.approx(
        text["loss_at_target"]["value"] * plan.half_width
    )
    assert text["simulated"] is text["ladder"] is None
    assert plan.words in text["design"]


def test_a_plan_says_what_it_takes_for_granted() -> None:
    far = plan_design(HOFFMANN, 1e18, target={"N": 1e11, "D": 2e12}, n_range=(1e4, 1e6), **SMALL).warnings
    for words in ("times the dearest run", "of the budget unspent", "on the line D = 20 N"):
        assert any(words in one for one in far), words
    skewed = plan_design(HOFFMANN, 1e18, target={"N": 1e8, "D": 1e12}, **SMALL).warnings
    assert any("outside the runs'" in one for one in skewed)


# ------------------------------------------------------------------------------------- plan and ladder


@pytest.mark.parametrize(
    ("budget", "multiple", "noise"), [(1e18, 100, 0.02), (1e20, 10, 0.005), (1e22, 30, 0.02)]
)
def test_the_plan_is_narrower_than_the_ladder_and_as_narrow_as_promised(
    budget: float, multiple: float, noise: float
) -> None:
    plan = plan_design(
        HOFFMANN,
        budget,
        noise_sd=noise,
        target_flops=multiple * budget,
        n_simulated=150,
    )
    ladder = plan.ladder
    assert ladder is not None
    assert len(ladder.cells) == len(plan.cells)
    assert sum(c.flops for c in ladder.cells) == pytest.approx(plan.spent_flops, rel=1e-3)
    assert ladder.plan_spread.half_width < 0.7 * ladder.spread.half_width
    assert plan.half_width == pytest.approx(ladder.plan_spread.half_width, rel=0.25)
    with pytest.raises(LoraJaxError, match="D = 20 N in every run"):
        check_design(ladder.cells)


@pytest.mark.slow
@pytest.mark.parametrize(("budget", "noise"), [(1e18, 0.02), (1e22, 0.005)])
def test_the_whole_fit_agrees(budget: float, noise: float) -> None:
    """`fit` from its own starts, on tables drawn one by one: a ladder's take seconds each, so 40 of them."""
    plan = plan_design(HOFFMANN, budget, noise_sd=noise, target_flops=30 * budget, n_simulated=0)
    limit, at = limits(budget_flops=budget), plan.forecast.target

    def sd(n: Array, d: Array, n_tables: int) -> float:
        fits = [fit(CHINCHILLA, table_of(n, d, noise, seed), "squared") for seed in range(n_tables)]
        return float(np.std([np.log(one.predict(N=at.n_params, D=at.n_tokens)[0]) for one in fits], ddof=1))

    mine = sd(*runs(plan.cells), 100)
    assert mine == pytest.approx(plan.sd, rel=0.25)
    assert mine < 0.75 * sd(*ladder_runs(limit, len(plan.cells)), 40)


@pytest.mark.slow
def test_on_its_own_line_a_ladder_with_a_law_of_one_variable_does_as_well() -> None:
    """What the comparison does not show: three parameters on D = 20 N, for a target on it, are as narrow."""
    n = np.sqrt(1e21 / 120)
    plan = plan_design(HOFFMANN, 1e20, noise_sd=0.02, target={"N": n, "D": 20 * n}, n_simulated=0)
    sizes, tokens = ladder_runs(limits(budget_flops=1e20), len(plan.cells))
    line = power_law("N", irreducible=True)
    found = [
        np.log(fit(line, table_of(sizes, tokens, 0.02, seed), "squared").predict(N=n)[0])
        for seed in range(300)
    ]
    low, high = np.quantile(found, [0.025, 0.975])
    ratio = student_t(len(sizes) - 3) * (high - low) / 3.92 / plan.half_width
    assert 0.7 < ratio < 1.4
    assert any("about as narrow" in one for one in plan.warnings)


# ---------------------------------------------------------------------------------- refused designs


def test_designs_that_separate_nothing_are_refused() -> None:
    n, d = grid()
    check_design(cells_of(n, d))
    check_design(table_of(n, d))
    with pytest.raises(LoraJaxError, match="4 runs for the 5 parameters"):
        check_design(cells_of(n[:4], d[:4]))
    with pytest.raises(LoraJaxError, match=r"D = 20 N in every run"):
        check_design(cells_of(n, 20 * n * 1.004 ** (np.arange(len(n)) % 2)))
    with pytest.raises(LoraJaxError, match="2 sizes and 6 token counts"):
        check_design(cells_of(np.repeat([1e6, 1e7], 3), np.geomspace(1e7, 1e9, 6)))
    with pytest.raises(LoraJaxError, match="6 sizes and 2 token counts"):
        check_design(cells_of(np.geomspace(1e6, 1e8, 6), np.tile([1e8, 1e9], 3)))


def test_correlation_is_refused_where_the_certificate_warns() -> None:
    """The certificate, another piece of code, draws the line in the same place."""
    x = np.linspace(-1, 1, 12)
    for wobble in (0.05, 0.06, 0.08, 0.3):
        n = 1e7 * np.exp(x)
        d = 20 * n * np.exp(wobble * (-1.0) ** np.arange(12))
        hard = abs(np.corrcoef(np.log(n), np.log(d))[0, 1]) > COLLINEAR
        warnings = evaluate_given(
            CHINCHILLA, table_of(n, d), HOFFMANN, objective="squared"
        ).certificate.warnings
        flagged = any("move together" in w for w in warnings)
        assert flagged == hard
        if hard:
            with pytest.raises(LoraJaxError, match="move together"):
                check_design(cells_of(n, d))
        else:
            check_design(cells_of(n, d))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget_flops": 0.0}, "give a number above 0"),
        ({"budget_flops": 1e9}, "raise the budget"),
        ({"ratio_range": (20.0, 21.0)}, "vary 8-fold or more"),
        ({"n_range": (1e7, 1e6)}, "widen that"),
        ({"max_runs": 9}, "10 is the fewest"),
        ({"max_share": 1.5}, "between 0 and 1"),
        ({"noise_sd": 0.0}, "give a number above 0"),
        ({"flops_per_second": -1.0}, "give a number above 0"),
        ({"target_flops": None}, "got neither"),
        ({"target": {"N": 1e9, "D": 1e10}}, "got both"),
        ({"target": {"N": 1e9}, "target_flops": None}, "give N and D"),
        ({"target_flops": np.nan}, "give a number above 0"),
        ({"law": power_law("N")}, "plan for one of N and D"),
        ({"draws": {"E": np.ones(3)}}, "lack A, alpha, B, beta"),
        ({"params": {"E": 1.0}}, "lacks A, alpha, B, beta"),
    ],
)
def test_a_mistake_is_one_sentence(changes: dict[str, Any], words: str) -> None:
    asked = {"params": HOFFMANN, "budget_flops": 1e18, "target_flops": 1e19} | SMALL | changes
    with pytest.raises(LoraJaxError, match=words) as said:
        plan_design(**asked)
    assert str(said.value).endswith(".")
    assert "\n" not in str(said.value)
