"""How to spend compute: the best N and D for a budget, the cheapest model for a serving load, and crossovers.

Everything is done for a batch of theta at once, so that bootstrap replicates give intervals. We search over
ln N. So any law of N and D has an optimum, and not only those with a closed form.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.estimate import Resampled
from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.intervals.uncertainty import Bootstrap
from lora_jax.scaling.laws.law import Array

GOLDEN = (5**0.5 - 1) / 2
STEPS = 60  # golden sections: 80 of ln N narrow to 2e-11
HALVINGS = 44  # of 80 of ln D: to 5e-12
FARTHER = 10.0  # of ln N: beyond a budget's own distance from the runs
AT_END = 0.1  # of ln N or ln D: so near the end of a search is at it, as flat as the cost is there
FLAT = 1e-11  # of ln L, for a factor e of N: with less, rounding moves the minimum by 1 % and more
WIDE = 40.0  # of ln N around the middle of the runs: far beyond any model
EIGHTY = (0.1, 0.9)
MOST_UNDEFINED = 0.025  # of the replicates; with more, an end of the interval is not known


def optimum(
    problem: Problem, theta: Array, flops: float, others: Mapping[str, float] | None = None
) -> dict[str, Array]:
    """Find the best model size and number of tokens for a budget C = 6ND.

    Values are nan if the best N runs to the end of the search, because such a law has no optimum. They are
    nan too if the loss is flat up to rounding: so far beyond the runs only the irreducible loss is left.

    Args:
        theta: (B, P), parameters of the law.
        flops: The budget C.
        others: Values of the law's further variables, such as U for repeated data.

    Returns:
        N*, D*, D/N and the loss, each (B,).

    Raises:
        LoraJaxError: If the law does not have both N and D.
    """
    law = problem.law
    if not {"N", "D"} <= set(law.variables):
        raise LoraJaxError(
            f"{law.key} is a law of {', '.join(law.variables)}: a budget is split by laws of N and D."
        )
    middle = np.log(problem.centre["N"])
    away = abs(np.log(flops / 6) - middle - np.log(problem.centre["D"]))
    wide = max(WIDE, away + FARTHER)  # N* moves no farther than the budget does

    def loss_at(ln_n: Array) -> Array:
        ln_d = np.log(flops / 6) - ln_n
        return _evaluate(problem, theta, {**(others or {}), "N": np.exp(ln_n), "D": np.exp(ln_d)})

    ln_n = _minimise(loss_at, np.full(len(theta), middle - wide), np.full(len(theta), middle + wide))
    rise = np.minimum(loss_at(ln_n - 1), loss_at(ln_n + 1)) - loss_at(ln_n)
    found = (np.abs(ln_n - middle) < wide - AT_END) & (rise > FLAT)
    ln_n = np.where(found, ln_n, np.nan)
    n_params, n_tokens = np.exp(ln_n), np.exp(np.log(flops / 6) - ln_n)
    with np.errstate(over="ignore"):  # infinite, which is no number to predict
        loss = np.exp(loss_at(ln_n))
    return {"N*": n_params, "D*": n_tokens, "D/N": n_tokens / n_params, "loss": loss}


def serving(problem: Problem, theta: Array, loss: Array | float, inference_tokens: float) -> dict[str, Array]:
    """Return the model of this loss that is cheapest to train and to serve: N, D, FLOPs, D/N, each (B,).

    min 6 N D + 2 N D_inf subject to L(N, D) = loss (Sardana et al. 2401.00448, equation 3). nan where the law
    cannot reach the loss at any size.

    Args:
        theta: (B, P), parameters of the law.
        loss: The loss of each theta (B,), or one of all.
        inference_tokens: D_inf. Without any, the FLOPs are the least that reach the loss.
    """
    if set(problem.law.variables) != {"N", "D"}:
        raise LoraJaxError(f"{problem.law.key} is not a law of N and D alone: serving needs one.")
    middle_n, middle_d = (np.log(problem.centre[v]) for v in ("N", "D"))
    target = np.log(loss)
    ln_served = np.log(2 * inference_tokens) if inference_tokens > 0 else -np.inf

    def tokens_for(ln_n: Array) -> Array:
        return ln_reaching(problem, theta, target, "D", {"N": np.exp(ln_n)})

    def cost(ln_n: Array) -> Array:
        return ln_n + np.logaddexp(np.log(6) + tokens_for(ln_n), ln_served)

    def reaches(ln_n: Array) -> np.ndarray:
        return _evaluate(problem, theta, {"N": np.exp(ln_n), "D": np.exp(middle_d + WIDE)}) <= target

    # too small a model reaches the loss at no D, where the cost is infinite and shows no way: start above
    small, large = np.full(len(theta), middle_n - WIDE), np.full(len(theta), middle_n + WIDE)
    for _ in range(HALVINGS):
        half = (small + large) / 2
        enough = reaches(half)
        small, large = np.where(enough, small, half), np.where(enough, half, large)
    feasible = reaches(large)
    ln_n = _minimise(cost, large, np.full(len(theta), middle_n + WIDE))
    ln_d, total = tokens_for(ln_n), cost(ln_n)
    # the cheapest of the sizes that were searched, and not of all
    feasible &= (ln_d < middle_d + WIDE - AT_END) & (ln_n < middle_n + WIDE - AT_END)
    values = {"N": np.exp(ln_n), "D": np.exp(ln_d), "FLOPs": np.exp(total), "D/N": np.exp(ln_d - ln_n)}
    return {name: np.where(feasible, value, np.nan) for name, value in values.items()}


def ln_reaching(
    problem: Problem, theta: Array, ln_loss: Array | float, variable: str, others: Mapping[str, Array | float]
) -> Array:
    """Return ln of the value (B,) of one variable at which a law falls to a loss, by bisection.

    inf where the law stays above the loss. A loss that the law reaches everywhere gives the end of the
    search, e^-40 of the middle of the runs.

    Args:
        theta: (B, P), parameters of the law.
        ln_loss: ln of the loss of each theta (B,), or one of all.
        variable: The variable.
        others: Values of the law's other variables, (B,) or ().
    """
    middle = np.log(problem.centre[variable])
    low, high = np.full(len(theta), middle - WIDE), np.full(len(theta), middle + WIDE)

    def reaches(ln_x: Array) -> np.ndarray:
        return _evaluate(problem, theta, {**others, variable: np.exp(ln_x)}) <= ln_loss

    reachable = reaches(high)
    for _ in range(HALVINGS):
        half = (low + high) / 2
        enough = reaches(half)
        low, high = np.where(enough, low, half), np.where(enough, half, high)
    return np.where(reachable, high, np.inf)


def crossing(
    first: tuple[Problem, Array], second: tuple[Problem, Array], variable: str, at: Mapping[str, float]
) -> Array:
    """Return the value of one variable at which two laws cross, (B,). It is nan where they do not cross.

    An example is the size of the fine-tuning set from which one method is better than another. With one
    irreducible loss and the law of Zhang et al. (arXiv 2402.17193) it is H X^gamma of laws/finetuning.py. Of
    several crossings the lowest is returned.

    Args:
        first: A problem and thetas of its law, (B, P).
        second: The other law, with as many thetas. Row b of one is paired with row b of the other.
        variable: The variable that is varied, over a wide range around its middle in `first`.
        at: Values of the other variables.
    """
    middle = np.log(first[0].centre[variable])
    grid = middle + np.linspace(-WIDE / 2, WIDE / 2, 801)

    def gap(ln_x: Array) -> Array:
        values = {**at, variable: np.exp(ln_x)}
        return _evaluate(*first, values) - _evaluate(*second, values)

    size = len(first[1])
    signs = np.stack([gap(np.full(size, x)) > 0 for x in grid])
    changes = signs[1:] != signs[:-1]
    where = changes.argmax(0)
    low, high = grid[where], grid[where + 1]
    begins = gap(low) > 0
    for _ in range(HALVINGS):
        half = (low + high) / 2
        same = (gap(half) > 0) == begins
        low, high = np.where(same, half, low), np.where(same, high, half)
    return np.where(changes.any(0), np.exp(low), np.nan)


def with_interval(
    replicates: Bootstrap, function: Callable[[Array], dict[str, Array]]
) -> dict[str, Resampled]:
    """Summarise each number that a function of theta (B, P) returns, over the fit and its replicates."""
    best, samples = function(replicates.fit.theta[None]), function(replicates.theta)
    return {name: summarise(replicates, value, samples[name]) for name, value in best.items()}


def summarise(replicates: Bootstrap, best: Array, samples: Array) -> Resampled:
    """Return a number with its standard error and its 95 % and 80 % intervals.

    `undefined` is the share of the replicates for which the number does not exist. If this is more than a
    fortieth, the number has no interval. If the number does not exist for the fit itself, it is nan.

    Args:
        replicates: The fit and its replicates.
        best: The number for the fit, (1,).
        samples: The number for each replicate, (B,).
    """
    exists = np.isfinite(samples)
    share = float(1 - exists.mean())
    if not np.isfinite(best[0]):
        return Resampled(math.nan, None, None, ci80=None, undefined=share)
    value = float(best[0])
    if share > MOST_UNDEFINED:
        return Resampled(value, None, None, ci80=None, undefined=share)
    kept = samples[exists]
    known = replicates.summarise(value, kept)
    low, high = np.quantile(kept, EIGHTY, method="weibull")
    return Resampled(value, known.se, known.ci95, ci80=(float(low), float(high)), undefined=share)


def _evaluate(problem: Problem, theta: Array, values: Mapping[str, Array | float]) -> Array:
    """Return ln of the response (B,) with each theta at its own values of the variables, (B,) or ()."""
    law = problem.law
    missing = [v for v in law.variables if v not in values]
    if missing:
        raise LoraJaxError(f"{law.key} needs {', '.join(missing)} too: give it.")
    logs = [np.log(values[v]) - np.log(problem.centre[v]) for v in law.variables]
    return law.log_response_each(theta, np.stack([np.broadcast_to(x, (len(theta),)) for x in logs], 1))


def _minimise(function: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Return the minimisers (B,) of a function with one minimum each, by golden section."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(STEPS):
        worse = at_left > at_right
        low, high = np.where(worse, left, low), np.where(worse, high, right)
        new = np.where(worse, low + GOLDEN * (high - low), high - GOLDEN * (high - low))
        at_new = function(new)
        left, right = np.where(worse, right, new), np.where(worse, new, left)
        at_left, at_right = np.where(worse, at_right, at_new), np.where(worse, at_new, at_left)
    return (low + high) / 2
