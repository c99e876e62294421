"""Second-order forward differentiation of a formula, for a whole batch of parameters at once.

A `Jet` carries a value (B, n), its gradient (B, n, P) and its Hessian (B, n, P, P) with respect to theta
(Griewank and Walther, Evaluating Derivatives, chapter 13). A law is then written once, as a formula, and
its derivatives are exact to rounding. Here and not in a library because the fits must start within a second
without a compiler: with JAX the import and the compilation alone take several.

`exp`, `log`, `log_add`, `smaller` and `larger` also take plain arrays, so that one formula serves values and
derivatives.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Jet:
    """A quantity and its first and second derivatives; axes of length 1 stand for the whole batch."""

    value: Array
    gradient: Array
    hessian: Array | None  # None: zero

    # numpy must not take `array * jet` apart into objects, but leave it to __rmul__
    __array_ufunc__ = None

    def __neg__(self) -> "Jet":
        return Jet(-self.value, -self.gradient, None if self.hessian is None else -self.hessian)

    def __add__(self, other: "Jet | Array | float") -> "Jet":
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.gradient, self.hessian)
        hessian = other.hessian if self.hessian is None else self.hessian
        if self.hessian is not None and other.hessian is not None:
            hessian = self.hessian + other.hessian
        return Jet(self.value + other.value, self.gradient + other.gradient, hessian)

    def __sub__(self, other: "Jet | Array | float") -> "Jet":
        return self + (-other)

    def __rsub__(self, other: "Array | float") -> "Jet":
        return -self + other

    def __mul__(self, other: "Jet | Array | float") -> "Jet":
        if not isinstance(other, Jet):
            factor = np.asarray(other)
            hessian = None if self.hessian is None else self.hessian * factor[..., None, None]
            return Jet(self.value * factor, self.gradient * factor[..., None], hessian)
        cross = self.gradient[..., :, None] * other.gradient[..., None, :]
        hessian = cross + np.swapaxes(cross, -1, -2)
        if self.hessian is not None:
            hessian = hessian + self.hessian * other.value[..., None, None]
        if other.hessian is not None:
            hessian = hessian + other.hessian * self.value[..., None, None]
        gradient = self.gradient * other.value[..., None] + other.gradient * self.value[..., None]
        return Jet(self.value * other.value, gradient, hessian)

    def __truediv__(self, other: "Jet | Array | float") -> "Jet":
        return self * (_reciprocal(other) if isinstance(other, Jet) else 1 / np.asarray(other))

    def __rtruediv__(self, other: "Array | float") -> "Jet":
        return _reciprocal(self) * other

    __radd__ = __add__
    __rmul__ = __mul__


Value = TypeVar("Value", Jet, Array)


def variables(theta: Array) -> list[Jet]:
    """Return a jet for each column of theta (B, P), to be combined with arrays (n,)."""
    n_params = theta.shape[1]
    basis = np.eye(n_params)
    return [Jet(theta[:, p, None], basis[p][None, None, :], None) for p in range(n_params)]


def exp(x: Value) -> Value:
    if not isinstance(x, Jet):
        return np.exp(x)
    value = np.exp(x.value)
    return _chain(x, value, value, value)


def log(x: Value) -> Value:
    """ln x; nan for x <= 0, where a law is not defined."""
    if not isinstance(x, Jet):
        return _log(x)
    inverse = 1 / np.where(x.value > 0, x.value, np.nan)
    return _chain(x, _log(x.value), inverse, -(inverse**2))


def log_add(x: Value, y: Value) -> Value:
    """ln(e^x + e^y), without overflow."""
    if isinstance(x, Jet) and isinstance(y, Jet):
        return y + softplus(x - y)
    return np.asarray(np.logaddexp(np.asarray(x), np.asarray(y)))


def softplus(x: Value) -> Value:
    """ln(1 + e^x), without overflow."""
    if not isinstance(x, Jet):
        return np.logaddexp(0, x)
    share = 0.5 * (1 + np.tanh(0.5 * x.value))  # the logistic function
    return _chain(x, np.logaddexp(0, x.value), share, share * (1 - share))


def smaller(x: Value, y: Array) -> Value:
    """The smaller of a quantity and a given number (n,)."""
    return _choose(x, y, lambda a, b: a < b)


def larger(x: Value, y: Array | float) -> Value:
    """The larger of a quantity and a given number."""
    return _choose(x, np.asarray(y), lambda a, b: a > b)


def _choose(x: Value, y: Array, mine) -> Value:
    if not isinstance(x, Jet):
        return np.where(mine(x, y), x, y)
    own = mine(x.value, y)
    gradient = np.where(own[..., None], x.gradient, 0.0)
    hessian = None if x.hessian is None else np.where(own[..., None, None], x.hessian, 0.0)
    return Jet(np.where(own, x.value, y), gradient, hessian)


def _reciprocal(x: Jet) -> Jet:
    inverse = 1 / x.value
    return _chain(x, inverse, -(inverse**2), 2 * inverse**3)


def _chain(x: Jet, value: Array, first: Array, second: Array) -> Jet:
    """Return f(x) given f, f' and f'' at x."""
    hessian = second[..., None, None] * (x.gradient[..., :, None] * x.gradient[..., None, :])
    if x.hessian is not None:
        hessian = hessian + first[..., None, None] * x.hessian
    return Jet(value, first[..., None] * x.gradient, hessian)


def _log(x: Array) -> Array:
    return np.log(np.where(x > 0, x, np.nan))
