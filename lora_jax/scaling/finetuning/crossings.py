"""Where two methods have the same loss: the size of the fine-tuning set from which the other one is better.

At a place X we know the difference d(F) = ln L_1 - ln L_2 of two laws with an interval at every F, from
replicates of both. The crossing is where d is 0. Its 95 % interval is all F around it at which we cannot rule
out d = 0 (Fieller's way: by inverting a test). The interval is open if the runs do not bound it. We do not
take percentiles of the replicates' own crossings, because they would leave out replicates that never cross.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.scaling.finetuning.results import Crossing, Crossover, Found, Solution
from lora_jax.scaling.intervals.uncertainty import ENDS
from lora_jax.scaling.joint.group_laws import GroupLaw
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.tables.cells import levels
from lora_jax.scaling.tables.run_table import RunTable

FARTHER = 100.0  # times beyond the runs on either side: what crosses farther out is said not to cross
POINTS = 161  # of F at which d is computed
CURVE_POINTS, BEYOND = 21, 3.0  # of X for figures, and how far beyond the runs
HALVINGS = 40


@dataclass(frozen=True)
class Rival:
    """A method that may be compared with others.

    Attributes:
        name: Its name.
        law: Its law.
        cells: Its cells.
    """

    name: str
    law: GroupLaw
    cells: RunTable


def cross_all(rivals: Sequence[Rival], x: str | None, seed: int = 0) -> tuple[Crossover, ...]:
    """Return the crossover of every pair of methods.

    Args:
        rivals: The methods.
        x: The letter of X. None for laws of F alone.
        seed: Seed of the draws.
    """
    return tuple(cross(a, b, x, seed) for a, b in itertools.combinations(rivals, 2))


def cross(first: Rival, second: Rival, x: str | None, seed: int = 0) -> Crossover:
    """Return where two methods cross, at each X that both have, and between these for a figure.

    Args:
        first: One method.
        second: The other.
        x: The letter of X. None for laws of F alone.
        seed: Seed of the draws.
    """
    spans = [(float(f.min()), float(f.max())) for r in (first, second) for f in [r.cells.variable("F")]]
    span = (max(low for low, _ in spans), min(high for _, high in spans))
    if x is None:
        return Crossover(first.name, second.name, (cross_at(first, second, {}, span, seed),), (), span)
    places = shared_levels(first.cells.variable(x), second.cells.variable(x))
    low, high = (end(r.cells.variable(x)) for r, end in ((first, np.min), (first, np.max)))
    grid = np.geomspace(low / BEYOND, high * BEYOND, CURVE_POINTS)
    found = [
        tuple(cross_at(first, second, {x: float(value)}, span, seed) for value in values)
        for values in (places, grid)
    ]
    return Crossover(first.name, second.name, found[0], found[1], span)


def shared_levels(first: Array, second: Array) -> list[float]:
    """Return the values that both arrays have, rising. If they share none, return those of both."""
    both = np.concatenate([first, second])
    level, is_first = levels(both), np.arange(len(both)) < len(first)
    shared = sorted(set(level[is_first].tolist()) & set(level[~is_first].tolist()))
    return [float(np.exp(np.log(both[level == k]).mean())) for k in shared or sorted(set(level.tolist()))]


def cross_at(
    first: Rival, second: Rival, at: Mapping[str, float], span: tuple[float, float], seed: int = 0
) -> Crossing:
    """Return where the laws of two methods cross along F at one place.

    Args:
        at: The place, without F. Empty for laws of F alone.
        span: The smallest and the largest F that both methods have runs at.
    """
    low, high = np.log(span)
    ln_f = np.linspace(low - np.log(FARTHER), high + np.log(FARTHER), POINTS)
    best = _gap(first.law, second.law, at, ln_f)
    lower, upper = _gap_interval(first.law, second.law, at, ln_f, seed)
    root = _nearest_root(first.law, second.law, at, ln_f, best, (low, high))
    open_inside = bool(((lower <= 0) & (upper >= 0) & (ln_f >= low) & (ln_f <= high)).any())
    middle = float(np.interp((low + high) / 2, ln_f, best))
    if root is None:
        found: Found = "not identified" if open_inside else "none"
        above = None if open_inside else (second.name if middle > 0 else first.name)
        return Crossing(at, Solution(None, None, None), found, None, above)
    ends = _interval_around(root, ln_f, lower, upper)
    beyond = float(np.exp(root - low)) if root < low else float(np.exp(max(root - high, 0.0)))
    closed = ends[0] is not None and ends[1] is not None
    all_open = bool(((lower <= 0) & (upper >= 0))[(ln_f >= low) & (ln_f <= high)].all())
    if all_open or (beyond == 1.0 and not closed):
        found = "not identified"
    else:
        found = "identified" if beyond == 1.0 else "extrapolated"
    after = float(np.interp(root + (ln_f[1] - ln_f[0]) / 2, ln_f, best))
    above = None if found == "not identified" else second.name if after > 0 else first.name
    known = [None if end is None else float(np.exp(end)) for end in ends]
    return Crossing(at, Solution(float(np.exp(root)), known[0], known[1]), found, beyond, above)


def _values(law: GroupLaw, at: Mapping[str, float], ln_f: Array) -> Array:
    """Return the features (m, V) of a law at these F."""
    return law.problem.features_at({**at, "F": np.exp(ln_f)})


def _gap(first: GroupLaw, second: GroupLaw, at: Mapping[str, float], ln_f: Array) -> Array:
    """Return ln L_1 - ln L_2 of the fitted laws (m,)."""
    logs = [law.problem.law.log_loss(law.theta, _values(law, at, ln_f)) for law in (first, second)]
    return logs[0] - logs[1]


def _gap_interval(
    first: GroupLaw, second: GroupLaw, at: Mapping[str, float], ln_f: Array, seed: int
) -> tuple[Array, Array]:
    """Return the ends (m,) of the 95 % interval of ln L_1 - ln L_2 at each F."""
    size = min(len(first.samples), len(second.samples))
    logs = []
    for side, law in enumerate((first, second)):
        samples = law.problem.law.log_loss(law.samples[:size], _values(law, at, ln_f))
        if law.misfits is not None and law.misfits.sizes[:size].any():
            drawn = [law.misfit_at({**at, "F": float(f)}, 2 * seed + side)[:size] for f in np.exp(ln_f)]
            samples = samples + np.stack(drawn, axis=1)
        logs.append(samples)
    low, high = np.quantile(logs[0] - logs[1], ENDS, axis=0, method="weibull")
    return low, high


def _nearest_root(
    first: GroupLaw,
    second: GroupLaw,
    at: Mapping[str, float],
    ln_f: Array,
    gap: Array,
    span: tuple[float, float],
) -> float | None:
    """Return ln F of the crossing inside the span, else of the one nearest to it; None without one."""
    changes = np.flatnonzero(np.sign(gap[1:]) != np.sign(gap[:-1]))
    if not len(changes):
        return None
    away = [max(span[0] - ln_f[k + 1], ln_f[k] - span[1], 0.0) for k in changes]
    k = int(changes[int(np.argmin(away))])
    low, high, starts = float(ln_f[k]), float(ln_f[k + 1]), np.sign(gap[k])
    for _ in range(HALVINGS):
        half = (low + high) / 2
        same = np.sign(_gap(first, second, at, np.array([half]))[0]) == starts
        low, high = (half, high) if same else (low, half)
    return (low + high) / 2


def _interval_around(
    root: float, ln_f: Array, lower: Array, upper: Array
) -> tuple[float | None, float | None]:
    """Return the ends of the stretch around a root in which 0 is between lower and upper; None for open."""
    ends: list[float | None] = []
    start = int(np.searchsorted(ln_f, root))
    for way, first in ((-1, start - 1), (1, start)):
        k = first
        while 0 <= k < len(ln_f) and lower[k] <= 0 <= upper[k]:
            k += way
        if not 0 <= k < len(ln_f):
            ends.append(None)
            continue
        inner = k - way  # the last point inside, or the point on the other side of the root
        bound = lower if lower[k] > 0 else upper
        here, there = float(bound[k]), float(bound[inner])
        if (there > 0) == (here > 0):  # the interval is narrower than a step: of the root itself
            ends.append(root)
            continue
        ends.append(float(ln_f[k] + (ln_f[inner] - ln_f[k]) * here / (here - there)))
    return ends[0], ends[1]
