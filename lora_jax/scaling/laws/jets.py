"""Second-order forward differentiation of a formula, for a whole batch of parameters at once.

A `Jet` carries a value (B, n), its gradient (B, P, n) and its curvature with respect to theta (Griewank and
Walther, Evaluating Derivatives, chapter 13). So we write a law once, as a formula, and its derivatives are
exact up to rounding. We do not use a library for this because fits must start within a second and without a
compiler. With JAX the import and the compilation alone take several seconds.

Second derivatives are never written down for each run. A product, or a function of one quantity, adds a
product of two gradients to the Hessian. A jet knows these gradients and the jets that it was made of. A fit
only needs the sum over runs. `contract` finds it backwards, with one matrix product for each jet.

`exp`, `log`, `log_add`, `smaller` and `larger` also take plain arrays, so one formula gives values and
derivatives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ONE = 1.0
FAR = (
    300.0  # of a logarithm: e^-FAR is nothing beside 1, and its products are not yet the slow, subnormal ones
)
Slope = Array | NDArray[np.bool_] | float
Bend = tuple[Array | float, Array, Array]  # c (B, n), g and h (B, P, n), which is g itself for a square


@dataclass(eq=False, slots=True)
class Jet:
    """A quantity with its first and second derivatives. An axis of length 1 stands for the whole batch.

    Attributes:
        value: The value, (B, n).
        gradient: The derivatives with respect to theta, (B, P, n).
        parents: The jets that it was made of, if they are curved, each with the slope in it. The slope is a
            boolean array where a smaller or larger value was chosen.
        bends: What it adds to the Hessian itself: the sum over k of c_k (g_k h_k' + h_k g_k') / 2.
    """

    value: Array
    gradient: Array
    parents: tuple[tuple["Jet", Slope], ...] = ()
    bends: tuple[Bend, ...] = ()

    # numpy must not take `array * jet` apart into objects, but leave it to __rmul__
    __array_ufunc__ = None

    def __neg__(self) -> "Jet":
        return Jet(-self.value, -self.gradient, _curved((self, -1.0)))

    def __add__(self, other: "Jet | Array | float") -> "Jet":
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.gradient, _curved((self, ONE)))
        parents = _curved((self, ONE), (other, ONE))
        return Jet(self.value + other.value, self.gradient + other.gradient, parents)

    def __sub__(self, other: "Jet | Array | float") -> "Jet":
        if not isinstance(other, Jet):
            return self + (-other)
        parents = _curved((self, ONE), (other, -1.0))
        return Jet(self.value - other.value, self.gradient - other.gradient, parents)

    def __rsub__(self, other: "Array | float") -> "Jet":
        return -self + other

    def __mul__(self, other: "Jet | Array | float") -> "Jet":
        if not isinstance(other, Jet):
            factor = np.asarray(other)
            return Jet(self.value * factor, self.gradient * _over(factor), _curved((self, factor)))
        gradient = self.gradient * _over(other.value) + other.gradient * _over(self.value)
        parents = _curved((self, other.value), (other, self.value))
        return Jet(self.value * other.value, gradient, parents, ((2.0, self.gradient, other.gradient),))

    def __truediv__(self, other: "Jet | Array | float") -> "Jet":
        return self * (_reciprocal(other) if isinstance(other, Jet) else 1 / np.asarray(other))

    def __rtruediv__(self, other: "Array | float") -> "Jet":
        return _reciprocal(self) * other

    __radd__ = __add__
    __rmul__ = __mul__

    def contract(self, weights: Array) -> Array:
        """Return the sum over runs of `weights` (B, n) times the Hessian, as (B, P, P)."""
        size, n = weights.shape
        n_params = self.gradient.shape[1]
        total = np.zeros((size, n_params, n_params))
        slopes: dict[int, Array] = {id(self): weights}
        chosen = False
        for jet in _from_the_end(self):
            weight = slopes.pop(id(jet))
            for c, g, h in jet.bends:
                scale = weight * c
                if chosen:  # what was not chosen need not be defined
                    scale = np.where(weight == 0, 0.0, scale)
                if g.shape[2] == 1 and h.shape[2] == 1:  # the same for all runs
                    left, right = g * scale.sum(-1)[:, None, None], h
                else:
                    left = g * scale[:, None]
                    right = h if h.shape[2] == n else np.broadcast_to(h, (len(h), n_params, n))
                    if chosen:
                        left = np.where((weight == 0)[:, None], 0.0, left)
                part = left @ right.swapaxes(1, 2)
                total += part if g is h else 0.5 * (part + part.swapaxes(1, 2))
            for parent, slope in jet.parents:
                if slope is ONE:
                    term = weight
                elif isinstance(slope, np.ndarray) and slope.dtype == bool:
                    term, chosen = np.where(slope, weight, 0.0), True
                elif chosen:
                    term = np.where(weight == 0, 0.0, weight * slope)
                else:
                    term = weight * slope
                known = slopes.get(id(parent))
                slopes[id(parent)] = term if known is None else known + term
        return total


Value = TypeVar("Value", Jet, Array)


def variables(theta: Array) -> list[Jet]:
    """Return one jet for each column of theta (B, P). It combines with arrays (n,)."""
    basis = np.eye(theta.shape[1])[:, None, :, None]
    return [Jet(theta[:, p, None], basis[p]) for p in range(theta.shape[1])]


def exp(x: Value) -> Value:
    """Return e^x."""
    if not isinstance(x, Jet):
        return np.exp(x)
    value = np.exp(x.value)
    return _chain(x, value, value, value)


def log(x: Value) -> Value:
    """Return ln x. It is nan for x <= 0, where a law is not defined."""
    if not isinstance(x, Jet):
        return _log(x)
    inverse = 1 / np.where(x.value > 0, x.value, np.nan)
    return _chain(x, _log(x.value), inverse, -(inverse**2))


def log_add(x: Value, y: Value) -> Value:
    """Return ln(e^x + e^y), without overflow."""
    if isinstance(x, Jet) and isinstance(y, Jet):
        return y + softplus(x - y)
    return np.asarray(np.logaddexp(np.asarray(x), np.asarray(y)))


def softplus(x: Value) -> Value:
    """Return ln(1 + e^x), without overflow."""
    if not isinstance(x, Jet):
        return np.logaddexp(0, x)
    small = np.exp(-np.minimum(np.abs(x.value), FAR))
    share = np.where(x.value >= 0, 1.0, small) / (1 + small)  # the logistic function
    return _chain(x, np.maximum(x.value, 0) + np.log1p(small), share, share * (1 - share))


def smaller(x: Value, y: Array) -> Value:
    """Return the smaller of a quantity and a given array (n,), run by run."""
    return _choose(x, y, lambda a, b: a < b)


def larger(x: Value, y: Array | float) -> Value:
    """Return the larger of a quantity and a given number or array (n,), run by run."""
    return _choose(x, np.asarray(y), lambda a, b: a > b)


def _choose(x: Value, y: Array, mine: Callable[[Array, Array], NDArray[np.bool_]]) -> Value:
    if not isinstance(x, Jet):
        return np.where(mine(x, y), x, y)
    own = mine(x.value, y)
    gradient = np.where(_over(own), x.gradient, 0.0)
    return Jet(np.where(own, x.value, y), gradient, _curved((x, own)))


def _reciprocal(x: Jet) -> Jet:
    inverse = 1 / x.value
    return _chain(x, inverse, -(inverse**2), 2 * inverse**3)


def _chain(x: Jet, value: Array, first: Array, second: Array) -> Jet:
    """Return f(x) given f, f' and f'' at x."""
    return Jet(value, _over(first) * x.gradient, _curved((x, first)), ((second, x.gradient, x.gradient),))


def _curved(*parents: tuple[Jet, Slope]) -> tuple[tuple[Jet, Slope], ...]:
    """Return the parents that have a Hessian."""
    return tuple(pair for pair in parents if pair[0].bends or pair[0].parents)


def _from_the_end(jet: Jet) -> list[Jet]:
    """Return a jet and all that it was made of, each before its parents."""
    found: list[Jet] = []
    seen: set[int] = set()
    path: list[tuple[Jet, int]] = [(jet, 0)]
    while path:
        top, at = path.pop()
        if at < len(top.parents):
            path.append((top, at + 1))
            parent = top.parents[at][0]
            if id(parent) not in seen:
                path.append((parent, 0))
        elif id(top) not in seen:
            seen.add(id(top))
            found.append(top)
    return found[::-1]


def _over(factor: NDArray[Any]) -> NDArray[Any]:
    """Return a factor (B, n), or of fewer axes, beside the axis of parameters."""
    return factor[..., None, :] if factor.ndim else factor


def _log(x: Array) -> Array:
    return np.log(np.where(x > 0, x, np.nan))
