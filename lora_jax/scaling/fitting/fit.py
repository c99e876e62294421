"""Fit a law to runs: many starts, Newton to a vanishing gradient, and a certificate on the answer."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.certificate import Certificate, certify
from lora_jax.scaling.fitting.newton import solve
from lora_jax.scaling.fitting.problem import Problem, pose
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.tables.table import RunTable


@dataclass(frozen=True)
class Fit:
    """An answer: internal theta (P,), published parameters, the objective (a sum over runs)."""

    problem: Problem
    theta: Array
    objective: float
    certificate: Certificate

    @property
    def law(self) -> Law:
        return self.problem.law

    @property
    def params(self) -> dict[str, float]:
        """Published parameters; X_c in the unit of X, E in the unit of the response."""
        return {k: float(v) for k, v in self.law.to_params(self.theta, self.problem.centre).items()}

    @property
    def residuals(self) -> Array:
        """ln measured - fitted, in the order of the table (n,)."""
        return -self.problem.residuals(self.theta)

    def predict(self, **values: Array | float) -> Array:
        """Return the response (m,) at N=, D=, C=, ... of () or (m,), in the unit of the table."""
        return np.exp(self.law.log_response(self.theta, self.problem.features_at(values)))


def fit(
    law: Law,
    table: RunTable,
    objective: str = "huber",
    weights: Array | None = None,
    *,
    fixed: Mapping[str, float] | None = None,
    delta: float | None = None,
) -> Fit:
    """Fit `law` to the runs of `table` in float64.

    objective: "huber" (sum of Huber_1e-3 of the log residuals, Hoffmann et al. 2203.15556), "l1" (sum of
    their sizes; what Besiroglu et al. 2404.10102 print), "squared" (sum of their squares) or "least-squares"
    (of the response itself). weights (n,): importance of each run, scaled to a mean of 1. fixed: published
    parameters to leave as they are. delta: of the Huber. Raises LoraJaxError where the table lacks a
    variable, or has fewer runs than the law has free parameters.
    """
    problem = pose(law, table, objective, weights, fixed=fixed, delta=delta)
    if problem.degrees_of_freedom < 0:
        raise LoraJaxError(
            f"{law.key} has {problem.n_free} parameters and {table.source} offers {len(table)} runs: give at"
            " least as many runs as parameters."
        )
    d, goal = problem.data, problem.goal
    held = {n: problem.bounds_of(law.names.index(n))[0] for n in problem.fixed}
    starts = law.starts(d.features, d.log_loss, lambda theta: d.value(theta, goal), held)
    answers = solve(d, goal.rougher(), starts, problem.bounds)
    defined = np.isfinite(answers.value)
    if not defined.any():
        raise LoraJaxError(
            f"{law.key} is not defined for the runs of {table.source} at any start: choose another law."
        )
    best = int(np.where(defined, answers.value, np.inf).argmin())
    theta = answers.theta[best]
    if goal.rougher() != goal:
        from_delta = goal.rougher().delta
        theta = solve(d, goal, theta[None], problem.bounds, from_delta=from_delta).theta[0]
    minima = (answers.theta[defined], answers.value[defined])
    certificate = certify(problem, theta, start=starts[best], minima=minima)
    return Fit(problem, theta, problem.value(theta), certificate)


def judge(
    law: Law,
    table: RunTable,
    params: Mapping[str, float],
    *,
    objective: str = "huber",
    start: Mapping[str, float] | None = None,
) -> Fit:
    """Return somebody else's parameters as a Fit, with the certificate that says whether to believe it."""
    problem = pose(law, table, objective)
    theta = law.to_theta(params, problem.centre)
    begun = None if start is None else law.to_theta(start, problem.centre)
    return Fit(problem, theta, problem.value(theta), certify(problem, theta, start=begun))
