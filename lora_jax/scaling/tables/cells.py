"""Cells: the runs of one N and D that differ only in seed or learning rate.

Fine-tuned runs share F and P too.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from lora_jax.documents import Key
from lora_jax.scaling.tables.run_table import LeftOut, RunTable

SAME_COUNT = 0.01  # we take token counts this close (in ln) for equal: batch sizes round them differently
MOST_EDGES = 3  # up to this many grids, each gets a warning of its own
LEARNING_RATE_CHECK = "learning-rate check"


def cell_of(table: RunTable) -> np.ndarray:
    """Return the number of each run's cell, (n,).

    Numbers rise with N, then D, then F and P of fine-tuning runs.
    """
    numbers = [levels(table.variable(v)) for v in ("N", "D", *_of_finetuning(table))]
    return np.unique(np.stack(numbers, 1), axis=0, return_inverse=True)[1].reshape(-1)


def _of_finetuning(table: RunTable) -> list[str]:
    """Return the letters that tell runs on one base apart: F and P, if the table has them."""
    return [v for v in ("F", "P") if table.has(v)]


def levels(values: np.ndarray, same: float = SAME_COUNT) -> np.ndarray:
    """Return each value's level, (n,), from 0 for the smallest.

    A level reaches `same` (in ln, so about 1 % by default) beyond its smallest value.
    """
    level = np.empty(len(values), dtype=int)
    number, first = -1, -np.inf
    for i in np.argsort(values, kind="stable"):
        if np.log(values[i]) > first + same:
            number, first = number + 1, np.log(values[i])
        level[i] = number
    return level


def rows_of_each(numbers: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each number.

    Args:
        numbers: A number for each row, (n,). Every number from 0 to the largest occurs.
    """
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.cumsum(np.bincount(numbers))[:-1])


def average_seeds(table: RunTable) -> RunTable:
    """Return one row for each cell, with the geometric mean of its losses.

    Otherwise a few cells with three seeds would pull a line of four points towards them, and would pass for
    evidence about its curvature. And the luckiest of several seeds would look compute-efficient.
    """
    return average_rows(table, cell_of(table))


def average_rows(table: RunTable, cells: np.ndarray) -> RunTable:
    """Return one row for each cell, with the geometric mean of its losses.

    Args:
        table: The runs.
        cells: Number of each row's cell, (n,), from 0.
    """
    logs, groups = np.log(table["loss"]), rows_of_each(cells)
    first = np.array([rows[0] for rows in groups])
    means = np.array([logs[rows].mean() for rows in groups])
    averaged = table.take(first)
    return replace(averaged, columns={**averaged.columns, "loss": np.exp(means)})


@dataclass(frozen=True)
class SeedNoise:
    """The noise between seeds.

    Attributes:
        sd: Pooled standard deviation of ln L between seeds. None if no cell has several.
        n_cells: Number of cells with several seeds.
        degrees_of_freedom: Degrees of freedom behind `sd`.
    """

    sd: Annotated[float | None, Key("seed_sd_log_loss")]
    n_cells: int
    degrees_of_freedom: int


UNSEEDED = SeedNoise(None, 0, 0)


def seed_noise(table: RunTable) -> SeedNoise:
    """Return the noise between the seeds of a cell.

    Only a column `seed` tells us what seeds do. Without it, runs of one cell may differ in something else, or
    be one run read twice. If one seed has several runs, we use their mean.
    """
    if "seed" not in table.columns:
        return UNSEEDED
    keys = [cell_of(table)]
    if "base_learning_rate" in table.columns:
        keys.append(levels(table["base_learning_rate"]))
    cells = np.unique(np.stack(keys, 1), axis=0, return_inverse=True)[1].reshape(-1)
    return noise_between(table, cells)


def noise_between(table: RunTable, cells: np.ndarray) -> SeedNoise:
    """Return the noise between seeds, as `seed_noise` does, for given cells.

    Args:
        table: The runs, with a column `seed`.
        cells: Number of each row's cell, (n,), from 0.
    """
    log_loss = np.log(table["loss"])
    groups = []
    for rows in rows_of_each(cells):
        seeds, losses = table["seed"][rows], log_loss[rows]
        groups.append(np.array([losses[seeds == s].mean() for s in np.unique(seeds)]))
    groups = [g for g in groups if len(g) > 1]
    if not groups:
        return UNSEEDED
    squares = sum(float(((g - g.mean()) ** 2).sum()) for g in groups)
    dof = sum(len(g) - 1 for g in groups)
    return SeedNoise(float(np.sqrt(squares / dof)), len(groups), dof)


@dataclass(frozen=True)
class RateGrid:
    """The learning rates that were tried for one cell and seed.

    Attributes:
        n_params: N of the cell.
        n_tokens: D of the cell.
        seed: The seed.
        rates: The rates, rising.
        losses: The least loss at each rate. None if the run diverged.
        best: The rate with the least loss.
        at_edge: Whether `best` is the smallest or the largest rate tried.
    """

    n_params: float
    n_tokens: float
    seed: int
    rates: tuple[float, ...]
    losses: tuple[float | None, ...]
    best: float
    at_edge: bool


@dataclass(frozen=True)
class LearningRates:
    """The grids of learning rates of a sweep.

    Attributes:
        grids: One grid for each cell and seed with several rates.
        warnings: Warnings about best rates at the edge of their grid.
    """

    grids: tuple[RateGrid, ...]
    warnings: tuple[str, ...]


def settle_learning_rates(table: RunTable, apart: Sequence[str] = ()) -> tuple[RunTable, LearningRates]:
    """Keep one learning rate for each cell and seed.

    If every cell has several rates, we keep the best of each. If only some have, they are a check. They keep
    the most common rate of the sweep, so that no cell looks better because it was tuned.

    Args:
        table: The runs.
        apart: Letters besides N and D that tell cells apart, for a law with the batch size.

    Returns:
        The table with the rows that are kept, and the grids of rates with their warnings.
    """
    if "base_learning_rate" not in table.columns:
        return table, LearningRates((), ())
    rate, loss = table["base_learning_rate"], table["loss"]
    unique = table.columns.get("unique_tokens", np.zeros(len(table)))  # runs on other data do not compete
    groups: dict[tuple[float, ...], list[int]] = defaultdict(list)
    seed = table.columns.get("seed", np.zeros(len(table)))
    further = (levels(table.variable(v)) for v in (*apart, *_of_finetuning(table)))
    parts = (table.variable("N"), table.variable("D"), seed, unique, *further)
    for i, key in enumerate(zip(*(part.tolist() for part in parts), strict=True)):
        groups[tuple(map(float, key))].append(i)
    diverged = diverged_rates(table, "base_learning_rate")
    tuned = {k: r for k, r in groups.items() if len({rate[i] for i in r} | diverged[_place(k)]) > 1}
    most_common = Counter(float(r) for r in rate).most_common(1)[0][0]
    drop = np.zeros(len(table), dtype=bool)
    grids = []
    for key, rows in sorted(tuned.items()):
        grids.append(make_grid(_place(key), rate[rows], loss[rows], diverged[_place(key)]))
        usual = [i for i in rows if rate[i] == most_common]
        keep = usual if usual and len(tuned) < len(groups) else [least_loss(rows, loss)]
        drop[[i for i in rows if i not in keep]] = True
    said = LearningRates(tuple(grids), tuple(edge_warnings(grids)))
    return table.without(drop, LEARNING_RATE_CHECK), said


def _place(key: tuple[float, ...]) -> tuple[float, float, float]:
    """Return the N, D and seed of a group's key."""
    return key[0], key[1], key[2]


def with_one_rate(table: RunTable) -> RunTable:
    """Return the table as `settle_learning_rates` leaves it. The warnings join its doubts."""
    if not (table.has("N") and table.has("D")):
        return table
    settled, found = settle_learning_rates(table)
    return replace(settled, doubts=(*settled.doubts, *(w.rstrip(".") for w in found.warnings)))


def least_loss(rows: Sequence[int], loss: np.ndarray) -> int:
    """Return the row with the least loss, the first one if several are equal.

    Every choice of a best row uses this.
    """
    return min(rows, key=lambda i: loss[i])


def grids_in(grids: Sequence[RateGrid], runs: RunTable) -> list[RateGrid]:
    """Return the grids of rates in the cells of these runs."""
    cells = set(zip(runs.variable("N").tolist(), runs.variable("D").tolist(), strict=True))
    return [grid for grid in grids if (grid.n_params, grid.n_tokens) in cells]


def diverged_rates(table: RunTable, column: str) -> Mapping[tuple[float, float, float], set[float]]:
    """Return the rates that diverged or were halted, for each cell and seed (N, D, seed).

    A best rate beside such a rate is not at an edge.

    Args:
        table: The runs.
        column: The column of rates.
    """
    rates: dict[tuple[float, float, float], set[float]] = defaultdict(set)
    for gone in runs_that_failed(table):
        try:
            n_params, n_tokens = float(gone.row[table.n_column]), float(gone.row[table.column_of("D")])
            rate = float(gone.row[column])
            seed = float(gone.row.get("seed", "0"))
        except (KeyError, ValueError):
            continue  # a foreign table may not say which run diverged; the run is listed as left out anyway
        rates[(n_params, n_tokens, seed)].add(rate)
    return rates


def runs_that_failed(table: RunTable) -> list[LeftOut]:
    """Return the runs that were left out because they diverged or were halted."""
    return [gone for gone in table.left_out if gone.reason in ("diverged", "halted")]


def make_grid(
    key: tuple[float, float, float], rates: np.ndarray, losses: np.ndarray, diverged: set[float]
) -> RateGrid:
    """Return the grid of learning rates of a cell and seed.

    Args:
        key: N, D and the seed.
        rates: Learning rate of each run, (n,).
        losses: Loss of each run, (n,).
        diverged: Rates at which a run diverged. They have no loss.
    """
    measured: dict[float, float | None] = dict.fromkeys(sorted(diverged))
    for rate, loss in zip(rates, losses, strict=True):
        known = measured.get(float(rate))
        measured[float(rate)] = float(loss) if known is None else min(known, float(loss))
    tried = sorted(measured)
    best = float(rates[np.argmin(losses)])
    least, at_edge = tuple(measured[r] for r in tried), best in (tried[0], tried[-1])
    return RateGrid(key[0], key[1], int(key[2]), tuple(tried), least, best, at_edge)


def edge_warnings(grids: Sequence[RateGrid]) -> list[str]:
    """Return a warning for each grid whose best rate is at its edge. If they are many, return one for all."""
    at_edge = [grid for grid in grids if grid.at_edge]
    if len(at_edge) <= MOST_EDGES:
        return [_edge_warning(grid) for grid in at_edge]
    lowest = sum(grid.best == grid.rates[0] for grid in at_edge)
    return [
        f"In {len(at_edge)} of {len(grids)} cells the best learning rate is at an edge of those tried"
        f" ({lowest} at the smallest, {len(at_edge) - lowest} at the largest): try rates beyond before"
        " believing the exponents."
    ]


def _edge_warning(grid: RateGrid) -> str:
    n_params, n_tokens = grid.n_params, grid.n_tokens
    side = "smallest" if grid.best == grid.rates[0] else "largest"
    way = "lower" if side == "smallest" else "higher"
    return (
        f"At N = {n_params:.3g}, D = {n_tokens:.3g} the best learning rate, {grid.best:.3g},"
        f" is the {side} of {len(grid.rates)} tried: try {way} ones before believing the exponents."
    )
