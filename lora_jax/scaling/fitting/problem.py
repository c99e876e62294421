"""Problem: a law, the runs it is fitted to, and the objective, in centred units."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.newton import Bounds, Data
from lora_jax.scaling.fitting.objectives import Objective, objective
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.tables.table import RunTable


@dataclass(frozen=True)
class Problem:
    """What `fit` minimises.

    centre: the geometric mean of each variable, the unit in which the coefficients of theta are counted, so
    that neither the answer nor its conditioning depends on whether N is in parameters or in billions.
    fixed: published parameters that stay as given; their bounds are equal.
    """

    law: Law
    table: RunTable
    goal: Objective
    data: Data
    centre: Mapping[str, float]
    bounds: Bounds
    fixed: Mapping[str, float] = field(default_factory=dict)

    @property
    def n_free(self) -> int:
        """Parameters that are fitted."""
        return len(self.law.names) - len(self.fixed)

    @property
    def is_free(self) -> np.ndarray:
        """Which entries of theta are fitted (P,)."""
        return np.array([name not in self.fixed for name in self.law.names])

    @property
    def degrees_of_freedom(self) -> int:
        """Points less parameters; a weight of zero is no point."""
        return int(np.count_nonzero(self.data.weights)) - self.n_free

    def bounds_of(self, index: int) -> tuple[float, float]:
        """Return the lower and the upper bound of one entry of theta."""
        low, high = self.bounds
        return float(low[index]), float(high[index])

    def residuals(self, theta: Array) -> Array:
        """Return fitted - measured ln of the response (n,)."""
        return self.data.residuals(theta[None])[0]

    def errors(self, theta: Array) -> Array:
        """Return the residuals that the objective sees (n,): those of ln, or of the response itself."""
        return self.data.errors(theta[None], self.goal)[0]

    def value(self, theta: Array) -> float:
        return float(self.data.value(theta[None], self.goal)[0])

    def noise_sd(self, theta: Array) -> float | None:
        """Return the residual sd of ln of the response with n - p degrees of freedom; None for none left."""
        if self.degrees_of_freedom < 1:
            return None
        squares = self.data.weights * self.residuals(theta) ** 2
        return float(np.sqrt(squares.sum() / self.degrees_of_freedom))

    def features_at(self, values: Mapping[str, Array | float]) -> Array:
        """Return features (m, V) at new values of the law's variables, each () or (m,)."""
        missing = [v for v in self.law.variables if v not in values]
        if missing:
            raise LoraJaxError(f"{self.law.key} needs {', '.join(missing)} to predict: give it.")
        arrays = np.broadcast_arrays(*(np.atleast_1d(values[v]) for v in self.law.variables))
        columns = {v: np.asarray(a, np.float64) for v, a in zip(self.law.variables, arrays, strict=True)}
        return self.law.features(columns, self.centre)


def pose(
    law: Law,
    table: RunTable,
    name: str = "huber",
    weights: Array | None = None,
    *,
    fixed: Mapping[str, float] | None = None,
    delta: float | None = None,
) -> Problem:
    """Return the problem of fitting `law` to the table.

    name: of the objective; delta: the width of its Huber. weights (n,): scaled to a mean of 1. fixed:
    published parameters that are not fitted; a coefficient needs its exponents fixed too.
    """
    if not len(table):
        raise LoraJaxError(f"{table.source} has no runs to fit {law.key} to: give some.")
    response = table[law.response]
    values = {v: table.variable(v) for v in law.variables}
    w = np.ones(len(table)) if weights is None else np.asarray(weights, np.float64)
    if w.shape != response.shape or (w < 0).any() or not w.sum() > 0:
        raise LoraJaxError(f"The weights for {law.key} must be {len(table)} numbers >= 0: mend them.")
    centre = {v: float(np.exp(np.log(x).mean())) for v, x in values.items()}
    centre |= {v: 1.0 if other == "1" else centre[other] for v, other in law.same_unit.items()}
    data = Data(law, law.features(values, centre), np.log(response), w / w.mean())
    low, high = law.bounds(data.log_loss)
    low, high = low.copy(), high.copy()
    fixed = dict(fixed or {})
    law.check_names(fixed)
    for i, p in enumerate(law.parameters):
        if p.name in fixed:
            low[i] = high[i] = law.internal(p, fixed, centre)
    goal = objective(name, delta).fitted_to(data.log_loss)
    return Problem(law, table, goal, data, centre, (low, high), fixed)
