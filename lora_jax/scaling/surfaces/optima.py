"""How the best rate and the best batch size move with N and D: two power laws, fitted together.

Generalised least squares: each size has the covariance of its own vertex, in which rate and batch size go
together. Where the vertices scatter more than their errors explain, rate and batch size get a variance of
their own besides, as drifts do (rates/drifts.py), correlated as the vertices are on average.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.scaling.rates.bowls import Array
from lora_jax.scaling.rates.drifts import LEAST_ERROR, NORMAL, Line, fit_line
from lora_jax.scaling.surfaces.refusals import is_inside
from lora_jax.scaling.surfaces.results import (
    BestPair,
    PowerLaws,
    PowerOfBest,
    PredictedPair,
    Surface,
)

TOGETHER = 1e-4  # of 1 - |correlation| of ln N and ln D, below which nothing tells their exponents apart
SAME = 1e-6  # of ln: a smaller spread is none


def find_laws(
    surfaces: Sequence[Surface], freedom: int, shared: Array
) -> tuple[PowerLaws | None, str | None]:
    """Return the power laws of the best pairs, or what is missing for them.

    Args:
        surfaces: One a size.
        freedom: Degrees of freedom of the noise behind the pairs.
        shared: The covariance (2, 2) of ln rate and ln batch that all pairs share: it is that of the level
            alone.
    """
    points = [(surface, surface.best) for surface in surfaces if surface.best is not None]
    letters, along = _letters([surface for surface, _ in points])
    if not letters:
        return (
            None,
            f"{len(points)} of {len(surfaces)} sizes have a best pair, and their N and D do not differ.",
        )
    if len(points) < len(letters) + 2:
        return None, (
            f"{len(points)} of {len(surfaces)} sizes have a best pair; a power law of {' and '.join(letters)}"
            f" needs at least {len(letters) + 2}."
        )
    sizes = {letter: np.array([_size(surface, letter) for surface, _ in points]) for letter in letters}
    reference = {letter: float(np.exp(np.log(x).mean())) for letter, x in sizes.items()}
    design = np.column_stack([np.ones(len(points)), *(np.log(sizes[v] / reference[v]) for v in letters)])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return None, "the sizes with a best pair do not tell N from D: add some of another D / N."
    y, covariances = _points([best for _, best in points])
    errors = np.sqrt(covariances[:, (0, 1), (0, 1)])
    lines = [fit_line(design, y[:, k], errors[:, k], freedom) for k in (0, 1)]
    coefficients, covariance = _solve(design, y, _with_scatter(covariances, lines))
    covariance[:2, :2] += shared
    laws = [_law(lines[k], coefficients[k], covariance[k::2, k::2], letters) for k in (0, 1)]
    return PowerLaws(
        rate=laws[0],
        batch=laws[1],
        letters=letters,
        along=along,
        reference=reference,
        low={v: float(x.min()) for v, x in sizes.items()},
        high={v: float(x.max()) for v, x in sizes.items()},
        n_values={v: len(np.unique(x)) for v, x in sizes.items()},
        n_surfaces=len(points),
        covariance=tuple(tuple(map(float, row)) for row in covariance),
        widening=(lines[0].widening, lines[1].widening),
    ), None


def _letters(surfaces: Sequence[Surface]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the letters whose sizes are known and differ, and those that only follow one of them."""
    logs: dict[str, Array] = {}
    for letter in ("N", "D"):
        values = [_known(surface, letter) for surface in surfaces]
        known = [value for value in values if value is not None]
        if surfaces and len(known) == len(values) and np.ptp(np.log(known)) > SAME:
            logs[letter] = np.log(known)
    if len(logs) == 2 and 1 - abs(float(np.corrcoef(logs["N"], logs["D"])[0, 1])) < TOGETHER:
        return ("N",), ("D",)
    return tuple(logs), ()


def _known(surface: Surface, letter: str) -> float | None:
    return surface.n_params if letter == "N" else surface.n_tokens


def _size(surface: Surface, letter: str) -> float:
    value = _known(surface, letter)
    assert value is not None
    return value


def _points(pairs: Sequence[BestPair]) -> tuple[Array, Array]:
    """Return ln rate* and ln batch* (n, 2), and their covariances (n, 2, 2)."""
    y = np.log([[best.rate.value, best.batch.value] for best in pairs])
    errors = np.array([[max(se, LEAST_ERROR) for se in best.se_alone] for best in pairs])
    together = np.array([best.correlation for best in pairs]) * errors[:, 0] * errors[:, 1]
    covariances = np.empty((len(pairs), 2, 2))
    covariances[:, 0, 0], covariances[:, 1, 1] = errors.T**2
    covariances[:, 0, 1] = covariances[:, 1, 0] = together
    return y, covariances


def _with_scatter(covariances: Array, lines: Sequence[Line]) -> Array:
    """Return the covariances with the scatter of sizes, correlated as the vertices are on average."""
    mean = covariances.mean(0)
    correlation = mean[0, 1] / math.sqrt(mean[0, 0] * mean[1, 1])
    first, second = (line.extra for line in lines)
    shared = correlation * first * second
    return covariances + np.array([[first**2, shared], [shared, second**2]])


def _solve(design: Array, y: Array, covariances: Array) -> tuple[Array, Array]:
    """Return the coefficients (2, k) and their covariance (2k, 2k), rate and batch in turn."""
    n, k = design.shape
    # one or two directions of a vertex without noise have no variance: they weigh as LEAST_ERROR does
    weights = np.linalg.inv(covariances + LEAST_ERROR**2 * np.eye(2))
    information, right = np.zeros((2 * k, 2 * k)), np.zeros(2 * k)
    for i in range(n):
        rows = np.kron(design[i], np.eye(2))  # (2, 2k)
        information += rows.T @ weights[i] @ rows
        right += rows.T @ weights[i] @ y[i]
    covariance = np.asarray(np.linalg.inv(information), dtype=np.float64)
    return (covariance @ right).reshape(k, 2).T, covariance


def _law(line: Line, coefficients: Array, covariance: Array, letters: Sequence[str]) -> PowerOfBest:
    halves = line.widening * np.sqrt(np.diag(covariance))
    numbers = [
        Estimate(float(c), float(h) / NORMAL, (float(c - h), float(c + h)))
        for c, h in zip(coefficients, halves, strict=True)
    ]
    assert line.scatter is not None
    return PowerOfBest(
        at_reference=_exp(numbers[0]),
        exponents=dict(zip(letters, numbers[1:], strict=True)),
        scatter=line.scatter,
        widened=line.widened,
        extra=line.extra,
    )


def _exp(x: Estimate) -> Estimate:
    return Estimate(math.exp(x.value), x.se, (math.exp(x.low), math.exp(x.high)))


def predict_pair(laws: PowerLaws, at: Mapping[str, float], surfaces: Sequence[Surface]) -> PredictedPair:
    """Return the best pair at a size, with intervals that hold the scatter of sizes.

    Args:
        laws: The power laws.
        at: N and D, as far as the laws need them.
        surfaces: Those behind the laws, which say what lies inside.

    Raises:
        LoraJaxError: A size that the laws need is not given.
    """
    missing = [letter for letter in laws.letters if letter not in at]
    if missing:
        raise LoraJaxError(
            f"--predict gives {', '.join(at) or 'nothing'}, and the best rate and batch size depend on"
            f" {' and '.join(laws.letters)}: give {' and '.join(missing)} too."
        )
    x = np.array([1.0, *(math.log(at[v] / laws.reference[v]) for v in laws.letters)])
    covariance = np.array(laws.covariance)
    found = []
    for k, law in enumerate((laws.rate, laws.batch)):
        powers = [math.log(law.at_reference.value), *(law.exponents[v].value for v in laws.letters)]
        variance = float(x @ covariance[k::2, k::2] @ x) + law.extra**2
        value, half = float(x @ np.array(powers)), laws.widening[k] * math.sqrt(variance)
        found.append(_exp(Estimate(value, half / NORMAL, (value - half, value + half))))
    return PredictedPair(dict(at), found[0], found[1], _outside(laws, at, surfaces))


def _outside(laws: PowerLaws, at: Mapping[str, float], surfaces: Sequence[Surface]) -> str | None:
    """Return how far a size lies outside those that have a best pair, or None."""
    said = []
    for letter in (*laws.letters, *laws.along):
        there = [size for s in surfaces if s.best and (size := _known(s, letter)) is not None]
        if letter in at and not min(there) <= at[letter] <= max(there):
            times = min(there) / at[letter] if at[letter] < min(there) else at[letter] / max(there)
            side = "below the smallest" if at[letter] < min(there) else "above the largest"
            said.append(f"{letter} is {times:.3g} times {side}")
    if said:
        return f"{' and '.join(said)} of the runs with a best pair"
    if len(laws.letters) < 2:
        return None
    points = np.log([[_size(s, v) for v in laws.letters] for s in surfaces if s.best is not None])
    here = np.log([at[v] for v in laws.letters])
    return None if is_inside(here, points) else "no runs surround this pair of N and D"
