"""Answer: parameters of a law for the runs of a problem, and what they predict."""

from dataclasses import dataclass

import numpy as np

from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.laws.law import Array, Law


@dataclass(frozen=True)
class Answer:
    """Internal theta (P,) and the objective there (a sum over runs)."""

    problem: Problem
    theta: Array
    objective: float

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
        with np.errstate(over="ignore"):
            return np.exp(self.law.log_response(self.theta, self.problem.features_at(values)))
