"""Approach 2: known optima come back, the parabola errs as it must, and no minimum is refused by name."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import Akima1DInterpolator
from scipy.optimize import minimize_scalar

from lora_jax.documents import to_document
from lora_jax.errors import LoraJaxError
from lora_jax.scaling.optima.isoflop import IsoFlop, isoflop
from lora_jax.scaling.tables.table import RunTable, make_table

E, A, ALPHA, B, BETA = 1.8172, 477.83, 0.3473, 2143.4, 0.36717
EXPONENT = BETA / (ALPHA + BETA)
G = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
BUDGETS = np.geomspace(1e18, 1e21, 6)
NEAR = np.linspace(-1.4, 1.4, 9)


def best_size(flops):
    return G * (flops / 6) ** EXPONENT


def make_isoflops(
    offsets=NEAR, sizes=None, noise: float = 0.0, seed: int = 0, budgets=BUDGETS, unit: float = 1.0
) -> RunTable:
    """Runs of Chinchilla's law: at each budget, N = N* exp(offsets), or the same sizes."""
    rng = np.random.default_rng(seed)
    n, c = [], []
    for flops in budgets:
        chosen = best_size(flops) * np.exp(offsets) if sizes is None else np.asarray(sizes)
        n.append(chosen)
        c.append(np.full(len(chosen), flops))
    n, c = np.concatenate(n), np.concatenate(c)
    d = c / (6 * n)
    loss = (E + A * n**-ALPHA + B * d**-BETA) * np.exp(noise * rng.standard_normal(len(n)))
    return make_table("simulated", n_params=unit * n, n_tokens=d, flops=c, loss=loss)


def with_losses(table: RunTable, flops: float, losses) -> RunTable:
    """Return the table with other losses at one budget, by rising N."""
    loss = table["loss"].copy()
    loss[np.isclose(table["flops"], flops)] = losses
    columns = {name: table[name] for name in ("n_params", "n_tokens", "flops")}
    return make_table("changed", **columns, loss=loss)


# --- known answers


def test_a_parabola_around_the_optimum_finds_a_exactly_and_shifts_n_by_a_constant() -> None:
    """Along a budget L - E = A N*^-alpha (e^(-alpha x) + alpha/beta e^(beta x)), x = ln N/N*: one shape for
    all budgets, so the vertex of a parabola in L is off by one factor and `a` by nothing (2603.22339)."""
    found = isoflop(make_isoflops(NEAR), scale="linear")
    assert found.exponents["a"].value == pytest.approx(EXPONENT, abs=1e-9)
    assert found.exponents["b"].value == pytest.approx(1 - EXPONENT, abs=1e-9)
    shape = np.exp(-ALPHA * NEAR) + ALPHA / BETA * np.exp(BETA * NEAR)
    c2, c1, _ = np.polyfit(NEAR, shape, 2)
    shift = -c1 / (2 * c2)
    assert abs(shift) > 1e-3  # the bias is there
    for row in found.budgets:
        assert np.log(row.n_params.value / best_size(row.flops)) == pytest.approx(shift, abs=1e-9)


@pytest.mark.parametrize("method", ["parabola", "akima"])
def test_the_law_s_optimum_comes_back_in_ln_loss(method: str) -> None:
    found = isoflop(make_isoflops(NEAR), method=method)
    assert found.exponents["a"].value == pytest.approx(EXPONENT, abs=0.003)
    for row in found.budgets:
        assert row.n_params.value == pytest.approx(best_size(row.flops), rel=0.05)
        assert 6 * row.n_params.value * row.n_tokens.value == pytest.approx(row.flops)
        n, d = row.n_params.value, row.n_tokens.value
        assert row.tokens_per_param.value == pytest.approx(d / n)
        assert row.loss.value == pytest.approx(E + A * n**-ALPHA + B * d**-BETA, rel=1e-3)
    assert found.refused == ()


def test_the_parabola_s_bias_on_one_grid_of_sizes_is_seen_beside_akima() -> None:
    """Thirteen sizes over a factor of 300 for all budgets: the parabola's `a` is off by more than Akima's."""
    table = make_isoflops(sizes=np.geomspace(5e7, 1.5e10, 13))
    parabola, akima = (isoflop(table, method=m) for m in ("parabola", "akima"))
    off, little = (abs(r.exponents["a"].value - EXPONENT) for r in (parabola, akima))
    assert little < 0.005 < off
    assert parabola.sensitivity.difference == pytest.approx(
        akima.exponents["a"].value - parabola.exponents["a"].value, abs=1e-6
    )
    assert "no parabola" in parabola.verdict.words
    assert f"{akima.exponents['a'].value:.3f}" in parabola.sensitivity.said
    near = isoflop(table, within=5)
    assert abs(near.exponents["a"].value - EXPONENT) < off / 2
    assert all(len(row.sizes) < 13 for row in near.budgets)


def test_the_vertex_is_numpy_s_and_akima_s_minimum_is_scipy_s() -> None:
    table = make_isoflops(NEAR, noise=0.003, seed=3)
    parabola, akima = (isoflop(table, method=m) for m in ("parabola", "akima"))
    for row in parabola.budgets:
        x, y = np.log(row.sizes), np.log(row.losses)
        c2, c1, c0 = np.polyfit(x - x[0], y, 2)
        assert np.log(row.n_params.value) == pytest.approx(x[0] - c1 / (2 * c2), abs=1e-8)
        assert np.log(row.loss.value) == pytest.approx(c0 - c1**2 / (4 * c2), abs=1e-10)
    for row in akima.budgets:
        x, curve = np.log(row.sizes), Akima1DInterpolator(np.log(row.sizes), np.log(row.losses))
        pieces: list[Any] = [
            minimize_scalar(curve, bounds=pair, method="bounded") for pair in itertools.pairwise(x)
        ]
        exact = min(pieces, key=lambda r: r.fun)
        assert np.log(row.n_params.value) == pytest.approx(exact.x, abs=(x[1] - x[0]) / 25)
        assert np.log(row.loss.value) == pytest.approx(exact.fun, abs=1e-5)


# --- traps


def test_a_vertex_outside_the_runs_is_refused_by_name() -> None:
    """All runs of one budget are larger than its optimum."""
    table = make_isoflops(NEAR)
    flops = BUDGETS[2]
    rising = 3 + 0.3 * np.linspace(0.2, 1.2, 9) ** 2
    found = isoflop(with_losses(table, flops, rising))
    [refused] = found.refused
    assert refused.flops == pytest.approx(flops)
    assert "vertex" in refused.reason
    assert "outside the runs" in refused.reason
    assert "1 of 6 budgets were refused" in found.verdict.words
    assert f"{flops:.3g}" in found.verdict.words
    assert flops not in [row.flops for row in found.budgets]
    # and what is left is as if that budget had never been run
    alone = isoflop(table.take(~np.isclose(table["flops"], flops)))
    assert alone.exponents == found.exponents
    assert alone.budgets[0].n_params == found.budgets[0].n_params


def test_a_parabola_that_opens_downward_is_refused_by_name() -> None:
    found = isoflop(with_losses(make_isoflops(NEAR), BUDGETS[0], 3 - 0.1 * NEAR**2))
    [refused] = found.refused
    assert (refused.flops, refused.reason) == (pytest.approx(BUDGETS[0]), "its parabola opens downward")


@pytest.mark.parametrize(("losses", "end"), [(3 + 0.1 * NEAR, "smallest"), (3 - 0.1 * NEAR, "largest")])
@pytest.mark.parametrize("method", ["parabola", "akima"])
def test_a_loss_that_only_rises_or_falls_is_refused_with_the_end_it_is_lowest_at(
    method: str, losses: np.ndarray, end: str
) -> None:
    table = with_losses(make_isoflops(NEAR), BUDGETS[5], losses + 0.02 * NEAR**2)
    [refused] = isoflop(table, method=method).refused
    assert f"the {end} size" in refused.reason
    assert "edge of the runs" in refused.reason or "outside the runs" in refused.reason


def test_a_flat_line_and_two_sizes_are_no_minimum() -> None:
    table = with_losses(make_isoflops(NEAR), BUDGETS[1], np.full(9, 3.0))
    table = table.take(~(np.isclose(table["flops"], BUDGETS[4]) & (np.arange(len(table)) % 9 > 1)))
    reasons = [r.reason for r in isoflop(table).refused]
    assert reasons == ["its parabola opens downward", "2 sizes only, and a minimum takes 3"]


def test_fewer_than_three_budgets_with_a_minimum_are_an_error_that_says_why() -> None:
    table = make_isoflops(NEAR, budgets=BUDGETS[:3])
    with pytest.raises(
        LoraJaxError, match=r"needs 3 budgets.* has 2 \(1e\+18 FLOPs: its parabola opens downward"
    ):
        isoflop(with_losses(table, BUDGETS[0], 3 - 0.1 * NEAR**2))


def test_a_minimum_that_noise_moves_to_the_edge_is_refused_or_flagged() -> None:
    """Sizes from just below the optimum upwards: the vertex is inside, and hardly."""
    lopsided = isoflop(make_isoflops(np.linspace(-0.45, 2.5, 9)), noise_sd=0.01, within=4)
    assert "noise puts the minimum at the edge" in lopsided.verdict.words
    assert all(0.05 < row.at_edge < 0.5 for row in lopsided.budgets)
    with pytest.raises(LoraJaxError, match="under its noise the minimum is at the edge"):
        isoflop(make_isoflops(np.linspace(-0.4, 0.4, 5)), noise_sd=0.1)


# --- laws


def test_the_unit_of_n_changes_n_only() -> None:
    tables = [make_isoflops(NEAR, noise=0.004, unit=u) for u in (1.0, 1e-6)]
    one, other = map(isoflop, tables)
    for name in ("a", "b", "G_D"):
        assert other.exponents[name].value == pytest.approx(one.exponents[name].value, rel=1e-6)
        assert other.exponents[name].ci95 == pytest.approx(one.exponents[name].ci95, rel=1e-6)
    for mine, theirs in zip(one.budgets, other.budgets, strict=True):
        assert 1e6 * theirs.n_params.value == pytest.approx(mine.n_params.value, rel=1e-8)
        assert theirs.n_tokens.ci95 == pytest.approx(mine.n_tokens.ci95, rel=1e-8)
    assert not tables[0].doubts
    assert "N is in millions" in tables[1].doubts[0]  # which is said, and all that it changes
    assert other.warnings == (*tables[1].doubts, *one.warnings)


@pytest.mark.parametrize("method", ["parabola", "akima"])
def test_the_order_of_the_runs_changes_nothing(method: str) -> None:
    table = make_isoflops(NEAR, noise=0.004)
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    assert isoflop(shuffled, method=method).exponents == isoflop(table, method=method).exponents


def test_at_agrees_with_the_rows_and_extrapolates_with_a_wider_interval() -> None:
    found = isoflop(make_isoflops(NEAR, noise=0.004))
    inside, far = found.at(BUDGETS[3]), found.at(1e25)
    assert inside.n_params.value == pytest.approx(best_size(BUDGETS[3]), rel=0.1)
    assert inside.n_params.value * inside.n_tokens.value * 6 == pytest.approx(BUDGETS[3])

    def width(number):
        return np.log(number.high / number.low)

    assert width(far.n_params) > 2 * width(inside.n_params)
    assert far.n_params.low < best_size(1e25) < far.n_params.high


def test_budgets_that_nearly_agree_are_one_and_their_tokens_are_those_of_the_budget() -> None:
    table = make_isoflops(NEAR)
    jitter = np.random.default_rng(0).uniform(0.99, 1.01, len(table))
    columns = {"n_params": table["n_params"], "loss": table["loss"], "flops": table["flops"] * jitter}
    rough = make_table("rough", **columns, n_tokens=table["n_tokens"] * jitter)
    found = isoflop(rough)
    assert len(found.budgets) == 6
    for row in found.budgets:
        assert 6 * row.n_params.value * row.n_tokens.value == pytest.approx(row.flops)
    assert [r.flops for r in isoflop(rough, budgets=list(BUDGETS)).budgets] == pytest.approx(list(BUDGETS))
    some = isoflop(rough, budgets=list(BUDGETS[:4]))
    assert "18 runs belong to no budget" in some.verdict.words
    with pytest.raises(LoraJaxError, match="form no budgets: name the budgets"):
        isoflop(make_isoflops(NEAR, budgets=np.geomspace(1e18, 1e20, 150)))


def test_runs_that_do_not_tell_their_noise_give_intervals_of_the_scatter_only() -> None:
    found = isoflop(make_isoflops(NEAR[[0, 4, 8]]))
    assert found.noise_sd is None
    assert found.budgets[0].n_params.ci95 is None
    assert "noise of the runs is not known" in found.verdict.words
    assert (found.exponents["a"].se or 1) < 0.01


def test_the_noise_is_found_and_scatter_between_budgets_widens_the_interval() -> None:
    table = make_isoflops(NEAR, noise=0.004, seed=1)
    quiet = isoflop(table)
    assert quiet.noise_sd == pytest.approx(0.004, rel=0.35)
    # every other budget's sizes read 40 % too large: N* scatters as no noise of the runs would make it
    odd = np.isin(table["flops"], BUDGETS[::2])
    columns = {name: table[name] for name in ("n_tokens", "flops", "loss")}
    scattered = isoflop(make_table("odd", n_params=table["n_params"] * np.where(odd, 1.4, 1), **columns))
    assert scattered.scatter_sd > 0.1
    assert (scattered.exponents["a"].se or 0) > 2 * (quiet.exponents["a"].se or 1)


def test_the_result_is_plain_json_and_says_believe_it_of_a_good_sweep() -> None:
    found = isoflop(make_isoflops(NEAR, noise=0.003))
    assert found.verdict.is_believed
    told = json.loads(json.dumps(to_document(found.result())))
    assert told["exponents"]["a"]["ci95"] == list(found.exponents["a"].interval)
    assert len(told["rows"]) == 6
    assert told["rows"][0]["sizes"] == pytest.approx(found.budgets[0].sizes)


def test_mistakes_are_told_in_a_sentence() -> None:
    table = make_isoflops(NEAR)
    with pytest.raises(LoraJaxError, match="nearest: 'parabola'"):
        isoflop(table, method="parabole")
    with pytest.raises(LoraJaxError, match="Akima interpolates ln L"):
        isoflop(table, method="akima", scale="linear")
    with pytest.raises(LoraJaxError, match="above 1"):
        isoflop(table, within=0.5)
    with pytest.raises(LoraJaxError, match="share between 0 and 1"):
        isoflop(table, tolerance=5)
    with pytest.raises(LoraJaxError, match="no column 'loss'"):
        isoflop(make_table("lossless", n_params=table["n_params"], flops=table["flops"]))


@pytest.mark.slow
@pytest.mark.parametrize("n_budgets", [4, 8])
def test_the_parabola_s_intervals_hold_the_truth_as_often_as_they_say(n_budgets: int) -> None:
    """150 tables: within three standard deviations of 95 % from below; wider is allowed."""
    budgets = np.geomspace(1e18, 1e21, n_budgets)

    def holds(result: IsoFlop) -> bool:
        low, high = result.exponents["a"].interval
        return low < EXPONENT < high

    tables = (make_isoflops(NEAR, noise=0.005, seed=s, budgets=budgets) for s in range(150))
    share = np.mean([holds(isoflop(t, n_bootstrap=300)) for t in tables])
    assert share > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 150)
