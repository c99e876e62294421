"""Does a law predict its own largest runs? The verdict of every fit heeds this check.

We fit the law to the runs below about four fifths of the units by compute, with the same objective, and
predict the rest. The split is that of `compare` (origins.py). Two things may go wrong. Fewer of these runs
than should may lie inside their 95 % intervals. Or the law may miss them all to one side. Predictions share
one fit, and rows of one training run share its noise. So we do not count as if runs were independent. We
compute the same numbers for draws, each with the errors of one replicate of the fit and new noise.

We measured this on 320 tables simulated from Chinchilla's law. It doubted 1 of them (of 30 scattered runs).
It doubted none of 48 runs with normal, unequal or heavy-tailed noise (60 each), of 16 training runs of 8 rows
(30), of Besiroglu's 240 with heavy tails (30) and of 404 (20).
"""

from dataclasses import dataclass, replace

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.percent import percent
from lora_jax.scaling.comparing.extrapolation import Found, descend, prediction_errors
from lora_jax.scaling.comparing.origins import SAME, Index, Order, Split, cut, order_rows
from lora_jax.scaling.fitting.fit import starting_points
from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.intervals.uncertainty import Bootstrap, bootstrap
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.tables.run_table import RunTable

SHARE = 0.8  # of the units, fitted
REPLICATES = 100
DRAWS = 20  # of noise, for each replicate
LEVEL = 0.005  # of either test
LEAST_FREEDOM = 10  # degrees of freedom of the smaller fit, below which nothing is said
FEWEST_UNITS = 3  # predicted, below which nothing is said
MOST_ROWS = 2000  # predicted: of more of them every second, third, ... by size, as draws are made of each


@dataclass(frozen=True)
class LargestRuns:
    """How well a law predicts the largest runs, which were left out of its fit.

    Attributes:
        share: Share of the units that were fitted.
        n_runs: Number of runs that were predicted.
        n_inside: Number of them that lie inside their 95 % intervals.
        errors: Predicted over measured less 1, (n_runs,).
        p_inside: Probability that so few lie inside, if the law holds.
        p_side: Probability of so large a miss to one side, measured in standard deviations of prediction.
    """

    share: float
    n_runs: int
    n_inside: int
    errors: Array
    p_inside: float
    p_side: float

    @property
    def warning(self) -> str | None:
        """The warning. None if the runs are predicted as well as the intervals promise."""
        if min(self.p_inside, self.p_side) >= LEVEL:
            return None
        e = self.errors
        low, mean, high = (percent(float(x), digits=2, signed=True) for x in (e.min(), e.mean(), e.max()))
        return (
            f"predicts its own largest runs badly: fitted to the smaller {percent(self.share)}, it is"
            f" {low.removesuffix(' %')} to {high} off ({mean} on average), with {self.n_inside} of"
            f" {self.n_runs} inside their 95 % intervals"
        )


def largest_runs(problem: Problem, theta: Array, seed: int = 0) -> LargestRuns | None:
    """Predict the largest runs of a problem with the law fitted to the others.

    Args:
        problem: The problem.
        theta: The fit to all runs, (P,). It knows how far the largest runs scatter. If they scatter more than
            the others, their intervals are as wide, because we ask about the law and not about its noise.
        seed: Seed of the replicates.

    Returns:
        The result. None if the runs are too few, cost all the same, or can be ordered only by what is
        predicted.
    """
    order, split = _split(problem)
    if order is None or split is None:
        return None
    try:
        found = _fit_smaller(problem, split.train)
        replicates = bootstrap(found, REPLICATES, seed=seed)
        tested = split.test[np.argsort(order.unit[split.test], kind="stable")]
        tested = tested[:: -(-len(tested) // MOST_ROWS)] if len(tested) > MOST_ROWS else split.test
        test = problem.table.take(tested)
        errors = prediction_errors(found, test)
    except LoraJaxError:
        return None  # of rows that cannot hold the law its own certificate speaks
    if not found.converged:
        return None
    left = (np.sqrt(problem.data.weights) * problem.residuals(theta))[split.test]
    wider = max(1.0, float(left.std(ddof=1)) / max(float(np.median(replicates.noise_sd)), 1e-12))
    spread = wider / np.sqrt(np.maximum(problem.data.weights[tested], 1e-12))
    return _compare(_draws(replicates, test, order.unit[tested], spread, seed), split.share, errors)


def _split(problem: Problem) -> tuple[Order | None, Split | None]:
    table, law = problem.table, problem.law
    try:
        order = order_rows(table, law.response)
        (split,) = cut(order, (SHARE,))
    except LoraJaxError:
        return None, None
    if order.measure.startswith("1 /"):
        return None, None  # runs chosen by their response are not missed by chance
    if any(np.ptp(np.log(table.variable(v)[split.train])) < SAME for v in law.variables):
        return None, None
    weights = problem.data.weights[split.train]
    freedom = int(np.count_nonzero(weights)) - problem.n_free
    if freedom < LEAST_FREEDOM or len(np.unique(order.unit[split.test])) < FEWEST_UNITS:
        return None, None
    return order, split


def _fit_smaller(problem: Problem, rows: Index) -> Found:
    """Fit the law to these rows by the objective, weights and bounds of the whole, with the same fixed."""
    smaller = _smaller(problem, rows)
    return descend(smaller, starting_points(smaller))


def _smaller(problem: Problem, rows: Index) -> Problem:
    d = problem.data
    data = replace(d, features=d.features[rows], log_loss=d.log_loss[rows], weights=d.weights[rows])
    usual = None if problem.usual is None else _smaller(problem.usual, rows)
    return replace(problem, table=problem.table.take(rows), data=data, usual=usual)


def _draws(replicates: Bootstrap, table: RunTable, unit: Index, spread: Array, seed: int) -> Array:
    """Return draws (B, m) of ln measured - ln predicted of each row, were the fit true.

    unit (m,): rows that share their noise. spread (m,): size of a row's noise, in the noise of the fit.
    """
    found = replicates.fit
    values = {v: table.variable(v) for v in found.law.variables}
    features = found.problem.features_at(values)
    shift = found.law.log_response(replicates.theta, features) - found.law.log_response(found.theta, features)
    shift = np.repeat(shift, DRAWS, axis=0)
    noise = np.repeat(replicates.noise_sd, DRAWS)
    number = np.unique(unit, return_inverse=True)[1].reshape(-1)
    rng = np.random.default_rng((seed, 7))
    drawn = shift + noise[:, None] * spread * rng.standard_normal((len(noise), number.max() + 1))[:, number]
    return drawn[np.isfinite(drawn).all(1)]


def _compare(draws: Array, share: float, errors: Array) -> LargestRuns:
    """Set the errors (m,), ln predicted - ln measured, beside draws (B, m) of what they could be."""
    low, left, right, high = np.quantile(draws, (0.025, 0.15865, 0.84135, 0.975), axis=0)
    missed = -errors
    sd = np.maximum((right - left) / 2, 1e-12)

    def inside(x: Array) -> Array:
        return ((low <= x) & (x <= high)).sum(-1)

    n_inside, side = int(inside(missed)), abs(float((missed / sd).mean()))
    few, far = inside(draws) <= n_inside, np.abs((draws / sd).mean(-1)) >= side
    p_inside, p_side = ((1 + int(x.sum())) / (1 + len(draws)) for x in (few, far))
    return LargestRuns(share, len(errors), n_inside, np.expm1(errors), p_inside, p_side)
