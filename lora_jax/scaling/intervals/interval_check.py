"""Where 95 % intervals may not hold the truth in 95 of 100 tables, and why, in words.

The limits come from simulation (test_coverage.py), of Chinchilla's law with 2 % noise of ln L. The coverage
for 30 runs and more is 94 to 96 %. For 8 to 20 runs it lies anywhere between 86 and 100 %.
"""

from typing import TYPE_CHECKING

import numpy as np

from lora_jax.percent import percent
from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.tables.provenance import noun_of_units

if TYPE_CHECKING:
    from lora_jax.scaling.intervals.uncertainty import Bootstrap

LEAST_FREEDOM = 20  # degrees of freedom of a law that bends in its parameters
LEAST_CLUSTERS = 25  # drawn with replacement; fewer repeat too much
LEAST_REPLICATES = 200  # of which 5 lie beyond each end of the interval
MOST_FAILED = 0.05
TAIL = 0.025  # as many replicates at a bound, and the interval ends there


def few_runs_warning(problem: Problem) -> str | None:
    """Return the warning if the runs are too few for intervals of the law's parameters, else None.

    A law that is linear in theta, such as a power law without a floor, needs one degree of freedom only.
    Drawn noise then gives Student's interval.
    """
    freedom = problem.degrees_of_freedom
    if freedom >= LEAST_FREEDOM or (freedom >= 1 and _is_linear(problem)):
        return None
    n, p = freedom + problem.n_free, problem.n_free
    return (
        f"{n} runs for {p} parameters leave {max(freedom, 0)} degrees of freedom: with fewer than"
        f" {LEAST_FREEDOM}, our 95 % intervals held the truth in 86 to 100 % of simulated tables, depending"
        " on the design"
    )


def _beyond_quantile(problem: Problem) -> str | None:
    """Return why too few runs lie beyond a quantile to draw a curve there, or None."""
    tau, n = problem.goal.tau, int(np.count_nonzero(problem.data.weights))
    beyond = min(tau, 1 - tau) * n
    if problem.goal.shape != "quantile" or beyond >= problem.n_free:
        return None
    return (
        f"only {beyond:.3g} of {n} runs lie beyond the quantile {tau:g}, too few for {problem.n_free}"
        " parameters: a quantile nearer the middle is known better"
    )


def _is_linear(problem: Problem) -> bool:
    """Whether the slopes of ln of the response are the same everywhere between the bounds."""
    low, high = problem.bounds
    points = low + np.array([[0.3], [0.7]]) * (high - low)
    one, other = problem.law.jacobian(points, problem.data.features)
    return bool(np.allclose(one, other, rtol=1e-9, atol=1e-12))


def interval_warning(replicates: "Bootstrap") -> str | None:
    """Return why the intervals of these replicates cannot be trusted, or None.

    The reasons are: too few degrees of freedom, clusters or replicates; replicates that did not converge;
    rows of one training run that were drawn as if they were independent; and a parameter whose interval ends
    at its bound, which the runs did not choose.
    """
    problem = replicates.fit.problem
    reasons = []
    few = few_runs_warning(problem)
    if few is not None:
        reasons.append(few)
    beyond = _beyond_quantile(problem)
    if beyond is not None:
        reasons.append(beyond)
    if replicates.kind == "case" and replicates.n_clusters < LEAST_CLUSTERS:
        reasons.append(
            f"the bootstrap draws from only {replicates.n_clusters} independent clusters of runs: an interval"
            f" needs at least {LEAST_CLUSTERS}"
        )
    if replicates.kind == "parametric" and problem.table.clusters is not None:
        n = len(problem.table)
        if replicates.n_clusters < n:
            reasons.append(
                f"{n} rows come from {replicates.n_clusters} {noun_of_units(problem.table)}"
                " but were treated as independent"
            )
    if len(replicates.theta) < LEAST_REPLICATES:
        reasons.append(
            f"{len(replicates.theta)} bootstrap replicates are too few: ask for {LEAST_REPLICATES} or more"
        )
    if replicates.n_failed > MOST_FAILED * replicates.n:
        reasons.append(f"{replicates.n_failed} of {replicates.n} bootstrap replicates did not converge")
    ends = {name: share for name, share in replicates.at_bound.items() if share > TAIL}
    if ends:
        shares = ", ".join(f"{name} in {percent(share)} of them" for name, share in ends.items())
        reasons.append(f"bootstrap replicates end at a bound ({shares}), which cuts the interval there")
    return "; ".join(reasons) or None
