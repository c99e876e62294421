"""Farseer: L = exp(a3 N^gamma + b3) + exp(a2 N^beta + b2) D^-exp(a1 N^alpha + b1) (Li et al. 2506.10972).

Three things are each a stretched exponential of N: the exponent of D, the size of its term, and the loss that
is left without end of data. So N and D do not act independently, as they do in Chinchilla's form. D counts in
tokens and not from the middle of the runs. N moves its exponent, so a change of unit would have another
effect on b2 at each N.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from lora_jax.scaling.laws.law import MOST_STARTS, Array, Law, Parameter, Slopes, exponent
from lora_jax.scaling.laws.power_sum import best_starts, solve_shares

GROWING, FADING = (0.005, 2.0), (-2.0, -0.005)  # of gamma and alpha, of beta; at 0 an N^0 is one with b
SIZE = (-1e4, 1e4)  # of a N0^gamma and b, which grow as 1 / gamma where gamma is small
SLOPE, MIDDLE_VALUE = (-20.0, 20.0), (-100.0, 100.0)  # of u at the middle of the runs
MIDDLE = 24.0  # ln D about which c2 counts, 26 G tokens: to make it depend little on the exponent of D
NEAR_ZERO, TERMS = 0.05, 8  # of g x, where a series of so many terms is exacter than the quotient
START_EXPONENTS = (0.03, 0.13, 0.4)
START_DECAYS = np.geomspace(0.05, 1.5, 25)  # exponents of D to start from
FEWEST_OF_A_SIZE, FEWEST_SIZES = 4, 3  # rows of one N for an exponent of its own, and such N
STEEPEST = 50.0  # of the inner exponentials: beyond, a term is nothing or all

Grown = tuple[Array, Array, Array]


def _stretched(number: str, name: str, bounds: tuple[float, float]) -> tuple[Parameter, Parameter, Parameter]:
    """Return a, the exponent and b of a N^exponent + b."""
    a = Parameter(f"a{number}", "signed", (("N", name),), f"N^-{name}", SLOPE)
    return a, exponent(name, bounds), Parameter(f"b{number}", "signed", (), "", MIDDLE_VALUE)


@dataclass(frozen=True, kw_only=True)
class Farseer(Law):
    """Farseer's law, with its derivatives in closed form.

    It is ln y = ln(e^p + e^q) with p = u3(N) and q = u2(N) - e^u1(N) ln D.

    Attributes:
        is_plain: If True, theta is (a N0^g, g, b) of each u = a N^g + b. If False, it is (s, g, c): the same
            curve's slope and value at the middle N0, and for u2 the value of q at ln D = MIDDLE. The second
            form is the default, because a and b run off to infinity where g is small.
    """

    is_plain: bool = False

    def holding(self, names: Collection[str]) -> "Farseer":
        held = any(p.kind == "signed" and p.name in names for p in self.parameters)
        return replace(self, is_plain=True) if held else self

    def _grown(self, theta: Array, x: Array) -> list[Grown]:
        """Return what N does in u1, u2 and u3, and its first two derivatives in the exponent."""
        grow = _plain_growth if self.is_plain else _growth
        return [grow(theta[..., i, None], x) for i in (1, 4, 7)]

    def _parts(self, theta: Array, grown: Sequence[Grown], z: Array) -> tuple[Array, Array, Array]:
        """Return p, q and e^u1 ln D, each (..., n)."""
        u1, u2, p = (_curve(theta[..., i : i + 3], g) for i, g in zip((0, 3, 6), grown, strict=True))
        decay = np.exp(np.minimum(u1, STEEPEST)) * z
        return p, u2 - decay + self._shift(theta), decay

    def _shift(self, theta: Array) -> Array:
        """Return what c2 leaves out of u2, (..., 1)."""
        return np.zeros(1) if self.is_plain else MIDDLE * np.exp(np.minimum(theta[..., 2, None], STEEPEST))

    def log_response(self, theta: Array, features: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            p, q, _ = self._parts(theta, self._grown(theta, features[..., 0]), features[..., 1])
            return np.logaddexp(p, q)

    def slopes(self, theta: Array, features: Array) -> Slopes:
        with np.errstate(over="ignore", invalid="ignore"):
            grown = self._grown(theta, features[..., 0])
            p, q, decay = self._parts(theta, grown, features[..., 1])
            shift = self._shift(theta)
            log_response = np.logaddexp(p, q)
            left, gone = np.exp(p - log_response), np.exp(q - log_response)  # shares of the two terms
            d1, d2, d3 = (_tangent(theta[:, i : i + 3], g) for i, g in zip((0, 3, 6), grown, strict=True))
            of_q = np.concatenate([-decay[:, None] * d1, d2], axis=1)
            of_q[:, 2] += shift
            across = np.concatenate([gone[:, None] * of_q, left[:, None] * d3], axis=1)

        def bend(weights: Array) -> Array:
            bent = np.zeros((len(theta), 9, 9))
            bent[:, :6, :6] = (of_q * (weights * gone)[:, None]) @ np.swapaxes(of_q, 1, 2)
            bent[:, 6:, 6:] = (d3 * (weights * left)[:, None]) @ np.swapaxes(d3, 1, 2)
            inner = -weights * gone * decay  # -e^u1 ln D bends by itself too
            bent[:, :3, :3] += (d1 * inner[:, None]) @ np.swapaxes(d1, 1, 2)
            bent[:, 2, 2] += ((weights * gone).sum(-1, keepdims=True) * shift)[:, 0]
            for i, g, w in zip((0, 3, 6), grown, (inner, weights * gone, weights * left), strict=True):
                bent[:, i : i + 3, i : i + 3] += _bending(theta[:, i : i + 3], g, w)
            return bent

        return Slopes(log_response, across, bend)

    def bounds(self, log_response: Array) -> tuple[Array, Array]:
        low, high = super().bounds(log_response)
        plain = [SIZE if p.kind == "signed" else None for p in self.parameters]
        pairs = zip(plain, low, high, strict=True)
        found = np.array([(a, b) if not self.is_plain or size is None else size for size, a, b in pairs])
        return found[:, 0], found[:, 1]

    def to_params(self, theta: Array, centre: Mapping[str, float]) -> dict[str, Array]:
        return super().to_params(theta if self.is_plain else self._to_plain(theta), centre)

    def to_theta(self, params: Mapping[str, float], centre: Mapping[str, float]) -> Array:
        theta = super().to_theta(params, centre)
        return theta if self.is_plain else self._from_plain(theta)

    def _from_plain(self, theta: Array) -> Array:
        moved = theta.copy()
        for i in (0, 3, 6):
            moved[i], moved[i + 2] = theta[i] * theta[i + 1], theta[i] + theta[i + 2]
        moved[5] -= MIDDLE * np.exp(np.minimum(moved[2], STEEPEST))
        return moved

    def _to_plain(self, theta: Array) -> Array:
        plain = np.array(theta, dtype=np.float64)
        plain[..., 5] += self._shift(theta)[..., 0]
        for i in (0, 3, 6):
            size = theta[..., i] / np.where(theta[..., i + 1] == 0, 1e-300, theta[..., i + 1])
            plain[..., i], plain[..., i + 2] = size, plain[..., i + 2] - size
        return plain

    def starts(
        self,
        features: Array,
        log_response: Array,
        score: Callable[[Array], Array],
        fixed: Mapping[str, float],
        keep: int = MOST_STARTS,
    ) -> Array:
        """Return the best starts of a grid over the three exponents, (S, P).

        At given exponents the three curves are linear in a and b. We draw them through what each size shows
        by itself: the loss without end of data, the size of D's term, and its exponent.
        """
        low, high = self.bounds(log_response)
        held = np.array([fixed.get(name, np.nan) for name in self.names])
        thetas = []
        for shown in (_by_size(features, log_response), _alike(features, log_response)):
            if shown is None:
                continue
            for powers in product(START_EXPONENTS, [-e for e in START_EXPONENTS], START_EXPONENTS):
                theta = np.where(np.isnan(held), [np.nan, 0, np.nan] * 3, held)
                theta[1::3] = np.where(np.isnan(held[1::3]), powers, held[1::3])
                parts = zip(shown[1:], theta.reshape(3, 3), strict=True)
                theta = np.concatenate([_through(shown[0], y, part) for y, part in parts])
                if not self.is_plain:
                    theta = self._from_plain(theta)
                theta = np.clip(theta, low, high)
                thetas.append(np.where(np.isnan(held), theta, held))
        return best_starts(np.array(thetas), score, keep)


def _growth(g: Array, x: Array) -> Grown:
    """Return (e^(g x) - 1) / g and its first two derivatives in g, g (..., 1) through 0."""
    t = g * x
    small = np.abs(t) < NEAR_ZERO
    safe = np.where(small, 1.0, g)
    whole = np.expm1(t) / safe
    first = (x * np.exp(t) - whole) / safe
    second = (x * x * np.exp(t) - 2 * first) / safe
    parts = [whole, first, second]
    if small.any():
        near = t[small]
        powers = np.broadcast_to(x, t.shape)[small]
        for k, part in enumerate(parts):  # the sum over j of t^j / (j! (j + k + 1)), times x^(k + 1)
            series = np.zeros_like(near)
            for j in range(TERMS - 1, -1, -1):
                series = series * near + 1 / (math.factorial(j) * (j + k + 1))
            part[small] = series * powers ** (k + 1)
    return parts[0], parts[1], parts[2]


def _plain_growth(g: Array, x: Array) -> Grown:
    """Return e^(g x) and its first two derivatives in g."""
    whole = np.exp(g * x)
    first = x * whole
    return whole, first, x * first


def _curve(part: Array, grown: Grown) -> Array:
    """Return u = c + s (e^(g x) - 1) / g (..., n) of (s, g, c) (..., 3), or a e^(g x) + b of (a, g, b)."""
    return part[..., 0, None] * grown[0] + part[..., 2, None]


def _tangent(part: Array, grown: Grown) -> Array:
    """Return du/d(s, g, c) (B, 3, n)."""
    whole, first, _ = grown
    return np.stack([whole, part[:, 0, None] * first, np.ones_like(whole)], axis=1)


def _bending(part: Array, grown: Grown, weights: Array) -> Array:
    """Return the sum over n of w d2u (B, 3, 3)."""
    _, first, second = grown
    bent = np.zeros((len(part), 3, 3))
    bent[:, 0, 1] = bent[:, 1, 0] = (weights * first).sum(-1)
    bent[:, 1, 1] = part[:, 0] * (weights * second).sum(-1)
    return bent


def _by_size(features: Array, log_response: Array) -> Sequence[Array] | None:
    """Return x, ln of D's exponent, of its factor and of the rest, of each size that has enough rows."""
    x, z = features.T
    found, order = [], np.argsort(x, kind="stable")
    sizes = np.unique(np.round(x, 6))
    ends = (np.searchsorted(x[order], sizes + shift, "left") for shift in (-1e-5, 1e-5))
    for size, first, end in zip(sizes, *ends, strict=True):
        rows = np.sort(order[first:end])
        if len(np.unique(z[rows])) >= FEWEST_OF_A_SIZE:
            found.append((size, *_decay(z[rows], log_response[rows])))
    return tuple(np.array(found).T) if len(found) >= FEWEST_SIZES else None


def _alike(features: Array, log_response: Array) -> Sequence[Array]:
    """Return the same as if D acted alike at every size, by Chinchilla's form."""
    x, z = features.T
    middle, tried = z.mean(), []
    for decay in START_DECAYS:
        columns = np.stack([0 * x, -0.3 * x, -decay * (z - middle)], axis=1)
        shares = solve_shares(columns, log_response)
        miss = np.abs(np.logaddexp.reduce(columns + shares, axis=1) - log_response).sum()
        tried.append((miss, decay, *shares))
    _, decay, irreducible, size, factor = min(tried)
    rest = np.logaddexp(irreducible, size - 0.3 * x)
    same = np.ones_like(x)
    return x, same * np.log(decay), same * (factor + decay * middle), rest


def _decay(z: Array, log_response: Array) -> tuple[float, float, float]:
    """Return ln e, ln B and ln F of F + B D^-e through the rows of one size."""
    middle, tried = z.mean(), []
    for decay in START_DECAYS:
        columns = np.stack([0 * z, -decay * (z - middle)], axis=1)
        rest, factor = solve_shares(columns, log_response)
        miss = np.abs(np.logaddexp(rest, columns[:, 1] + factor) - log_response).sum()
        tried.append((miss, np.log(decay), factor + decay * middle, rest))
    return min(tried)[1:]


def _through(x: Array, y: Array, part: Array) -> Array:
    """Return (a, g, b) of the least-squares curve a e^(g x) + b through y; nan in `part` is sought."""
    design = np.stack([np.exp(part[1] * x), np.ones_like(x)], axis=1)
    size = part[[0, 2]]
    free = np.isnan(size)
    left = y - design[:, ~free] @ size[~free]
    size[free] = np.linalg.lstsq(design[:, free], left, rcond=None)[0]
    return np.array([size[0], part[1], size[1]])


FARSEER = Farseer(
    key="L(N,D) Farseer",
    name="Farseer",
    formula="L = exp(a3 N^gamma + b3) + exp(a2 N^beta + b2) D^-exp(a1 N^alpha + b1)",
    reference="2506.10972",
    parameters=(
        *_stretched("1", "alpha", GROWING),
        *_stretched("2", "beta", FADING),
        *_stretched("3", "gamma", GROWING),
    ),
    variables=("N", "D"),
    same_unit={"D": "1"},
    compared=False,
)

LAWS = {"farseer": FARSEER}
