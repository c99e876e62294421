"""Problem: a law, the runs it is fitted to, and the objective, in centred units."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.laws import Array, Law
from lora_jax.scaling.newton import Data, Objective, objective
from lora_jax.scaling.table import RunTable


@dataclass(frozen=True)
class Problem:
    """What `fit` minimises.

    centre: the geometric mean of each variable, the unit in which the coefficients of theta are counted, so
    that neither the answer nor its conditioning depends on whether N is in parameters or in billions.
    """

    law: Law
    table: RunTable
    goal: Objective
    data: Data
    centre: Mapping[str, float]
    bounds: tuple[Array, Array]

    @property
    def degrees_of_freedom(self) -> int:
        """Points less parameters; a weight of zero is no point."""
        return int(np.count_nonzero(self.data.weights)) - len(self.law.names)

    def residuals(self, theta: Array) -> Array:
        """Return fitted - measured ln L (n,)."""
        return self.data.residuals(theta[None])[0]

    def value(self, theta: Array) -> float:
        return float(self.data.value(theta[None], self.goal)[0])

    def noise_sd(self, theta: Array) -> float | None:
        """Return the residual sd of ln L with n - p degrees of freedom; None where none are left."""
        if self.degrees_of_freedom < 1:
            return None
        squares = self.data.weights * self.residuals(theta) ** 2
        return float(np.sqrt(squares.sum() / self.degrees_of_freedom))

    def features_at(self, values: Mapping[str, Array | float]) -> Array:
        """Return features (m, P) at new values of the law's variables, each () or (m,)."""
        missing = [v for v in self.law.variables if v not in values]
        if missing:
            raise LoraJaxError(f"{self.law.key} needs {', '.join(missing)} to predict a loss: give it.")
        arrays = np.broadcast_arrays(*(np.atleast_1d(values[v]) for v in self.law.variables))
        columns = {v: np.asarray(a, np.float64) for v, a in zip(self.law.variables, arrays, strict=True)}
        return self.law.features(columns, self.centre)


def pose(law: Law, table: RunTable, name: str = "huber", weights: Array | None = None) -> Problem:
    """Return the problem of fitting `law` to the table; weights (n,) are scaled to a mean of 1."""
    if not len(table):
        raise LoraJaxError(f"{table.source} has no runs to fit {law.key} to: give some.")
    loss = table["loss"]
    values = {v: table.variable(v) for v in law.variables}
    w = np.ones(len(table)) if weights is None else np.asarray(weights, np.float64)
    if w.shape != loss.shape or (w < 0).any() or not w.sum() > 0:
        raise LoraJaxError(f"The weights for {law.key} must be {len(table)} numbers >= 0: mend them.")
    centre = {v: float(np.exp(np.log(x).mean())) for v, x in values.items()}
    data = Data(law, law.features(values, centre), np.log(loss), w / w.mean())
    return Problem(law, table, objective(name), data, centre, law.bounds(data.log_loss))
