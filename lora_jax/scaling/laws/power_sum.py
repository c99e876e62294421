"""Laws that are a sum of power terms, y = sum_k c_k prod_v x_v^-alpha_kv.

Of this form are Kaplan's laws of one variable (arXiv 2001.08361), the same with an irreducible loss
(2010.14701), Chinchilla's third approach (2203.15556), over-training (2403.08540) and fine-tuning
(2402.17193). Their derivatives are exact and in closed form. ln y is a log-sum-exp of terms that are linear
in theta. With shares s and features f of the terms, d ln y = sum_k s_k f_k and (d2 y) / y = sum_k s_k f_k
f_k'.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import nnls

from lora_jax.scaling.laws.law import MOST_STARTS, Array, Law, Parameter, Slopes, exponent

GRID = (0.03, 2.0)  # exponents to start from
GRID_POINTS = {1: 20, 2: 10, 3: 6}  # of each exponent, by how many there are
SMALLEST = 1e-300  # of what has a logarithm
LARGEST = 300.0  # of a logarithm whose exponential is squared by a least-squares solve


@dataclass(frozen=True)
class Term:
    """One term of the sum.

    Attributes:
        coefficient: A parameter of kind irreducible, coefficient or scale.
        powers: Pairs of a variable and the name of its exponent.
    """

    coefficient: Parameter
    powers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class PowerSum(Law):
    """A sum of power terms. Exponents of the same name are one parameter. `power_sum` makes it."""

    terms: tuple[Term, ...]

    @cached_property
    def _layout(self) -> list[tuple[int, list[tuple[int, int]]]]:
        """Per term: its coefficient's index in theta, and (exponent's index, variable's column) pairs."""
        at = {name: i for i, name in enumerate(self.names)}
        column = {v: i for i, v in enumerate(self.variables)}
        return [(at[t.coefficient.name], [(at[e], column[v]) for v, e in t.powers]) for t in self.terms]

    def _design(self, features: Array) -> Array:
        """Return f (K, n, P): term k of run n is the exponential of f_kn . theta."""
        design = np.zeros((len(self.terms), len(features), len(self.names)))
        for k, (c, powers) in enumerate(self._layout):
            design[k, :, c] = 1.0
            for e, v in powers:
                design[k, :, e] -= features[:, v]
        return design

    def _shares(self, theta: Array, features: Array) -> tuple[Array, list[Array]]:
        """Return ln y (..., n) and the share of each term in y, K arrays (..., n)."""
        logs = []
        for c, powers in self._layout:
            z = theta[..., c, None] + np.zeros(features.shape[:-1])
            for e, v in powers:
                z = z - theta[..., e, None] * features[..., v]
            logs.append(z)
        top = logs[0]
        for z in logs[1:]:
            top = np.maximum(top, z)
        parts = [np.exp(z - top) for z in logs]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return top + np.log(total), [part / total for part in parts]

    def log_response(self, theta: Array, features: Array) -> Array:
        return self._shares(theta, features)[0]

    def slopes(self, theta: Array, features: Array) -> Slopes:
        log_response, shares = self._shares(theta, features)
        rows = np.zeros(
            (len(theta), len(self.names), features.shape[-2])
        )  # (B, P, n): long axis last, for speed
        for share, (c, powers) in zip(shares, self._layout, strict=True):
            rows[:, c] += share
            for e, v in powers:
                rows[:, e] -= share * features[..., v]

        def bend(weights: Array) -> Array:
            bent = np.zeros((len(theta), len(self.names), len(self.names)))
            for share, (c, powers) in zip(shares, self._layout, strict=True):
                index = np.array([c, *(e for e, _ in powers)])
                f = np.stack([np.ones(features.shape[:-1]), *(-features[..., v] for _, v in powers)], axis=-2)
                # d2 of the term over its share
                outer = (f[..., :, None, :] * f[..., None, :, :]).reshape(*f.shape[:-2], len(index) ** 2, -1)
                # einsum and not a matrix product: BLAS would start threads for so flat a one
                moments = np.einsum("bn,qn->bq" if f.ndim == 2 else "bn,bqn->bq", weights * share, outer)
                bent[:, index[:, None], index] += moments.reshape(-1, len(index), len(index))
            return bent

        return Slopes(log_response, rows, bend)

    def starts(
        self,
        features: Array,
        log_response: Array,
        score: Callable[[Array], Array],
        fixed: Mapping[str, float],
        keep: int = MOST_STARTS,
    ) -> Array:
        """Return the best starts of a grid over the exponents, (S, P).

        At given exponents the response is linear in the coefficients. A non-negative least-squares solve of
        relative errors finds them (variable projection).
        """
        exponents = [n for n, e in zip(self.names, self.is_exponent, strict=True) if e and n not in fixed]
        low, high = self.bounds(log_response)
        design = self._design(features)
        at = {name: i for i, name in enumerate(self.names)}
        coefficients = [c for c, _ in self._layout]
        thetas = []
        for point in itertools.product(
            np.geomspace(*GRID, GRID_POINTS.get(len(exponents), 4)), repeat=len(exponents)
        ):
            theta = np.zeros(len(self.names))
            for name, value in (*fixed.items(), *zip(exponents, point, strict=True)):
                theta[at[name]] = value if self.is_exponent[at[name]] else 0.0
            theta[coefficients] = solve_shares((design @ theta).T, log_response)
            theta = np.clip(theta, low, high)
            theta[[at[name] for name in fixed]] = list(fixed.values())
            thetas.append(theta)
        return best_starts(np.array(thetas), score, keep)


def power_sum(
    key: str,
    name: str,
    formula: str,
    reference: str,
    terms: Sequence[Term],
    exponents: Sequence[Parameter] = (),
    **more: Any,
) -> PowerSum:
    """Make a law that is a sum of power terms.

    Args:
        key: A short formula, such as "L(N,D)".
        name: The law in words.
        formula: The formula.
        reference: The source.
        terms: The terms. Their coefficients and exponents, in order, are the parameters.
        exponents: Exponents whose bounds differ from the usual ones.
        more: Other fields of `Law`.
    """
    own = {e.name: e for e in exponents}
    parameters: dict[str, Parameter] = {}
    for term in terms:
        parameters[term.coefficient.name] = term.coefficient
        for _, e in term.powers:
            parameters.setdefault(e, own.get(e) or exponent(e))
    variables = tuple(dict.fromkeys(v for term in terms for v, _ in term.powers))
    return PowerSum(
        key=key,
        name=name,
        formula=formula,
        reference=reference,
        parameters=tuple(parameters.values()),
        variables=variables,
        terms=tuple(terms),
        **more,
    )


def solve_shares(log_columns: Array, log_target: Array) -> Array:
    """Find the c >= 0 for which sum_k c_k exp(log_columns[:, k]) has the least squared relative errors.

    A coefficient of zero becomes a small share of the smallest target, because its logarithm must exist.

    Args:
        log_columns: ln of the terms without their coefficients, (n, K).
        log_target: ln of what they should add up to, (n,).

    Returns:
        ln c, (K,).
    """
    size = log_columns.max(axis=0)  # columns and target of like size, whatever the units
    level = log_target.mean()
    target = log_target - level
    relative = np.exp(np.clip(log_columns - size - target[:, None], -LARGEST, LARGEST))
    solution, _ = nnls(relative, np.ones(len(target)))
    return np.maximum(np.log(np.maximum(solution, SMALLEST)), target.min() - 6) - size + level


def best_starts(thetas: Array, score: Callable[[Array], Array], keep: int) -> Array:
    """Return the rows of `thetas` with the lowest scores, the lowest first. Rows without a score come last.

    Scores that are equal in single precision count as equal, so that rounding decides nothing. Of equal
    scores the first row comes first. They occur if D = k N, where two exponents may change places.

    Args:
        thetas: The candidates, (S, P).
        score: Function (S, P) -> (S,).
        keep: The most rows to return.
    """
    values = np.nan_to_num(score(thetas), nan=np.inf)
    with np.errstate(over="ignore"):
        return thetas[np.argsort(values.astype(np.float32), kind="stable")[:keep]]
