"""Least squares of a hinge: an excess that is 0 up to a capacity and rises linearly in logarithms beyond it.

With slopes b = (k, k ln c, k g, k h), the excess max(0, b . t) is linear wherever it is above 0. So a step
solves a linear least-squares problem on the rows beyond their capacity, and is shortened until the sum of
squares falls (Gauss-Newton). A profile holds one number, which is a linear condition on b.
"""

import numpy as np

from lora_jax.scaling.finetuning.ranked_losses import Ranks
from lora_jax.scaling.laws.law import Array

CENTRE = 2.0  # of ln F beyond the runs: where F^c of the middle rank may begin
POWERS_OF_RANK, POWERS_OF_SIZE = (0.05, 3.0), (-1.5, 1.5)
MESH = (13, 9, 7)  # points of ln c, g and h to start from
STARTS, STEPS = 3, 12
SHORTER = (1.0, 0.4, 0.1, 0.01)  # parts of a step that are tried
RIDGE = 1e-10
NULL_DRAWS = 499


def mesh_of(ranks: Ranks) -> Array:
    """Return slopes, (M, 4), on a mesh of ln c, g and h, with k = 1."""
    sizes = np.linspace(*POWERS_OF_SIZE, MESH[2]) if ranks.by_size else np.zeros(1)
    a = np.linspace(ranks.ln_f.min() - CENTRE, ranks.ln_f.max(), MESH[0])
    g = np.geomspace(*POWERS_OF_RANK, MESH[1])
    points = [part.ravel() for part in np.meshgrid(a, g, sizes, indexing="ij")]
    return np.stack([np.ones_like(points[0]), *points], 1)


def starts_of(ranks: Ranks) -> Array:
    """Return the best slopes of the mesh, (S, 4), each with its best k."""
    slopes = mesh_of(ranks)
    x, y = ranks.centred(ranks.excess(slopes)), ranks.centred(ranks.log_loss)
    size, along = (x * x) @ ranks.weights, x @ (ranks.weights * y)
    k = np.maximum(along, 0) / np.maximum(size, 1e-30)
    slopes = slopes * np.maximum(k, 1e-6)[:, None]
    return slopes[np.argsort(ranks.squares(slopes), kind="stable")[:STARTS]]


def minimise(ranks: Ranks, starts: Array, free: Array, offset: Array) -> tuple[Array, Array]:
    """Return the least sum of squares (V,) of V conditions on the slopes, and the slopes (V, 4).

    Args:
        starts: Slopes to start from (V, S, 4), which are moved onto the conditions.
        free: A basis (V, 4, m) of the slopes that a condition allows.
        offset: Slopes (V, 4) that meet it: all are offset + free u.
    """
    inverse = np.linalg.pinv(free)
    u = np.einsum("vmp,vsp->vsm", inverse, starts - offset[:, None])
    slopes = offset[:, None] + np.einsum("vpm,vsm->vsp", free, u)
    value = _allowed_squares(ranks, slopes)
    terms, root = ranks.terms, np.sqrt(ranks.weights)
    for _ in range(STEPS):
        beyond = (slopes @ terms.T > 0)[..., None]
        x = np.swapaxes(ranks.centred(np.swapaxes(terms * beyond, -1, -2)), -1, -2) * root[:, None]
        left = ranks.centred(ranks.log_loss - ranks.excess(slopes)) * root
        design = np.einsum("vsnp,vpm->vsnm", x, free)
        normal = np.einsum("vsnm,vsnl->vsml", design, design)
        size = np.trace(normal, axis1=-2, axis2=-1)[..., None, None]
        normal = normal + (RIDGE * size + 1e-30) * np.eye(free.shape[-1])
        step = np.linalg.solve(normal, np.einsum("vsnm,vsn->vsm", design, left)[..., None])[..., 0]
        move = np.einsum("vpm,vsm->vsp", free, step)
        tried = np.stack([slopes + part * move for part in SHORTER])
        values = _allowed_squares(ranks, tried)
        best = values.argmin(0)
        found = np.take_along_axis(values, best[None], 0)[0]
        better = found < value * (1 - 1e-12)
        if not better.any():
            break
        moved = np.take_along_axis(tried, best[None, ..., None], 0)[0]
        slopes = np.where(better[..., None], moved, slopes)
        value = np.where(better, found, value)
    at = value.argmin(1)
    rows = np.arange(len(value))
    return value[rows, at], slopes[rows, at]


def _allowed_squares(ranks: Ranks, slopes: Array) -> Array:
    """Return the sums of squares (...), infinite where k is below 0 or a larger rank leaves earlier."""
    k, g = slopes[..., 0], slopes[..., 2]
    allowed = (k >= 0) & (g >= POWERS_OF_RANK[0] * k * (1 - 1e-9)) & (g <= POWERS_OF_RANK[1] * k * (1 + 1e-9))
    return np.where(allowed, ranks.squares(slopes), np.inf)


def chance_of_gain(ranks: Ranks, none: float, square: float, seed: int) -> float:
    """Return how often noise alone gains as much by a hinge as these runs do, on the same places.

    The place of a knee means nothing without an excess, so no F distribution holds, and noise is drawn.

    Args:
        none: The sum of squares without an excess, that within rows not counted.
        square: The least with one.
        seed: Seed of the draws.
    """
    x = ranks.centred(ranks.excess(mesh_of(ranks)))
    size = np.sqrt((x * x) @ ranks.weights)
    root = np.sqrt(ranks.weights)
    x = x[size > 1e-9] * root / size[size > 1e-9][:, None]
    if not len(x):
        return 1.0
    rng = np.random.default_rng((seed, 9))
    drawn = ranks.centred(rng.standard_normal((NULL_DRAWS, len(root))) / root) * root
    freedom = ranks.within[1]
    within = rng.chisquare(freedom, NULL_DRAWS) if freedom else np.zeros(NULL_DRAWS)
    gain = np.maximum(0.0, (drawn @ x.T).max(1)) ** 2
    rest = (drawn**2).sum(1) - gain + within
    measured = (none - square) / max(square + ranks.within[0], 1e-30)
    return float((1 + (gain / rest >= measured).sum()) / (1 + NULL_DRAWS))
