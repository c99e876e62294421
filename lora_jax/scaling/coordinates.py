"""Slopes of a coordinate check: how activations, and their changes, depend on width or depth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from scipy import stats

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.ranges import CHECK_SEEDS

TOLERANCE = 0.1  # of a slope: a quantity that grows as width^0.1 grows by a quarter over a decade
SETTLED = 3  # slopes from this step on count for the whole check: the first updates still show the start
FEWEST_SIZES, FEWEST_SEEDS = 4, int(CHECK_SEEDS.low)

Axis = Literal["width", "depth"]
Quantity = Literal["size", "change", "growth"]


class Judgement(StrEnum):
    """What a slope's interval says."""

    PASS = "pass"
    FAIL = "fail"
    NOT_TOLD = "not told apart"


@dataclass(frozen=True)
class Coordinate:
    """One measurement.

    Attributes:
        width: d_model.
        depth: n_layers.
        seed: Seed of the run.
        step: Steps taken.
        site: Kind of site, such as "logits", or "matrices" for weights.
        quantity: "size": mean |x|. "change": mean |x - x at step 0|. "growth": ln of a matrix's spectral norm
            over that at step 0, which may be negative.
        value: The number.
    """

    width: int
    depth: int
    seed: int
    step: int
    site: str
    quantity: Quantity
    value: float


@dataclass(frozen=True)
class Slope:
    """How one quantity changes along one axis.

    Attributes:
        axis: The axis.
        site: Kind of site.
        quantity: The quantity.
        step: Steps taken.
        slope: Slope on ln width or ln depth, with a 95 % interval.
        judgement: What the interval says.
    """

    axis: Axis
    site: str
    quantity: Quantity
    step: int
    slope: Estimate
    judgement: Judgement


@dataclass(frozen=True)
class CoordinateReport:
    """A coordinate check.

    Attributes:
        model: The model in words, such as "mup, base width 64, AdamW".
        rate: The learning rate as it is set, before any rule of size.
        widths: d_model of the models along the width.
        depths: n_layers of the models along the depth. Empty if depth was not checked.
        fixed_width: d_model of all models along the depth.
        fixed_depth: n_layers of all models along the width.
        seeds: The seeds of each model.
        steps: The steps after which activations were measured.
        late: The step after which weights were measured.
        slopes: The slopes, along width first.
        coordinates: The measurements.
        notes: What else there is to know, such as runs that diverged.
    """

    model: str
    rate: float
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    fixed_width: int
    fixed_depth: int
    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    late: int
    slopes: tuple[Slope, ...]
    coordinates: tuple[Coordinate, ...]
    notes: tuple[str, ...] = ()

    def judgement(self, axis: Axis) -> Judgement:
        """Return what the check says about an axis."""
        return judge_all([slope for slope in self.slopes if slope.axis == axis])

    def along(self, axis: Axis) -> list[Coordinate]:
        """Return the measurements of the models along an axis."""
        return along(self.coordinates, axis, self.fixed_depth if axis == "width" else self.fixed_width)


def along(coordinates: Sequence[Coordinate], axis: Axis, fixed: int) -> list[Coordinate]:
    """Return the measurements of the models that have size `fixed` along the other axis."""
    other = "depth" if axis == "width" else "width"
    return [one for one in coordinates if getattr(one, other) == fixed]


def settled(slopes: Sequence[Slope]) -> list[Slope]:
    """Return the slopes that count for the whole check: those from step 3 on."""
    return [slope for slope in slopes if slope.step >= SETTLED]


def fit_slopes(coordinates: Sequence[Coordinate], axis: Axis) -> list[Slope]:
    """Fit the slope of each site, quantity and step along an axis.

    Args:
        coordinates: The measurements of models that differ in this axis and their seeds alone.
        axis: The axis.

    Returns:
        The slopes, in the order of the measurements. A change at step 0 has none.

    Raises:
        LoraJaxError: Fewer than four sizes, or fewer than three seeds of a size.
    """
    groups: dict[tuple[str, Quantity, int], list[Coordinate]] = {}
    for one in coordinates:
        if one.step > 0 or one.quantity == "size":
            groups.setdefault((one.site, one.quantity, one.step), []).append(one)
    return [
        Slope(axis, site, quantity, step, slope, judge(slope, quantity))
        for (site, quantity, step), rows in groups.items()
        for slope in [_fit_slope(rows, axis)]
    ]


def _fit_slope(rows: Sequence[Coordinate], axis: Axis) -> Estimate:
    by_size: dict[int, list[float]] = {}
    for row in rows:
        value = row.value if row.quantity == "growth" else _log(row)
        by_size.setdefault(getattr(row, axis), []).append(value)
    n_seeds = min(map(len, by_size.values()))
    if len(by_size) < FEWEST_SIZES or n_seeds < FEWEST_SEEDS:
        raise LoraJaxError(
            f"the check has {len(by_size)} sizes and {n_seeds} seeds of {rows[0].site} after step"
            f" {rows[0].step}, it needs {FEWEST_SIZES} and {FEWEST_SEEDS}: add sizes or seeds, or lower the"
            " rate where runs diverge."
        )
    return slope_of(np.log(sorted(by_size)), [by_size[size] for size in sorted(by_size)])


def _log(row: Coordinate) -> float:
    if row.value <= 0:
        raise LoraJaxError(
            f"the {row.quantity} of {row.site} after step {row.step} is {row.value:g} at width {row.width}, a"
            " slope needs it positive: raise the rate."
        )
    return math.log(row.value)


def slope_of(x: np.ndarray, values: Sequence[Sequence[float]]) -> Estimate:
    """Return the slope of the means of `values` on x, with a 95 % interval.

    We compute two intervals and return the wider one. One follows from the scatter of the seeds, the other
    from the scatter of the means about the line. So a curve that is no straight line does not pass for a
    certain slope.

    Args:
        x: Where the values lie, (n,).
        values: The values of several seeds at each x.
    """
    means = np.array([np.mean(group) for group in values])
    counts = np.array([len(group) for group in values])
    centred = x - np.average(x, weights=counts)
    spread = float((counts * centred**2).sum())
    slope = float((counts * centred * means).sum()) / spread
    off_line = means - np.average(means, weights=counts) - slope * centred
    within = sum(
        float(((np.asarray(group) - mean) ** 2).sum()) for group, mean in zip(values, means, strict=True)
    )
    candidates = []
    for squares, freedom in (
        (within, int(counts.sum()) - len(means)),
        (float((counts * off_line**2).sum()), len(means) - 2),
    ):
        se = math.sqrt(squares / freedom / spread)
        candidates.append((float(stats.t.ppf(0.975, freedom)) * se, se))
    half, se = max(candidates)
    return Estimate(slope, se, (slope - half, slope + half))


def judge(slope: Estimate, quantity: Quantity) -> Judgement:
    """Return whether an interval lies within the tolerance, outside it, or across its edge.

    A size may shrink with width: under muP the logits at the start shrink as 1/sqrt(width). A change may not
    shrink, or wide models would learn less.
    """
    if slope.low > TOLERANCE or (quantity != "size" and slope.high < -TOLERANCE):
        return Judgement.FAIL
    if slope.high < TOLERANCE and (quantity == "size" or slope.low > -TOLERANCE):
        return Judgement.PASS
    return Judgement.NOT_TOLD


def judge_all(slopes: Sequence[Slope]) -> Judgement:
    """Return what the check says as a whole. Only slopes from step 3 on count."""
    found = {slope.judgement for slope in settled(slopes)}
    if Judgement.FAIL in found:
        return Judgement.FAIL
    return Judgement.PASS if found == {Judgement.PASS} else Judgement.NOT_TOLD
