"""The interval at the target before any run is trained, to first order and by simulation."""

from dataclasses import replace

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.intervals.difference import PUBLISHED_FITS
from lora_jax.scaling.laws import CHINCHILLA, LAWS
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.planning.forecast import make_forecast
from lora_jax.scaling.planning.spread import simulate_spread
from lora_jax.scaling.prediction.frontier import optimum
from tests.scaling.planning.test_design import HOFFMANN, grid, loss_of


def numeric_variance(n: Array, d: Array, target: tuple[float, float]) -> float:
    """g'(J'J)^-1 g by central differences over ln of the published parameters, and least squares."""

    def slopes(n: Array, d: Array) -> Array:
        columns = []
        for name in HOFFMANN:
            up, down = ({**HOFFMANN, name: HOFFMANN[name] * (1 + h)} for h in (1e-5, -1e-5))
            columns.append((np.log(loss_of(n, d, up)) - np.log(loss_of(n, d, down))) / 2e-5)
        return np.stack(columns, axis=1)

    weights = np.linalg.lstsq(slopes(n, d).T, slopes(*(np.array([x]) for x in target))[0], rcond=None)[0]
    return float(weights @ weights)  # the shortest w with J'w = g is the best linear estimate's


def test_the_variance_is_that_of_the_best_linear_estimate() -> None:
    forecast = make_forecast(CHINCHILLA, HOFFMANN, target={"N": 1e9, "D": 3e10})
    variance = forecast.variance(forecast.jacobian(*grid()))
    assert variance is not None
    assert variance[0] == pytest.approx(numeric_variance(*grid(), (1e9, 3e10)), rel=1e-3)
    assert forecast.half_width(variance, 7) == pytest.approx(2.364624 * 0.01 * np.sqrt(variance[0]))


def test_the_loss_of_a_law_that_counts_tokens_one_by_one_is_its_formula() -> None:
    """Farseer's D has no middle: counted from the target's, its term would be D^0."""
    n, d, published = 1e9, 2e10, PUBLISHED_FITS["farseer"].params
    u1, u2, u3 = (
        published[f"a{i}"] * n ** published[power] + published[f"b{i}"]
        for i, power in ((1, "alpha"), (2, "beta"), (3, "gamma"))
    )
    forecast = make_forecast(LAWS["farseer"], published, target={"N": n, "D": d})
    assert forecast.loss() == pytest.approx(np.exp(u3) + np.exp(u2) * d ** -np.exp(u1))


def test_a_cost_as_target_is_its_frontier_point() -> None:
    best = optimum({k: np.array(v) for k, v in HOFFMANN.items()}, 1e21)
    aim = make_forecast(CHINCHILLA, HOFFMANN, target_flops=1e21).target
    assert aim.n_params == pytest.approx(float(best["n_params"]), rel=1e-3)
    assert 6 * aim.n_params * aim.n_tokens == pytest.approx(1e21)
    assert make_forecast(CHINCHILLA, HOFFMANN, target_flops=1e21).loss() == pytest.approx(float(best["loss"]))


def test_runs_that_leave_a_parameter_free_have_no_interval() -> None:
    forecast = make_forecast(CHINCHILLA, HOFFMANN, target={"N": 1e9, "D": 2e10})
    n, d = grid()
    for some in ((n[:4], d[:4]), (np.full_like(n, 1e7), d), (n, np.full_like(d, 1e9))):
        assert forecast.variance(forecast.jacobian(*some)) is None


def test_one_wild_draw_does_not_decide() -> None:
    """The median over draws: one that the runs leave undetermined, or nearly, would decide a mean."""
    alike = {k: np.full(8, v) for k, v in HOFFMANN.items()}
    target = {"N": 1e9, "D": 3e10}
    one = make_forecast(CHINCHILLA, HOFFMANN, target=target)
    many = make_forecast(CHINCHILLA, HOFFMANN, target=target, draws=alike)
    spread = alike | {"alpha": 0.34 + 0.02 * np.linspace(-1, 1, 8), "beta": np.array([1e-13] + 7 * [0.28])}
    wide = make_forecast(CHINCHILLA, HOFFMANN, target=target, draws=spread)
    a, b, c = (f.sd(v) for f in (one, many, wide) if (v := f.variance(f.jacobian(*grid()))) is not None)
    assert a == pytest.approx(b)
    assert a != pytest.approx(c)
    assert a == pytest.approx(c, rel=0.2)


def test_a_spread_needs_a_degree_of_freedom() -> None:
    forecast = make_forecast(CHINCHILLA, HOFFMANN, target_flops=1e20)
    n, d = grid()
    with pytest.raises(LoraJaxError, match="without an interval"):
        simulate_spread(forecast, n[:5], d[:5])
    wide, narrow = (simulate_spread(replace(forecast, noise_sd=s), n, d, n=50).sd for s in (4e-3, 1e-3))
    assert wide == pytest.approx(4 * narrow, rel=0.1)
