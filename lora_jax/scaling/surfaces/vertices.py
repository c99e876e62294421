"""The best rate and batch size of one size: the vertex of its surface, or why there is none.

The surface goes through the runs within a factor of 4.5 of the best one, in rate and in batch size. The noise
is pooled over the sizes of a series, as for curves (rates/noise.py). A second surface through the runs within
half that distance shows whether it is a quadratic at all (skew.py).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from lora_jax.estimate import Estimate
from lora_jax.scaling.rates.bowls import LEAST_RATES, WINDOW, Array
from lora_jax.scaling.rates.drifts import NORMAL
from lora_jax.scaling.rates.noise import Noise, pool_noise
from lora_jax.scaling.surfaces.quadric import (
    LEAST_POINTS,
    Quadric,
    SurfaceLosses,
    fit_window,
    without_broken,
)
from lora_jax.scaling.surfaces.refusals import refuse_runs, refuse_shape, refuse_vertex
from lora_jax.scaling.surfaces.results import BestPair, FlatRange, Pair, Shape, SurfaceRefusal
from lora_jax.scaling.surfaces.skew import Shift, Skew, find_shift, find_skew


@dataclass(frozen=True)
class Pairs:
    """The best pair of each size of a series.

    Attributes:
        found: The pair, or why there is none, by the number of the size.
        noise: The noise that most sizes share.
        skew: How much the nearest runs move the vertices over all sizes. None if no size shows it.
    """

    found: dict[int, BestPair | SurfaceRefusal]
    noise: Noise
    skew: Skew | None


def find_pairs(sizes: Mapping[int, SurfaceLosses], flat: float) -> Pairs:
    """Return the best pair of each size of a series.

    Args:
        sizes: The losses, by the number of the size.
        flat: The share of the least loss that `FlatRange` allows.
    """
    found: dict[int, BestPair | SurfaceRefusal] = {}
    fits: dict[int, Quadric] = {}
    cubics: dict[int, Quadric] = {}
    whole: dict[int, SurfaceLosses] = {}
    for key, data in sizes.items():
        surface = None
        if len(np.unique(data.points, axis=0)) >= LEAST_POINTS:
            whole[key] = without_broken(data)
            surface = fit_window(whole[key], WINDOW, LEAST_RATES)
        if surface is None or surface.freedom < 1:
            found[key] = refuse_runs(data)
            continue
        fits[key] = surface
        cubics[key] = fit_window(whole[key], WINDOW, LEAST_RATES, power=3) or surface
    noises = pool_noise(fits, cubics)
    for key, surface in fits.items():
        refusal = refuse_shape(whole[key], surface, _times(noises[key]) * noises[key].sd)
        if refusal is not None:
            found[key] = refusal
    bowls = {key: surface for key, surface in fits.items() if key not in found}
    shifts = {key: find_shift(whole[key], surface, noises[key]) for key, surface in bowls.items()}
    skew = find_skew([shift for shift in shifts.values() if shift is not None])
    for key, surface in bowls.items():
        found[key] = _find_pair(whole[key], surface, noises[key], (shifts[key], skew), flat)
    most = max(noises.values(), key=lambda noise: noise.freedom, default=Noise(math.nan, 0, None))
    return Pairs({key: found[key] for key in sizes}, most, skew)


def _times(noise: Noise) -> float:
    return float(student.ppf(0.975, noise.freedom))


def _find_pair(
    data: SurfaceLosses, surface: Quadric, noise: Noise, bias: tuple[Shift | None, Skew | None], flat: float
) -> BestPair | SurfaceRefusal:
    """Return the best pair by the surface that `fit_window` gave, which is a bowl, or why there is none.

    bias: How the nearest runs differ, at this size and over all.
    """
    times, (shift, skew) = _times(noise), bias
    of_noise = noise.sd**2 * surface.vertex_pull @ surface.vertex_pull.T
    own = of_noise if shift is None or skew is None else of_noise + skew.beyond(shift)
    errors = np.sqrt(np.diag(own if skew is None else own + skew.covariance))
    refusal = refuse_vertex(data, surface, times * errors)
    if refusal is not None:
        return refusal
    rate, batch = (
        _estimate(float(x), float(se), times) for x, se in zip(surface.vertex, errors, strict=True)
    )
    own_errors = np.sqrt(np.diag(own))
    spread = float(own_errors[0] * own_errors[1])
    half = times * noise.sd * math.sqrt(surface.ridge_variance())
    return BestPair(
        rate=rate,
        batch=batch,
        se_of_noise=_pair(np.sqrt(np.diag(of_noise))),
        se_alone=_pair(own_errors),
        correlation=float(own[0, 1]) / spread if spread else 0.0,
        loss=math.exp(surface.depth),
        near=None if shift is None else _pair(np.exp(surface.vertex + shift.difference)),
        ridge=Estimate(surface.ridge, half / NORMAL, (surface.ridge - half, surface.ridge + half)),
        flat_rate=_flat(data, surface, flat, 0),
        flat_batch=_flat(data, surface, flat, 1),
        shape=_shape(data, surface),
    )


def _estimate(x: float, se: float, times: float) -> Estimate:
    """Return exp(x) with its interval. `se`: of x."""
    return Estimate(math.exp(x), se, (math.exp(x - times * se), math.exp(x + times * se)))


def _flat(data: SurfaceLosses, surface: Quadric, flat: float, axis: int) -> FlatRange:
    """Return between which rates (axis 0) or batch sizes (1) the loss is at most 1 + flat times the least."""
    room = 2 * math.log1p(flat)
    best = float(surface.vertex[axis])
    alone = math.sqrt(room / surface.hessian[axis, axis])
    together = math.sqrt(room * np.linalg.inv(surface.hessian)[axis, axis])
    tried = data.points[:, axis]
    beyond = best - together < tried.min() or best + together > tried.max()
    ends = [(math.exp(best - half), math.exp(best + half)) for half in (alone, together)]
    return FlatRange(ends[0], ends[1], bool(beyond))


def _shape(data: SurfaceLosses, surface: Quadric) -> Shape:
    used = np.unique(data.points[surface.rows], axis=0)
    (xx, xy), (_, yy) = surface.hessian
    return Shape(
        centre=_pair(np.exp(surface.centre)),
        height=surface.height,
        gradient=_pair(surface.gradient),
        hessian=(float(xx), float(xy), float(yy)),
        rates=_pair(np.exp([used[:, 0].min(), used[:, 0].max()])),
        batches=_pair(np.exp([used[:, 1].min(), used[:, 1].max()])),
        n_points=len(used),
    )


def _pair(values: Array) -> Pair:
    return float(values[0]), float(values[1])
