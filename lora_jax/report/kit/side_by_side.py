"""Points of one size, moved a little apart on an axis so that their bars do not hide each other."""

from collections.abc import Sequence


def side_by_side(places: Sequence[float], gap: float) -> list[float]:
    """Return places on an axis that are at least `gap` apart, moved by the least sum of squares.

    The order stays. Equal places stay in the order in which they are given. Places that are far enough from
    their neighbours do not move.

    Args:
        places: Where the points belong, in any units in which the axis is even.
        gap: The least distance between two of them, in the same units.
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    # A place less the gaps before it may not fall: isotonic regression, by pooling neighbours.
    pools: list[tuple[float, int]] = []  # (mean, number of points)
    for rank, i in enumerate(order):
        mean, n = places[i] - rank * gap, 1
        while pools and pools[-1][0] >= mean:
            before, m = pools.pop()
            mean, n = (before * m + mean * n) / (m + n), m + n
        pools.append((mean, n))
    means = [mean for mean, n in pools for _ in range(n)]
    moved = [0.0] * len(places)
    for rank, (i, mean) in enumerate(zip(order, means, strict=True)):
        moved[i] = mean + rank * gap
    return moved
