"""How a law fitted to the smaller runs predicts the larger ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.comparing.origins import SAME, Split
from lora_jax.scaling.fitting.descent import Limits
from lora_jax.scaling.fitting.fit import starting_points
from lora_jax.scaling.fitting.newton import solve
from lora_jax.scaling.fitting.objectives import Objective
from lora_jax.scaling.fitting.problem import Answer, Problem, pose
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.tables.run_table import RunTable

# Most starts end in one minimum; a few creep along flat valleys for thousands of steps. These find the same
# minima as 2,000 steps from every start (tests/scaling/comparing/test_comparison.py) in a tenth of the time.
ROUGH, FINE, KEPT = 20, 200, 3  # steps from every start, steps from the best of them, how many these are


class Sought(NamedTuple):
    """The numbers of a `Found`, which one process can send to another: theta (P,), objective, converged."""

    theta: Array
    objective: float
    converged: bool


@dataclass(frozen=True)
class Found(Answer):
    """The best answer that was found.

    Attributes:
        converged: Whether its gradient vanishes.
    """

    converged: bool

    @property
    def sought(self) -> Sought:
        return Sought(self.theta, self.objective, self.converged)

    @classmethod
    def of(cls, problem: Problem, sought: Sought) -> "Found":
        return cls(problem, *sought)


@dataclass(frozen=True)
class Extrapolation:
    """How a law predicts beyond the rows of each split. Splits are named by `Split.n_train`.

    Attributes:
        errors: ln predicted less ln measured of the rows to predict, (m,), by split.
        failures: Why there are no errors, by split.
        unconverged: Splits whose fit is not at a minimum.
    """

    errors: Mapping[int, Array]
    failures: Mapping[int, str]
    unconverged: frozenset[int]

    def rms(self, split: Split) -> float | None:
        """Return the root mean square error of a split. None if the law could not be fitted."""
        found = self.errors.get(split.n_train)
        return None if found is None else float(np.sqrt((found**2).mean()))

    def pooled(self, splits: Sequence[Split]) -> Array | None:
        """Return the errors of all predictions of these splits, (M,). None if the law failed at one."""
        parts = [self.errors[s.n_train] for s in splits if s.n_train in self.errors]
        return np.concatenate(parts) if len(parts) == len(splits) else None


def extrapolate(
    law: Law,
    table: RunTable,
    splits: Sequence[Split],
    objective: str | Objective = "huber",
    weights: Array | None = None,
) -> Extrapolation:
    """Fit a law to the rows of each split, and predict the rows beyond them.

    A fit starts where the law starts, and from the answer to the split before. It never starts from an answer
    that has seen the rows to predict.

    Args:
        law: The law.
        table: The runs.
        splits: The splits. They are nested.
        objective: What the fits minimise.
        weights: Importance of each run, (n,).
    """
    errors: dict[int, Array] = {}
    failures: dict[int, str] = {}
    unconverged, warm = set(), None
    for split in sorted(splits, key=lambda s: s.n_train):
        try:
            part = None if weights is None else weights[split.train]
            answer = search(law, table.take(split.train), objective, part, warm)
            errors[split.n_train] = prediction_errors(answer, table.take(split.test))
        except LoraJaxError as reason:
            failures[split.n_train] = str(reason)
            continue
        warm = answer.params
        if not answer.converged:
            unconverged.add(split.n_train)
    return Extrapolation(errors, failures, frozenset(unconverged))


def search(
    law: Law,
    table: RunTable,
    objective: str | Objective = "huber",
    weights: Array | None = None,
    warm: Mapping[str, float] | None = None,
) -> Found:
    """Find the lowest minimum of a law that `descend` reaches from its starts.

    Args:
        warm: Parameters of one more start.

    Raises:
        LoraJaxError: If the rows do not determine the law.
    """
    problem = pose(law, table, objective, weights)
    constant = [v for v in law.variables if not np.ptp(np.log(table.variable(v))) > SAME]
    if constant:
        raise LoraJaxError(f"{' and '.join(constant)} is the same in its {len(table)} rows")
    starts = starting_points(problem)
    if warm is not None:
        starts = np.concatenate([starts, law.to_theta(warm, problem.centre)[None]])
    return descend(problem, starts)


def descend(problem: Problem, starts: Array) -> Found:
    """Return the lowest minimum that a short descent from every start, and a long one from the best, find.

    There is no certificate as in `fit`, because it costs more than the answer.

    Raises:
        LoraJaxError: The law is not defined for the rows at any start.
    """
    d, goal = problem.data, problem.goal
    rough = solve(d, goal, starts, problem.bounds, limits=Limits(ROUGH))
    order = np.argsort(_or_infinite(rough.value), kind="stable")[:KEPT]
    fine = solve(d, goal, rough.theta[order], problem.bounds, limits=Limits(FINE))
    thetas = np.concatenate([fine.theta, rough.theta[order[:1]]])
    values = _or_infinite(np.concatenate([fine.value, rough.value[order[:1]]]))
    gradients = np.concatenate([fine.grad_norm, rough.grad_norm[order[:1]]])
    best = int(values.argmin())
    if not np.isfinite(values[best]):
        raise LoraJaxError(f"it is not defined for its {len(problem.table)} rows at any start")
    theta = thetas[best]
    converged = bool(gradients[best] < goal.tolerance(problem.errors(theta), len(theta)))
    return Found(problem, theta, float(values[best]), converged)


def prediction_errors(answer: Answer, table: RunTable) -> Array:
    """Return ln predicted less ln measured, (n,).

    Raises:
        LoraJaxError: The law is not defined at a row.
    """
    law = answer.problem.law
    values = {v: table.variable(v) for v in law.variables}
    found = law.log_response(answer.theta, answer.problem.features_at(values)) - np.log(table[law.response])
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise LoraJaxError(f"it is not defined at the larger run {table.run_ids[bad[0]]}")
    return found


def _or_infinite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.inf)
