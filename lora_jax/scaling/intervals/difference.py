"""Does a fit differ from published constants? A joint test by the bootstrap, and one for each parameter.

The parameters of a law trade off. A and alpha may both lie inside their intervals although the pair is
impossible, and the other way round. So the test is joint. It works in the internal theta, where the
replicates are closest to an ellipsoid. The p-value is the share of replicates that lie farther from the fit
than the published constants do, by Mahalanobis distance with the replicates' covariance (Davison and Hinkley,
Bootstrap Methods and Their Application, 1997, section 4.4, and equation 4.11 for the 1 / (n + 1)).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.intervals.uncertainty import Bootstrap
from lora_jax.scaling.laws.law import Array

LEVEL = 0.05
SAME = 1e-6  # of theta: how near a fixed parameter must be to the published one


@dataclass(frozen=True)
class PublishedFit:
    """Published constants of a law, as they were printed.

    Attributes:
        law: Key of the law.
        params: The constants, in nats per token, parameters and tokens.
        source: Where they are from.
    """

    law: str
    params: Mapping[str, float]
    source: str


PUBLISHED_FITS: Mapping[str, PublishedFit] = MappingProxyType(
    {
        "hoffmann": PublishedFit(
            "L(N,D)",
            {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28},
            "Hoffmann et al. 2203.15556",
        ),
        "besiroglu": PublishedFit(
            "L(N,D)",
            {"E": 1.8172, "A": 482.01, "alpha": 0.3478, "B": 2085.43, "beta": 0.3658},
            "Besiroglu et al. 2404.10102",
        ),
        "kaplan": PublishedFit(
            "L(N,D) Kaplan",
            {"N_c": 6.4e13, "alpha_N": 0.076, "D_c": 1.8e13, "alpha_D": 0.103},
            "Kaplan et al. 2001.08361",
        ),
        "farseer": PublishedFit(  # of bits per character
            "L(N,D) Farseer",
            {
                "a1": -1.665630816,
                "alpha": 0.0459,
                "b1": 3.133347199,
                "a2": 230.734370759,
                "beta": -0.1729,
                "b2": -1.544209554,
                "a3": -0.062465473,
                "gamma": 0.13,
                "b3": 0.128488068,
            },
            "Li et al. 2506.10972, the constants of their notebook",
        ),
    }
)


@dataclass(frozen=True)
class Compared:
    """A parameter of a fit beside its published value.

    Attributes:
        value: The fitted value.
        published: The published value.
        ci95: The 95 % interval of the fitted value.
        inside: Whether the published value lies in the interval.
    """

    value: float
    published: float
    ci95: tuple[float, float]
    inside: bool


@dataclass(frozen=True)
class Differs:
    """Whether a fit differs from published constants.

    Attributes:
        source: Where the constants come from.
        p: The p-value.
        differs: Whether p is below .05.
        n: Number of replicates.
        distance: Mahalanobis distance, in standard deviations of the replicates.
        objective: The objective at the fit.
        objective_there: The objective at the constants.
        objective_ratio: `objective_there` over `objective`. None if the fit is exact.
        params: Each parameter beside its published value.
        words: The result in a sentence.
    """

    source: str
    p: float
    differs: bool
    n: int
    distance: float
    objective: float
    objective_there: float
    objective_ratio: float | None
    params: Mapping[str, Compared]
    words: str


def difference(replicates: Bootstrap, published: str | Mapping[str, float]) -> Differs:
    """Test whether a fit differs from published constants.

    The published constants count as known exactly. Rounded ones are tested as they were printed.

    Args:
        replicates: The fit and its bootstrap replicates.
        published: The name of one of `PUBLISHED_FITS`, or a value for every parameter.

    Returns:
        The p-value, the ratio of the objectives, and each parameter beside its published value. With n
        replicates p is never below 1 / (n + 1).

    Raises:
        LoraJaxError: The name is unknown, the constants are of another law or lack a parameter, the fit held
            a parameter fixed at another value, or the replicates are too few or too alike for a covariance.
    """
    fit = replicates.fit
    problem, law = fit.problem, fit.law
    params, source = _constants(law.key, published)
    law.check_given(params)
    there = law.to_theta(params, problem.centre)
    free = problem.is_free
    _check_fixed(replicates, params, there, free)
    inverse = _inverse_covariance(replicates, free)
    far = _distance(there[None] - fit.theta, free, inverse)[0]
    n = len(replicates.theta)
    p = (1 + int((_distance(replicates.theta - fit.theta, free, inverse) >= far).sum())) / (n + 1)
    at_fit, at_there = problem.value(fit.theta), problem.value(there)
    ratio = at_there / at_fit if at_fit > 0 else None
    rows = {}
    for name, row in replicates.intervals().items():
        assert row.ci95 is not None, "a bootstrap gives every parameter an interval"
        low, high = row.ci95
        rows[name] = Compared(row.value, float(params[name]), row.ci95, low <= params[name] <= high)
    outside = [name for name, row in rows.items() if free[law.names.index(name)] and not row.inside]
    words = _sentence(source, p, n, outside, ratio)
    return Differs(source, p, p < LEVEL, n, float(far), at_fit, at_there, ratio, rows, words)


def _constants(key: str, published: str | Mapping[str, float]) -> tuple[Mapping[str, float], str]:
    if not isinstance(published, str):
        return published, "the constants given"
    if published not in PUBLISHED_FITS:
        raise LoraJaxError(
            f"No published fit is called {published!r}{nearest(published, PUBLISHED_FITS)}: name one of"
            " these, or give its parameters."
        )
    found = PUBLISHED_FITS[published]
    if found.law != key:
        raise LoraJaxError(
            f"The constants {published!r} are of the law {found.law} and the fit is of {key}: compare like"
            " with like."
        )
    return found.params, found.source


def _check_fixed(replicates: Bootstrap, params: Mapping[str, float], there: Array, free: np.ndarray) -> None:
    """Raise where a parameter that was not fitted has another value in the published constants."""
    fit = replicates.fit
    for name, value, mine, fitted in zip(fit.law.names, there, fit.theta, free, strict=True):
        if not fitted and abs(value - mine) > SAME:
            raise LoraJaxError(
                f"{name} is {params[name]:g} in the published constants and was fixed at {fit.params[name]:g}"
                " in the fit: fit it too, or fix it at the published value."
            )


def _inverse_covariance(replicates: Bootstrap, free: np.ndarray) -> Array:
    """Return the inverse covariance (F, F) of the replicates' free parameters."""
    cloud = replicates.theta[:, free]
    if len(cloud) < 20 * cloud.shape[1]:
        raise LoraJaxError(
            f"{len(cloud)} replicates are too few to compare {cloud.shape[1]} parameters jointly: draw at"
            f" least {20 * cloud.shape[1]}."
        )
    sd = cloud.std(0, ddof=1)
    if not (sd > 0).all():
        stuck = [n for n, s in zip(np.array(replicates.fit.law.names)[free], sd, strict=True) if not s > 0]
        raise LoraJaxError(
            f"{', '.join(stuck)} is the same in every replicate, so nothing can be compared with it: fit a"
            " simpler law, or fix it."
        )
    spread, axes = np.linalg.eigh(np.atleast_2d(np.corrcoef(cloud.T)))
    # rounding must not make the narrowest direction of a ridge narrower than it is
    spread = np.maximum(spread, 1e-13 * spread.max())
    return (axes / spread) @ axes.T / np.outer(sd, sd)


def _distance(shift: Array, free: np.ndarray, inverse: Array) -> Array:
    """Return the Mahalanobis length (B,) of shifts of theta (B, P)."""
    open_ = shift[:, free]
    return np.sqrt(np.maximum(np.einsum("bp,pq,bq->b", open_, inverse, open_), 0))


def _sentence(source: str, p: float, n: int, outside: list[str], ratio: float | None) -> str:
    said = f"p = {p:.2g}" if p > 1 / (n + 1) else f"p = {p:.2g}, the least that {n} replicates can show"
    times = (
        ""
        if ratio is None
        else f"; with these constants the objective is {ratio:.3g} times as large as at the fit"
    )
    if not outside:
        where = "every parameter lies inside its 95 % interval"
    else:
        lies = "lies" if len(outside) == 1 else "lie"
        where = f"{', '.join(outside)} {lies} outside the 95 % interval"
    verdict = "differs from" if p < LEVEL else "does not differ from"
    return f"The fit {verdict} {source} ({said}): {where}{times}."
