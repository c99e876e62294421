"""Numbers at a bound of the search: the runs did not measure them, and the bound is what to print."""

from dataclasses import replace

import numpy as np

from lora_jax.estimate import AtBound, Estimate
from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.laws.law import Array

AT_BOUND = 1e-9  # of theta
ENDS = (0.025, 0.975)
VANISHING = ("irreducible", "coefficient")  # kinds whose lower bound stands for a term that is not there


def mark_bound(row: Estimate, problem: Problem, index: int, theta: Array, samples: Array) -> Estimate:
    """Return the interval of a parameter, with those of value, low and high in `at_bound` that lie there.

    index: of the parameter. theta (P,): the answer; samples (B, P): its replicates. An irreducible loss or a
    coefficient at its lower bound is said to be 0, what the bound stands for; any other bound is itself, the
    number printed. The numbers of the row stay as they are.
    """
    if not problem.is_free[index]:
        return row
    parameter = problem.law.parameters[index]
    low, high = (float(b[index]) for b in problem.bounds)
    ends = np.quantile(samples[:, index], ENDS, method="weibull")
    at = {"value": float(theta[index]), "low": float(ends[0]), "high": float(ends[1])}
    published = {"value": row.value, "low": row.low, "high": row.high}
    marks: dict[str, float | None] = {}
    for name, x in at.items():
        if x <= low + AT_BOUND:
            marks[name] = 0.0 if parameter.kind in VANISHING else published[name]
        elif x >= high - AT_BOUND:
            marks[name] = published[name]
    marks = {name: x for name, x in marks.items() if x is not None}
    return replace(row, at_bound=AtBound(**marks)) if marks else row
