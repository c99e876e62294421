"""Runs grouped by compute budget, and the minimum of the loss over ln N at each budget."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError
from lora_jax.percent import percent
from lora_jax.scaling.tables.table import RunTable

Array = NDArray[np.float64]
GRID = 25  # Akima's points to an interval between sizes, as Porian et al. 2406.19146 take them
FEWEST_SIZES = 3
LOCAL_RUNS = 5  # a parabola through so few neighbours leaves noise, and little of the curve's asymmetry
SAME_SIZE = 0.02  # in ln N: an interpolation between closer sizes shows their noise alone
DOWNWARD = 2  # the side of a minimum that a parabola does not have


@dataclass(frozen=True)
class BudgetRuns:
    """The runs of one budget, by rising N.

    Attributes:
        flops: The budget.
        run_ids: The runs, (k,).
        ln_n: ln N of each run, (k,).
        ln_ratio: ln(6ND / C) of each run, (k,).
        loss: The loss of each run, (k,).
        spread: Largest C of the runs over the smallest.
    """

    flops: float
    run_ids: tuple[str, ...]
    ln_n: Array
    ln_ratio: Array
    loss: Array
    spread: float = 1.0

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def n_sizes(self) -> int:
        return len(_merge(self.ln_n)[0])

    def within(self, factor: float) -> "BudgetRuns":
        """Return the runs whose N is within this factor of the size with the lowest loss."""
        if not len(self):
            return self
        best = self.ln_n[self.loss.argmin()]
        return self._take(np.flatnonzero(np.abs(self.ln_n - best) <= math.log(factor) * (1 + 1e-12)))

    def nearest(self, count: int) -> "BudgetRuns":
        """Return the `count` runs whose ln N is nearest to that of the run with the lowest loss."""
        distance = np.abs(self.ln_n - self.ln_n[self.loss.argmin()])
        return self._take(np.sort(np.argsort(distance, kind="stable")[:count]))

    def ln_tokens(self, ln_n: Array) -> Array:
        """Return ln D at sizes between the runs. The ratio of 6ND to C is interpolated from the runs."""
        sizes, where = np.unique(self.ln_n, return_inverse=True)
        ratio = np.bincount(where, self.ln_ratio) / np.bincount(where)
        return math.log(self.flops / 6) - ln_n + np.interp(ln_n, sizes, ratio)

    def _take(self, rows: NDArray[np.intp]) -> "BudgetRuns":
        return replace(
            self,
            run_ids=tuple(self.run_ids[i] for i in rows),
            ln_n=self.ln_n[rows],
            ln_ratio=self.ln_ratio[rows],
            loss=self.loss[rows],
        )


def group_by_budget(
    table: RunTable, budgets: Sequence[float] | None = None, tolerance: float = 0.05
) -> tuple[list[BudgetRuns], int]:
    """Group the runs of a table by compute budget.

    Args:
        table: The runs.
        budgets: Budgets in FLOPs. A run joins the nearest one if its C is within the tolerance. None makes
            one budget of runs whose C follow each other within the tolerance, at their geometric mean.
        tolerance: Relative distance in C.

    Returns:
        The budgets by rising C, and how many runs belong to none of the given ones.

    Raises:
        LoraJaxError: A column is missing, or the runs follow each other so closely that they form no budgets.
    """
    if not 0 < tolerance < 1:
        raise LoraJaxError(f"The tolerance of a budget is {tolerance:g}: give a share between 0 and 1.")
    ln_c, width = np.log(table.variable("C")), math.log1p(tolerance)
    if budgets is None:
        order = np.argsort(ln_c, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(ln_c[order]) > width) + 1)
        for part in parts:
            if np.ptp(ln_c[part]) > 2 * width:
                low, high = (float(f(table.variable("C")[part])) for f in (np.min, np.max))
                raise LoraJaxError(
                    f"{len(part)} runs from {low:.3g} to {high:.3g} FLOPs follow each other within"
                    f" {percent(tolerance)}, so they form no budgets: name the budgets, or lower the"
                    " tolerance."
                )
        found = [(float(np.exp(ln_c[part].mean())), part) for part in parts]
        n_left = 0
    else:
        wanted = np.unique(np.asarray(budgets, dtype=np.float64))
        if not len(wanted) or not (np.isfinite(wanted) & (wanted > 0)).all():
            raise LoraJaxError(f"The budgets are {list(budgets)}: give FLOPs above 0.")
        distance = np.abs(ln_c[:, None] - np.log(wanted))
        owner = np.where(distance.min(1) <= width, distance.argmin(1), -1)
        found = [(float(c), np.flatnonzero(owner == i)) for i, c in enumerate(wanted)]
        n_left = int((owner < 0).sum())
    return [_runs_of(table, flops, rows) for flops, rows in found], n_left


def _runs_of(table: RunTable, flops: float, rows: NDArray[np.intp]) -> BudgetRuns:
    rows = rows[np.argsort(table.variable("N")[rows], kind="stable")]
    n, d, c = (table.variable(name)[rows] for name in ("N", "D", "C"))
    spread = float(c.max() / c.min()) if len(rows) else 1.0
    return BudgetRuns(
        flops,
        tuple(table.run_ids[i] for i in rows),
        np.log(n),
        np.log(6 * n * d / c),
        table["loss"][rows],
        spread,
    )


def evaluate(method: str, x: Array, y: Array, at: Array) -> Array:
    """Evaluate R curves at points.

    Args:
        method: "parabola" fits the values, "akima" passes through them.
        x: ln N of the runs, (k,).
        y: Values of each curve at the runs, (R, k).
        at: Where to evaluate, (g,).

    Returns:
        The curves, (R, g).
    """
    if method == "parabola":
        c0, c1, c2 = _coefficients(x, y)
        z = at - x.mean()
        return c0[:, None] + c1[:, None] * z + c2[:, None] * z**2
    from scipy.interpolate import Akima1DInterpolator

    sizes, shares = _merge(x)
    return np.asarray(Akima1DInterpolator(sizes, shares @ y.T)(at, extrapolate=True), np.float64).T


def locate(method: str, x: Array, y: Array) -> tuple[Array, Array, NDArray[np.int_]]:
    """Find the minima of R curves.

    Args:
        method: "parabola" or "akima".
        x: ln N of the runs, rising, (k,).
        y: Values of each curve at the runs, (R, k).

    Returns:
        Place, value and side of each minimum, (R,) each. The side is 0 for a minimum within the runs. It is
        -1 or 1 if the curve is lowest at or beyond the smallest or the largest size, and DOWNWARD if a
        parabola opens downward. A side other than 0 gives the end of the runs at which the curve is lower.
    """
    ends = np.array([x.min(), x.max()])
    if method == "akima":
        sizes = _merge(x)[0]
        grid = np.linspace(sizes[0], sizes[-1], GRID * (len(sizes) - 1))
        curves = evaluate(method, x, y, grid)
        lowest = curves.argmin(1)
        side = np.where(lowest == 0, -1, np.where(lowest == len(grid) - 1, 1, 0))
        return grid[lowest], curves.min(1), side
    c0, c1, c2 = _coefficients(x, y)
    # what rounding leaves of a straight line's curvature is none
    up = c2 * np.ptp(x) ** 2 > 1e-12 * np.abs(y).max(1)
    z = -c1 / (2 * np.where(up, c2, 1.0))
    low, high = ends - x.mean()
    side = np.where(~up, DOWNWARD, np.where(z <= low, -1, np.where(z >= high, 1, 0)))
    at_ends = evaluate(method, x, y, ends)
    end = at_ends.argmin(1)
    inside = side == 0
    place = np.where(inside, x.mean() + z, ends[end])
    value = np.where(inside, c0 - c1**2 / (4 * np.where(up, c2, 1.0)), at_ends.min(1))
    return place, value, side


def why_refused(method: str, runs: BudgetRuns, y: Array) -> str | None:
    """Return why the runs' values y (k,) show no minimum over ln N. None if they show one."""
    if not len(runs):
        return "no run has this budget"
    if runs.n_sizes < FEWEST_SIZES:
        return (
            f"{runs.n_sizes} size{'s' if runs.n_sizes > 1 else ''} only, and a minimum takes {FEWEST_SIZES}"
        )
    side = int(locate(method, runs.ln_n, y[None])[2][0])
    if side == 0:
        return None
    if side == DOWNWARD:
        return "its parabola opens downward"
    n = math.exp(runs.ln_n[0] if side < 0 else runs.ln_n[-1])
    size = f"the {'smallest' if side < 0 else 'largest'} size, {n:.3g} parameters"
    if method == "akima":
        return f"its loss is lowest at the edge of the runs, {size}"
    vertex = _vertex(runs.ln_n, y)
    place = f"N = {math.exp(vertex):.3g}" if abs(vertex) < 600 else f"ln N = {vertex:.3g}"
    return f"its parabola's vertex, {place}, lies outside the runs, beyond {size}"


def _merge(x: Array) -> tuple[Array, Array]:
    """Return the sizes (s,) in rising x = ln N (k,), and each run's share (s, k) in its size's mean."""
    where = np.append(0, np.cumsum(np.diff(x) > SAME_SIZE)) if len(x) else np.zeros(0, int)
    member = where == np.arange(where.max(initial=-1) + 1)[:, None]
    shares = member / member.sum(1, keepdims=True)
    return shares @ x, shares


def _vertex(x: Array, y: Array) -> float:
    _, c1, c2 = _coefficients(x, y[None])
    return float(x.mean() - c1[0] / (2 * c2[0]))


def _coefficients(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return c0, c1, c2 (R,) of the least-squares parabolas of y (R, k) over x - mean(x)."""
    scale = np.ptp(x)
    design = np.vander((x - x.mean()) / scale, 3, increasing=True)
    c = y @ np.linalg.pinv(design).T
    return c[:, 0], c[:, 1] / scale, c[:, 2] / scale**2


def noise_of(groups: Sequence[tuple[BudgetRuns, str]]) -> tuple[float | None, int]:
    """Return the pooled standard deviation of ln L about the parabolas, and its degrees of freedom.

    Each group is the runs of a budget, and the scale of its parabola. The standard deviation is None if no
    group has more runs than a parabola has coefficients.
    """
    squares, dof = 0.0, 0
    for runs, scale in groups:
        if runs.n_sizes >= FEWEST_SIZES and len(runs) > 3:
            y = np.log(runs.loss) if scale == "log" else runs.loss
            error = y - evaluate("parabola", runs.ln_n, y[None], runs.ln_n)[0]
            squares += float(((error if scale == "log" else error / runs.loss) ** 2).sum())
            dof += len(runs) - 3
    return (math.sqrt(squares / dof) if dof else None), dof
