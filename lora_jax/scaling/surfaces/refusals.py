"""Why a surface has no best pair of rate and batch size, and which runs would give it one."""

import math

import numpy as np

from lora_jax.scaling.rates.bowls import Array, suggest_beyond
from lora_jax.scaling.surfaces.quadric import LEAST_POINTS, Quadric, SurfaceLosses
from lora_jax.scaling.surfaces.results import SurfaceRefusal

NAMES = ("rate", "batch size")
PLURALS = ("rates", "batch sizes")
LEAST_VALUES = 3  # of rate and of batch, or a quadratic is not determined
EDGE = 1e-9  # of ln: a vertex on the edge of the runs is inside them
MOSTLY = 0.9  # of a direction that is called by the name of its axis


def is_inside(point: Array, points: Array) -> bool:
    """Return whether a point (2,) lies in the convex hull of points (n, 2). They must not lie on one line."""
    corners = hull_of(points)
    edges = np.roll(corners, -1, axis=0) - corners
    to = point - corners
    across = edges[:, 0] * to[:, 1] - edges[:, 1] * to[:, 0]
    return bool((across >= -EDGE * np.hypot(edges[:, 0], edges[:, 1])).all())


def hull_of(points: Array) -> Array:
    """Return the corners of the convex hull, (m, 2), anticlockwise (Andrew 1979)."""
    ordered = [(float(x), float(y)) for x, y in np.unique(points, axis=0)]

    def half(way: list[tuple[float, float]]) -> list[tuple[float, float]]:
        chain: list[tuple[float, float]] = []
        for x, y in way:
            while len(chain) > 1:
                (ax, ay), (bx, by) = chain[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                chain.pop()
            chain.append((x, y))
        return chain[:-1]

    return np.array(half(ordered) + half(ordered[::-1]))


def refuse_runs(data: SurfaceLosses) -> SurfaceRefusal:
    """Return what is missing for a surface: pairs, rates, batch sizes, or pairs that are not on one line."""
    points = np.unique(data.points, axis=0)
    counts = [len(np.unique(points[:, k])) for k in (0, 1)]
    if len(points) < LEAST_POINTS or min(counts, default=0) < LEAST_VALUES:
        return SurfaceRefusal(
            "too few runs",
            f"only {len(points)} pairs of rate and batch size have a loss ({counts[0]} {PLURALS[0]},"
            f" {counts[1]} {PLURALS[1]}): train at least {LEAST_POINTS}, of {LEAST_VALUES} rates and"
            f" {LEAST_VALUES} batch sizes.",
        )
    return SurfaceRefusal(
        "too few runs",
        "the pairs of rate and batch size near the best one lie on a line or two, which give no surface:"
        " cross the rates with the batch sizes.",
    )


def refuse_shape(data: SurfaceLosses, surface: Quadric, reach: float) -> SurfaceRefusal | None:
    """Return why a surface is no bowl, or cannot be told from none. None for a bowl.

    Args:
        data: The losses.
        surface: The surface.
        reach: Half the 95 % interval of a number that has variance 1 for noise of variance 1.
    """
    across = surface.axes[1][:, 0]
    shares = across**2
    along = NAMES[int(shares.argmax())] if shares.max() > MOSTLY else "rate and batch size together"
    if surface.curvature <= 0:
        both = surface.axes[0][1] <= 0
        shape = "falls away from its stationary point" if both else "is a saddle or a slope"
        return SurfaceRefusal(
            "no bowl",
            f"the surface {shape}: the loss does not rise on both sides along {along}."
            f" {_more(data, surface)}",
        )
    if surface.curvature <= reach * math.sqrt(surface.curvature_variance()):
        return SurfaceRefusal(
            "lost in noise",
            f"the loss rises on both sides along {along} by little more than the scatter explains: add seeds,"
            f" or {_further(along)}.",
        )
    return None


def _further(along: str) -> str:
    return f"{along}s further out" if along in NAMES else "rates and batch sizes further out"


def _more(data: SurfaceLosses, surface: Quadric) -> str:
    """Return on which side of the best run to add runs, or that seeds are needed."""
    said = []
    for k in (0, 1):
        tried = np.unique(data.points[:, k]).tolist()
        if surface.centre[k] in (tried[0], tried[-1]):
            said.append(f"{PLURALS[k]} {suggest_beyond(tried, surface.centre[k] == tried[0])}")
    return f"Add {' and '.join(said)}." if said else "Add seeds, or runs around the best one."


def refuse_vertex(data: SurfaceLosses, surface: Quadric, halves: Array) -> SurfaceRefusal | None:
    """Return why a vertex is no best pair. None if it is one.

    It may lie outside the runs, or its interval may be wider than the range of the runs.

    Args:
        data: The losses.
        surface: The surface.
        halves: Half the 95 % interval of ln rate and of ln batch, (2,).
    """
    vertex, points = surface.vertex, data.points
    if not is_inside(vertex, points):
        return _refuse_outside(data, vertex)
    for k in (0, 1):
        if 2 * halves[k] > np.ptp(points[:, k]):
            return SurfaceRefusal(
                "lost in noise",
                f"the interval of the best {NAMES[k]} is wider than the {PLURALS[k]} that were tried: add"
                f" seeds, or {PLURALS[k]} further out.",
            )
    if not is_inside(vertex, points[surface.rows]):
        return SurfaceRefusal(
            "outside the runs",
            f"the surface through the runs near the best one has its vertex beyond them, at {_at(vertex)}:"
            " the loss is no quadratic there. Add runs between the two, or seeds.",
        )
    return None


def _refuse_outside(data: SurfaceLosses, vertex: Array) -> SurfaceRefusal:
    edges, more = [], []
    for k in (0, 1):
        tried = np.unique(data.points[:, k]).tolist()
        if tried[0] <= vertex[k] <= tried[-1]:
            continue
        below = vertex[k] < tried[0]
        edges.append(f"{'below the smallest' if below else 'above the largest'} {NAMES[k]}")
        more.append(f"{PLURALS[k]} {suggest_beyond(tried, below)}")
    gone = [at for at in data.diverged if at[0] > np.max(data.points[:, 0])]
    if gone and vertex[0] > np.max(data.points[:, 0]):
        return SurfaceRefusal(
            "beside divergence",
            f"the vertex, at {_at(vertex)}, lies above the largest rate with a loss, beside runs that"
            f" diverged (at rate {math.exp(min(at[0] for at in gone)):.3g}): add rates between the two.",
        )
    if not edges:
        return SurfaceRefusal(
            "outside the runs",
            f"the vertex, at {_at(vertex)}, lies in a corner of the grid that has no runs: add runs around"
            " it.",
        )
    return SurfaceRefusal(
        "outside the runs",
        f"the vertex, at {_at(vertex)}, lies outside the runs, {' and '.join(edges)} tried: add"
        f" {' and '.join(more)}.",
    )


def _at(vertex: Array) -> str:
    return f"rate {math.exp(vertex[0]):.3g} and batch size {math.exp(vertex[1]):.3g}"
