"""The scatter of ln loss around the curves of a series, pooled over its sizes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from scipy.stats import f as fisher

LEAST_SQUARES = 1e-30  # of residuals: losses that are a parabola to the last digit
FAR_MORE = 1e-3  # of the test whether a size scatters more than the others


class Scattered(Protocol):
    """A curve or a surface with its residuals. It is a bowl if its least curvature is above 0."""

    @property
    def curvature(self) -> float: ...
    @property
    def squares(self) -> float: ...
    @property
    def freedom(self) -> int: ...


@dataclass(frozen=True)
class Noise:
    """The noise of ln loss around curves or surfaces (`pool_noise`).

    Attributes:
        sd: Its standard deviation.
        freedom: Its degrees of freedom.
        around_cubics: The standard deviation around cubics. None if there are too few runs for any.
    """

    sd: float
    freedom: int
    around_cubics: float | None


def pool_noise(fits: Mapping[int, Scattered], cubics: Mapping[int, Scattered]) -> dict[int, Noise]:
    """Return the noise of each size: the one that all share, or its own if it scatters far more than they do.

    Args:
        fits: The curve of each size.
        cubics: The cubic of each size.
    """
    alike = [key for key, fit in fits.items() if fit.curvature > 0]
    alike.sort(key=lambda key: fits[key].squares / fits[key].freedom)
    own = {}
    while len(alike) > 1 and _stands_out(fits[alike[-1]], [fits[key] for key in alike[:-1]]):
        key = alike.pop()
        own[key] = _noise_of([fits[key]], [cubics[key]])
    shared = _noise_of([fits[key] for key in alike], [cubics[key] for key in alike])
    return {key: own.get(key, shared) for key in fits}


def _stands_out(fit: Scattered, others: Sequence[Scattered]) -> bool:
    freedom = sum(other.freedom for other in others)
    ratio = (fit.squares / fit.freedom) * freedom / max(sum(other.squares for other in others), LEAST_SQUARES)
    return float(fisher.sf(ratio, fit.freedom, freedom)) < FAR_MORE


def _noise_of(fits: Sequence[Scattered], cubics: Sequence[Scattered]) -> Noise:
    freedom, left = (sum(fit.freedom for fit in some) for some in (fits, cubics))
    squares, rest = (sum(fit.squares for fit in some) for some in (fits, cubics))
    return Noise(
        math.sqrt(squares / freedom) if freedom else math.nan,
        freedom,
        math.sqrt(rest / left) if left else None,
    )
