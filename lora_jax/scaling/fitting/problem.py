"""A problem is a law, the runs it is fitted to, and the objective, in centred units.

An `Answer` belongs to a problem.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.bounds import Ends, centre_for, moved_bounds, recentred_bounds
from lora_jax.scaling.fitting.newton import Bounds, Data
from lora_jax.scaling.fitting.objectives import Objective, objective
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.tables.table import RunTable

SHOWN = 5  # rows that a sentence names


@dataclass(frozen=True)
class Problem:
    """What `fit` minimises.

    Attributes:
        law: The law.
        table: The runs.
        goal: The objective.
        data: The runs, as the solver reads them.
        centre: The geometric mean of each variable. The coefficients in theta are counted in it, so the
            answer and its conditioning do not depend on whether N is in parameters or in billions.
        bounds: Lower and upper bounds of theta.
        fixed: Published parameters that are held at a value. Their bounds are equal.
        usual: The same problem within our usual bounds, if some were moved. Another unit may have been needed
            for the moved ones.
    """

    law: Law
    table: RunTable
    goal: Objective
    data: Data
    centre: Mapping[str, float]
    bounds: Bounds
    fixed: Mapping[str, float] = field(default_factory=dict)
    usual: "Problem | None" = None

    @property
    def n_free(self) -> int:
        """Number of parameters that are fitted."""
        return len(self.law.names) - len(self.fixed)

    @property
    def is_free(self) -> np.ndarray:
        """Which entries of theta are fitted, (P,)."""
        return np.array([name not in self.fixed for name in self.law.names])

    @property
    def degrees_of_freedom(self) -> int:
        """Runs less free parameters. A run of weight zero does not count."""
        return int(np.count_nonzero(self.data.weights)) - self.n_free

    def bounds_of(self, index: int) -> tuple[float, float]:
        """Return the lower and the upper bound of one entry of theta."""
        low, high = self.bounds
        return float(low[index]), float(high[index])

    def translate(self, theta: Array, other: "Problem") -> Array:
        """Return theta (..., P) of this problem's law in the coordinates of the other's."""
        params = self.law.to_params(theta.reshape(-1, theta.shape[-1]), self.centre)
        rows = [
            other.law.to_theta({k: float(v[b]) for k, v in params.items()}, other.centre)
            for b in range(len(next(iter(params.values()))))
        ]
        return np.array(rows).reshape(theta.shape)

    def residuals(self, theta: Array) -> Array:
        """Return fitted less measured ln of the response, (n,)."""
        return self.data.residuals(theta[None])[0]

    def errors(self, theta: Array) -> Array:
        """Return the residuals that the objective sees, (n,).

        They are those of ln of the response, or of the response itself.
        """
        return self.data.errors(theta[None], self.goal)[0]

    def value(self, theta: Array) -> float:
        """Return the objective at theta (P,)."""
        return float(self.data.value(theta[None], self.goal)[0])

    def noise_sd(self, theta: Array) -> float | None:
        """Return the standard deviation of the residuals of ln of the response.

        It has n - p degrees of freedom. It is None without one.
        """
        if self.degrees_of_freedom < 1:
            return None
        squares = self.data.weights * self.residuals(theta) ** 2
        return float(np.sqrt(squares.sum() / self.degrees_of_freedom))

    def features_at(self, values: Mapping[str, Array | float]) -> Array:
        """Return the features, (m, V), at new values of the law's variables, each () or (m,).

        Raises:
            LoraJaxError: A variable of the law is missing.
        """
        missing = [v for v in self.law.variables if v not in values]
        if missing:
            raise LoraJaxError(f"{self.law.key} needs {', '.join(missing)} to predict: give it.")
        arrays = np.broadcast_arrays(*(np.atleast_1d(values[v]) for v in self.law.variables))
        columns = {v: np.asarray(a, np.float64) for v, a in zip(self.law.variables, arrays, strict=True)}
        return self.law.features(columns, self.centre)


@dataclass(frozen=True)
class Answer:
    """An answer to a problem.

    Attributes:
        problem: The problem.
        theta: The internal parameters, (P,).
        objective: The objective there.
    """

    problem: Problem
    theta: Array
    objective: float

    @property
    def law(self) -> Law:
        return self.problem.law

    @property
    def params(self) -> dict[str, float]:
        """The published parameters. A scale X_c has the unit of X, and E that of the response."""
        return {k: float(v) for k, v in self.law.to_params(self.theta, self.problem.centre).items()}

    @property
    def residuals(self) -> Array:
        """ln of measured less ln of fitted, (n,), in the order of the table."""
        return -self.problem.residuals(self.theta)

    def predict(self, **values: Array | float) -> Array:
        """Return the predicted response, (m,), in the unit of the table.

        Args:
            values: The law's variables, such as N= and D=, each () or (m,).

        Raises:
            LoraJaxError: A variable of the law is missing.
        """
        with np.errstate(over="ignore"):
            return np.exp(self.law.log_response(self.theta, self.problem.features_at(values)))


def pose(
    law: Law,
    table: RunTable,
    goal: str | Objective = "huber",
    weights: Array | None = None,
    *,
    fixed: Mapping[str, float] | None = None,
    delta: float | None = None,
    moved: Mapping[str, Ends] | None = None,
) -> Problem:
    """State the problem of fitting a law to a table.

    Args:
        law: The law.
        table: The runs.
        goal: The objective, or its name.
        weights: Importance of each run (n,), scaled to a mean of 1.
        fixed: Published parameters that are held at a value. A coefficient can be fixed only with its
            exponents.
        delta: Width of the Huber, if `goal` is a name.
        moved: Bounds of published parameters. An end that is None keeps our usual one.
    """
    if not len(table):
        raise LoraJaxError(f"{table.source} has no runs to fit {law.key} to: give some.")
    usual = pose(law, table, goal, weights, fixed=fixed, delta=delta) if moved else None
    moved, fixed = dict(moved or {}), dict(fixed or {})
    law = law.holding({*fixed, *moved})
    response = table[law.response]
    values = {v: table.variable(v) for v in law.variables}
    _check_positive(table, {law.response: response, **{table.column_of(v): x for v, x in values.items()}})
    w = np.ones(len(table)) if weights is None else np.asarray(weights, np.float64)
    if w.shape != response.shape or (w < 0).any() or not w.sum() > 0:
        raise LoraJaxError(f"The weights for {law.key} must be {len(table)} numbers >= 0: mend them.")
    centre = law.units({v: float(np.exp(np.log(x).mean())) for v, x in values.items()})
    law.check_given(fixed)
    both = [n for n in moved if n in fixed]
    if both:
        raise LoraJaxError(f"{both[0]} is fixed, and cannot be bounded too: leave one of them out.")
    middle, centre = centre, centre_for(law, moved, centre)
    data = Data(law, law.features(values, centre), np.log(response), w / w.mean())
    bounds = recentred_bounds(law, law.bounds(data.log_loss), middle, centre)
    low, high = moved_bounds(law, moved, centre, bounds)
    for i, p in enumerate(law.parameters):
        if p.name in fixed:
            low[i] = high[i] = law.internal(p, fixed, centre)
    goal = objective(goal, delta) if isinstance(goal, str) else goal
    return Problem(law, table, goal.fitted_to(data.log_loss), data, centre, (low, high), fixed, usual)


def _check_positive(table: RunTable, columns: Mapping[str, Array]) -> None:
    """Raise LoraJaxError for a column that is not above 0 in every row: laws are of logarithms."""
    for name, values in columns.items():
        bad = np.flatnonzero(~(values > 0))
        if len(bad):
            rows = ", ".join(table.run_ids[i] for i in bad[:SHOWN])
            more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
            raise LoraJaxError(
                f"{table.source}: {name} has values that are not above 0: {rows}{more}: mend them or filter"
                " them out."
            )
