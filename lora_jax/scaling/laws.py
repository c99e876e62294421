"""Scaling laws whose loss is a sum of power terms, L = sum_k exp(c_k) (X_k / X_k0)^-alpha_k.

Kaplan's one-variable laws (arXiv 2001.08361), the same with a floor (2010.14701) and Chinchilla's third
approach (2203.15556) are all of this form. ln L is a log-sum-exp of terms that are linear in the internal
parameters theta = (c_k, alpha_k), so one exact gradient and one exact Hessian serve every law
(lora_jax/scaling/newton.py). A new law of the family is one `Law(...)` here.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from lora_jax.errors import LoraJaxError, nearest

Array = NDArray[np.float64]

EXPONENT_BOUNDS = (0.01, 5.0)  # published exponents lie between .03 and 1.3
SHARE_BOUNDS = (-10.0, 3.0)  # of c_k, beside the ln of the smallest and of the largest loss
LARGEST_LN = 690.0  # X_c = X_0 exp(c / alpha) can leave the range of a float; its ln is cut here


@dataclass(frozen=True)
class Term:
    """One term of a law.

    A floor has no variable. A term with `scale` is written (X_c / X)^alpha, where X_c has the unit of X;
    without, A X^-alpha.
    """

    coefficient: str
    variable: str | None = None
    exponent: str | None = None
    scale: bool = False


@dataclass(frozen=True)
class Law:
    """A law by name; `theta` (..., P) holds, term after term, c_k and then alpha_k where there is one.

    Variables are "N" (parameters), "D" (tokens) and "C" (FLOPs); the loss is in nats per token.
    """

    key: str
    name: str
    formula: str
    terms: tuple[Term, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(t.variable for t in self.terms if t.variable is not None))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the published parameters, in the order of theta."""
        return tuple(n for t in self.terms for n in (t.coefficient, t.exponent) if n is not None)

    @property
    def member(self) -> NDArray[np.int64]:
        """The term (0..K-1) that each entry of theta belongs to."""
        return np.array([k for k, t in enumerate(self.terms) for _ in range(1 if t.variable is None else 2)])

    @property
    def is_exponent(self) -> NDArray[np.bool_]:
        return np.array([e for t in self.terms for e in ((False,) if t.variable is None else (False, True))])

    def features(self, values: Mapping[str, Array], centre: Mapping[str, float]) -> Array:
        """Return F (n, P): term k of run n is the sum over its own p of theta_p F_np, a logarithm."""
        columns: list[Array] = []
        n = len(next(iter(values.values())))
        for term in self.terms:
            columns.append(np.ones(n))
            if term.variable is not None:
                columns.append(-(np.log(values[term.variable]) - np.log(centre[term.variable])))
        return np.stack(columns, axis=1)

    def log_loss(self, theta: Array, features: Array) -> Array:
        """Return ln L (..., n) for theta (..., P) and features (n, P)."""
        return log_sum_exp(theta, features, self.member)[0]

    def jacobian(self, theta: Array, features: Array) -> Array:
        """Return d ln L / d theta (..., n, P): the term's share of the loss times its feature."""
        shares = log_sum_exp(theta, features, self.member)[1]
        return shares[..., self.member] * features

    def bounds(self, log_loss: Array) -> tuple[Array, Array]:
        """Return lower and upper bounds of theta (P,) for runs of these ln L."""
        low = np.where(self.is_exponent, EXPONENT_BOUNDS[0], log_loss.min() + SHARE_BOUNDS[0])
        high = np.where(self.is_exponent, EXPONENT_BOUNDS[1], log_loss.max() + SHARE_BOUNDS[1])
        return low, high

    def to_params(self, theta: Array, centre: Mapping[str, float]) -> dict[str, Array]:
        """Return the published parameters, each (...,), of theta (..., P); X_c is cut to exp(+-690)."""
        params: dict[str, Array] = {}
        at = 0
        for term in self.terms:
            c = theta[..., at]
            at += 1
            if term.variable is None or term.exponent is None:
                params[term.coefficient] = np.exp(c)
                continue
            alpha = theta[..., at]
            at += 1
            ln_x0 = np.log(centre[term.variable])
            ln_a = ln_x0 + c / alpha if term.scale else c + alpha * ln_x0
            params[term.coefficient] = np.exp(np.clip(ln_a, -LARGEST_LN, LARGEST_LN))
            params[term.exponent] = np.asarray(alpha)
        return params

    def to_theta(self, params: Mapping[str, float], centre: Mapping[str, float]) -> Array:
        """Return theta (P,) of published parameters, the inverse of `to_params`."""
        for name in params:
            if name not in self.names:
                raise LoraJaxError(
                    f"{self.key} has no parameter {name!r}{nearest(name, self.names)}: rename it."
                )
        missing = [name for name in self.names if name not in params]
        if missing:
            raise LoraJaxError(f"{self.key} lacks {', '.join(missing)}: give all of {', '.join(self.names)}.")
        theta: list[float] = []
        for term in self.terms:
            ln_a = float(np.log(params[term.coefficient]))
            if term.variable is None or term.exponent is None:
                theta.append(ln_a)
                continue
            alpha = float(params[term.exponent])
            ln_x0 = float(np.log(centre[term.variable]))
            theta += [alpha * (ln_a - ln_x0) if term.scale else ln_a - alpha * ln_x0, alpha]
        return np.array(theta)

    def leading(self, theta: Array) -> tuple[str, Array]:
        """Return the exponent that people quote: alpha of one variable, a = beta / (alpha + beta) of two."""
        exponents = theta[..., self.is_exponent]
        if exponents.shape[-1] == 2:
            return "a", exponents[..., 1] / exponents.sum(-1)
        names = [name for name, yes in zip(self.names, self.is_exponent, strict=True) if yes]
        return names[0], exponents[..., 0]

    def starts(
        self, features: Array, log_loss: Array, score: Callable[[Array], Array], keep: int = 12
    ) -> Array:
        """Return the best `keep` starts (S, P) by `score` (theta (S, P) -> (S,)).

        A grid over the exponents; given these the loss is linear in the coefficients, which a non-negative
        least-squares solve of relative errors finds (variable projection). A coefficient of zero starts as a
        small share of the loss, because its logarithm must exist.
        """
        exponents = np.flatnonzero(self.is_exponent)
        coefficients = np.flatnonzero(~self.is_exponent)
        grid = np.geomspace(0.03, 2.0, 20 if len(exponents) == 1 else 10)
        low, high = self.bounds(log_loss)
        thetas = []
        for point in itertools.product(grid, repeat=len(exponents)):
            theta = np.zeros(len(self.names))
            theta[exponents] = point
            ln_terms = np.zeros((len(log_loss), len(coefficients)))
            for k, p in enumerate(coefficients):
                own = self.member == self.member[p]
                ln_terms[:, k] = features[:, own] @ theta[own]
            solution, _ = nnls(np.exp(ln_terms - log_loss[:, None]), np.ones(len(log_loss)))
            theta[coefficients] = np.log(np.maximum(solution, np.exp(log_loss.min() - 6)))
            thetas.append(np.clip(theta, low, high))
        starts = np.array(thetas)
        return starts[np.argsort(score(starts), kind="stable")[:keep]]


def log_sum_exp(theta: Array, features: Array, member: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return ln L (..., n) and each term's share of it (..., n, K) for theta (..., P), features (n, P)."""
    n_terms = int(member[-1]) + 1
    # (..., P, K): each entry of theta in its own term's column, so that one matmul makes all exponents
    spread = theta[..., None] * (member[:, None] == np.arange(n_terms))
    z = features @ spread
    top = z.max(axis=-1, keepdims=True)
    e = np.exp(z - top)
    total = e.sum(axis=-1, keepdims=True)
    return (top + np.log(total))[..., 0], e / total


def power_law(variable: str, floor: bool = False) -> Law:
    """Return L = (X_c / X)^alpha_X, or E + (X_c / X)^alpha_X, for X = "N", "D" or "C"."""
    term = Term(f"{variable}_c", variable, f"alpha_{variable}", scale=True)
    formula = f"L = ({variable}_c / {variable})^alpha_{variable}"
    if not floor:
        return Law(f"L({variable})", "power law", formula, (term,))
    formula = formula.replace("= ", "= E + ")
    return Law(f"L({variable}) with floor", "power law with floor", formula, (Term("E"), term))


CHINCHILLA = Law(
    "L(N,D)",
    "Chinchilla, approach 3",
    "L = E + A N^-alpha + B D^-beta",
    (Term("E"), Term("A", "N", "alpha"), Term("B", "D", "beta")),
)

LAWS: dict[str, Law] = {
    law.key: law
    for law in (*(power_law(x, floor) for x in ("N", "D", "C") for floor in (False, True)), CHINCHILLA)
}
