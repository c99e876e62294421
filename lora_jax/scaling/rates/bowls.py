"""The best learning rate of one size: the vertex of a parabola in ln rate, with an interval.

- **Window.** We fit the curve to ln loss at the rates within a factor of 4.5 of the best one (at least four).
We leave out rates beyond one at which the loss is 28 % above the least, if four remain. There training broke
down.
- **Seeds.** Each seed has an offset, so that only differences between rates count.
- **Noise.** The scatter around the curves is pooled over the sizes of a series. A size that scatters far more
than the others keeps its own.
- **Interval.** The interval of a vertex is Fieller's, which is exact for normal noise.
- **Shape.** A second parabola, through the rates within half that distance (in ln rate), shows whether the
curve is a parabola at all. We add to the variance what its vertex differs by beyond what noise explains
(Hausman 1978). The noise for this is that around cubics, because the scatter around parabolas contains what
we look for.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from lora_jax.estimate import Estimate
from lora_jax.scaling.rates.noise import Noise, pool_noise
from lora_jax.scaling.rates.results import BestRate, Parabola, Refusal

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
WINDOW = math.log(4.5)  # ln rate on either side of the best: two steps of a grid of factor 2
LEAST_RATES = 4
LEAST_NEAR = 3
BROKEN = 0.25  # ln loss above the least


@dataclass(frozen=True)
class RateLosses:
    """Losses of one size at several rates.

    Attributes:
        ln_rates: ln rate of each run that has a loss, (n,).
        ln_losses: Its ln loss, (n,).
        seeds: Its seed, (n,).
        diverged: The rates of runs that diverged, one for each run.
    """

    ln_rates: Array
    ln_losses: Array
    seeds: Numbers
    diverged: tuple[float, ...]

    @property
    def tried(self) -> Array:
        """The different ln rates at which there is a loss, rising."""
        return np.unique(self.ln_rates)


@dataclass(frozen=True)
class Fitted:
    """A parabola through some rates, in x = ln rate - centre.

    Attributes:
        centre: ln rate at x = 0.
        height: ln loss at the centre, the mean over seeds.
        slope: Coefficient of x.
        curvature: Coefficient of x^2.
        covariance: Covariance of slope and curvature, (2, 2), for noise of variance 1.
        squares: The sum of squared residuals.
        freedom: Its degrees of freedom.
        ln_rates: The rates that were used.
    """

    centre: float
    height: float
    slope: float
    curvature: float
    covariance: Array
    squares: float
    freedom: int
    ln_rates: Array

    @property
    def vertex(self) -> float:
        """ln rate at the least loss."""
        return self.centre - self.slope / (2 * self.curvature)

    def variance(self) -> float:
        """Return the variance of the vertex for noise of variance 1, by its gradient."""
        a, b = self.curvature, self.slope
        gradient = np.array([-1 / (2 * a), b / (2 * a**2)])
        return float(gradient @ self.covariance @ gradient)

    def interval(self, noise: Noise) -> tuple[float, float] | None:
        """Return Fieller's 95 % interval of the vertex; None if the curvature is lost in the noise."""
        reach = (student.ppf(0.975, noise.freedom) * noise.sd) ** 2
        (v_bb, v_ab), (_, v_aa) = self.covariance
        a, b = self.curvature, self.slope
        square, middle, constant = (
            4 * (a * a - reach * v_aa),
            4 * (a * b - reach * v_ab),
            b * b - reach * v_bb,
        )
        if a <= 0 or square <= 0:
            return None
        half = math.sqrt(max(0.0, middle * middle - 4 * square * constant))
        return self.centre + (-middle - half) / (2 * square), self.centre + (-middle + half) / (2 * square)


def mean_losses(data: RateLosses) -> dict[float, float]:
    """Return the mean ln loss at each rate, by ln rate.

    Rates and seeds each have an effect, by least squares. So a seed that lacks a rate does not tilt the
    others.
    """
    tried = data.tried
    means = mean_effects(np.searchsorted(tried, data.ln_rates), data.ln_losses, data.seeds)
    return {float(rate): mean for rate, mean in zip(tried, means, strict=True)}


def mean_effects(places: Numbers, ln_losses: Array, seeds: Numbers) -> list[float]:
    """Return the mean ln loss at each place, if places and seeds each have an effect.

    Args:
        places: The number of the place of each run, (n,), from 0.
        ln_losses: ln loss of each run, (n,).
        seeds: Seed of each run, (n,).
    """
    n, kinds = int(places.max()) + 1, np.unique(seeds)
    if len(kinds) == 1:
        return (np.bincount(places, ln_losses) / np.bincount(places)).tolist()
    columns = [places == place for place in range(n)] + [seeds == seed for seed in kinds]
    design = np.stack(columns, 1).astype(float)
    effects = np.linalg.lstsq(design, ln_losses, rcond=None)[0]
    offset = effects[n:].mean()
    return [float(effect + offset) for effect in effects[:n]]


def refuse_grid(data: RateLosses) -> Refusal | None:
    """Return why no curve can be fitted. None if one can.

    There may be too few rates, or the best rate may be the first or the last one that was tried.
    """
    tried = [float(r) for r in data.tried]
    if len(tried) < LEAST_RATES:
        there = ", ".join(f"{math.exp(r):.3g}" for r in tried) or "none"
        return Refusal("too few rates", f"only {len(tried)} rates have a loss ({there}): train at least 4.")
    means = mean_losses(data)
    best = min(means, key=lambda rate: means[rate])
    beyond = [rate for rate in data.diverged if math.log(rate) > tried[-1]]
    if best == tried[-1] and beyond:
        return Refusal(
            "beside divergence",
            f"the best rate, {math.exp(best):.3g}, is beside one that diverged, {min(beyond):.3g}: add rates"
            " between the two.",
        )
    if best in (tried[0], tried[-1]):
        return _refuse_edge(tried, best)
    return None


def _refuse_edge(tried: Sequence[float], best: float) -> Refusal:
    side = "smallest" if best == tried[0] else "largest"
    more = suggest_beyond(tried, best == tried[0])
    words = f"the best rate, {math.exp(best):.3g}, is the {side} of those tried: add {more}."
    return Refusal("at the edge", words)


def suggest_beyond(tried: Sequence[float], below: bool) -> str:
    """Return as text the next two values below or above those tried (ln), in their usual step."""
    step = float(np.median(np.diff(tried))) * (-1 if below else 1)
    end = tried[0] if below else tried[-1]
    return " and ".join(f"{math.exp(end + k * step):.4g}" for k in (1, 2))


def without_broken(data: RateLosses) -> RateLosses:
    """Return the losses without the rates at and beyond which training broke down, if four rates remain."""
    means = mean_losses(data)
    low, high = whole_between(means, min(means.values()))
    if sum(low < rate < high for rate in means) < LEAST_RATES:
        return data
    rows = (data.ln_rates > low) & (data.ln_rates < high)
    return RateLosses(data.ln_rates[rows], data.ln_losses[rows], data.seeds[rows], data.diverged)


def whole_between(means: Mapping[float, float], least: float) -> tuple[float, float]:
    """Return the two ln rates nearest to the best at which training broke down, or infinities.

    Args:
        means: ln loss by ln rate.
        least: The least ln loss. A run whose ln loss is more than BROKEN above it broke down.
    """
    best = min(means, key=lambda rate: means[rate])
    broken = [rate for rate, loss in means.items() if loss > least + BROKEN]
    low = max((rate for rate in broken if rate < best), default=-math.inf)
    high = min((rate for rate in broken if rate > best), default=math.inf)
    return low, high


def fit_window(data: RateLosses, power: int = 2) -> Fitted:
    """Fit the curve to the rates within the window around the best one, at least four."""
    means = mean_losses(data)
    best = min(means, key=lambda rate: means[rate])
    return fit_parabola(data, best, WINDOW, LEAST_RATES, power)


def fit_parabola(data: RateLosses, centre: float, reach: float, least: int, power: int = 2) -> Fitted:
    """Fit a parabola to the rates near a centre.

    Args:
        data: The losses.
        centre: The centre, as ln rate.
        reach: Rates within this distance in ln rate are used.
        least: At least so many of the nearest rates are used.
        power: 3 fits a cubic, of which only the residuals are used.
    """
    rows = near_rows(data.ln_rates, centre, reach, least)
    x, y, seeds = data.ln_rates[rows] - centre, data.ln_losses[rows], data.seeds[rows]
    offsets = np.stack([seeds == seed for seed in np.unique(seeds)], 1).astype(float)
    powers = np.stack([x**k for k in range(1, power + 1)], 1)
    design = np.column_stack([powers, offsets])
    inverse: Array = np.asarray(np.linalg.pinv(design.T @ design), dtype=np.float64)
    coefficients = inverse @ design.T @ y
    residuals = y - design @ coefficients
    return Fitted(
        centre=centre,
        height=float(coefficients[power:].mean()),
        slope=float(coefficients[0]),
        curvature=float(coefficients[1]),
        covariance=inverse[:2, :2],
        squares=float(residuals @ residuals),
        freedom=len(y) - int(np.linalg.matrix_rank(design)),
        ln_rates=np.unique(data.ln_rates[rows]),
    )


def near_rows(values: Array, centre: float, reach: float, least: int) -> NDArray[np.bool_]:
    """Return which values lie within `reach` of the centre, or among the `least` nearest ones."""
    distance = np.sort(np.abs(np.unique(values) - centre))
    limit = max(reach, float(distance[min(least, len(distance)) - 1])) + 1e-9
    return np.abs(values - centre) <= limit


def find_best(data: RateLosses, fit: Fitted, noise: Noise) -> BestRate | Refusal:
    """Return the best rate by the curve from `fit_window`, or why there is none."""
    if fit.curvature <= 0:
        return Refusal(
            "no bowl", "the loss does not rise on both sides of the best rate: add rates around it."
        )
    ends = fit.interval(noise)
    tried = [float(r) for r in data.tried]
    if ends is None or ends[1] - ends[0] > tried[-1] - tried[0]:
        return Refusal(
            "lost in noise",
            "the loss rises on both sides by little more than the scatter explains, and the interval is wider"
            " than the grid: add seeds, or rates further out.",
        )
    if not tried[0] <= fit.vertex <= tried[-1]:
        return _refuse_edge(tried, tried[0] if fit.vertex < tried[0] else tried[-1])
    near = fit_parabola(data, fit.centre, WINDOW / 2, LEAST_NEAR)
    near_vertex, excess = _compare(near, fit, noise)
    whole = fit_parabola(data, fit.centre, math.inf, LEAST_RATES)
    of_noise = noise.sd * math.sqrt(fit.variance())
    se = math.hypot(of_noise, math.sqrt(excess))
    times = float(student.ppf(0.975, noise.freedom))
    low, high = (
        math.exp(fit.vertex + sign * math.hypot(abs(end - fit.vertex), times * math.sqrt(excess)))
        for sign, end in zip((-1, 1), ends, strict=True)
    )
    return BestRate(
        rate=Estimate(math.exp(fit.vertex), se, (low, high)),
        se_of_noise=of_noise,
        near=None if near_vertex is None else math.exp(near_vertex),
        all_rates=math.exp(whole.vertex) if whole.curvature > 0 else None,
        parabola=Parabola(
            centre=math.exp(fit.centre),
            height=fit.height,
            slope=fit.slope,
            curvature=fit.curvature,
            low=math.exp(fit.ln_rates[0]),
            high=math.exp(fit.ln_rates[-1]),
            n_rates=len(fit.ln_rates),
        ),
    )


def _compare(near: Fitted, fit: Fitted, noise: Noise) -> tuple[float | None, float]:
    """Return the vertex by the nearest rates, and the variance that it adds beyond what noise explains."""
    if near.curvature <= 0 or not near.ln_rates[0] <= near.vertex <= near.ln_rates[-1]:
        return None, 0.0
    around = noise.around_cubics or 0.0
    explained = around**2 * max(0.0, near.variance() - fit.variance())
    return near.vertex, max(0.0, (near.vertex - fit.vertex) ** 2 - explained)


def find_all(sizes: Mapping[int, RateLosses]) -> tuple[dict[int, BestRate | Refusal], Noise]:
    """Return the best rate of each size of a series, or why it has none, and their common noise."""
    refused = {key: why for key, data in sizes.items() if (why := refuse_grid(data)) is not None}
    whole = {key: without_broken(data) for key, data in sizes.items() if key not in refused}
    fits = {key: fit_window(data) for key, data in whole.items()}
    noises = pool_noise(fits, {key: fit_window(data, power=3) for key, data in whole.items()})
    found: dict[int, BestRate | Refusal] = {}
    for key in sizes:
        found[key] = refused[key] if key in refused else find_best(whole[key], fits[key], noises[key])
    return found, max(noises.values(), key=lambda noise: noise.freedom, default=Noise(math.nan, 0, None))


def evaluate(parabola: Parabola, rates: Sequence[float]) -> list[float]:
    """Return the losses of a parabola at these rates."""
    xs = [math.log(rate / parabola.centre) for rate in rates]
    return [math.exp(parabola.height + parabola.slope * x + parabola.curvature * x * x) for x in xs]
