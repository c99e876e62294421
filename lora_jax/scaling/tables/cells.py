"""Cells: the runs of one N and one D, which differ in seed or in learning rate alone."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lora_jax.scaling.tables.table import RunTable

SAME_COUNT = 0.01  # token counts this close (in ln) are one: batch sizes round them differently
LEARNING_RATE_CHECK = "learning-rate check"


def cell_of(table: RunTable) -> np.ndarray:
    """Return each run's cell number (n,), by rising N and then D."""
    sizes, tokens = levels(table.variable("N")), levels(table.variable("D"))
    return np.unique(np.stack([sizes, tokens], 1), axis=0, return_inverse=True)[1].reshape(-1)


def levels(values: np.ndarray) -> np.ndarray:
    """Return each value's level (n,): 0 for the smallest; a level reaches 1% beyond its smallest value."""
    level = np.empty(len(values), dtype=int)
    number, first = -1, -np.inf
    for i in np.argsort(values, kind="stable"):
        if np.log(values[i]) > first + SAME_COUNT:
            number, first = number + 1, np.log(values[i])
        level[i] = number
    return level


def average_seeds(table: RunTable) -> RunTable:
    """Return one row a cell, with the geometric mean of its losses.

    A few cells with three seeds must neither pull a line of four points towards them nor pass for evidence
    about its curvature; and of several seeds the luckiest must not be the one that looks compute-efficient.
    """
    cells = cell_of(table)
    first = np.array([np.flatnonzero(cells == c)[0] for c in range(cells.max() + 1)])
    means = np.array([np.log(table["loss"][cells == c]).mean() for c in range(len(first))])
    averaged = table.take(first)
    return replace(averaged, columns={**averaged.columns, "loss": np.exp(means)})


def seed_noise(table: RunTable) -> dict[str, Any]:
    """Return the pooled sd of ln L between seeds, or None, over how many cells and degrees of freedom.

    Only a column `seed` tells what seeds do: runs of one cell and one seed, or of a table without seeds,
    differ in something else or are one run read twice. Of several runs of a seed the mean counts.
    """
    nothing = {"seed_sd_log_loss": None, "n_cells": 0, "degrees_of_freedom": 0}
    if "seed" not in table.columns:
        return nothing
    log_loss = np.log(table["loss"])
    keys = [cell_of(table)]
    if "base_learning_rate" in table.columns:
        keys.append(levels(table["base_learning_rate"]))
    cells = np.unique(np.stack(keys, 1), axis=0, return_inverse=True)[1].reshape(-1)
    groups = []
    for c in range(cells.max() + 1):
        seeds, losses = table["seed"][cells == c], log_loss[cells == c]
        groups.append(np.array([losses[seeds == s].mean() for s in np.unique(seeds)]))
    groups = [g for g in groups if len(g) > 1]
    if not groups:
        return nothing
    squares = sum(float(((g - g.mean()) ** 2).sum()) for g in groups)
    dof = sum(len(g) - 1 for g in groups)
    return {
        "seed_sd_log_loss": float(np.sqrt(squares / dof)),
        "n_cells": len(groups),
        "degrees_of_freedom": dof,
    }


def settle_learning_rates(table: RunTable) -> tuple[RunTable, dict[str, Any]]:
    """Keep one learning rate a cell and seed; return the table and what the grids of rates say.

    Where every cell has several rates, the best of each is kept. Where some cells have, those are a check:
    they keep the sweep's most common rate, so that a cell is not better for having been tuned.
    """
    if "base_learning_rate" not in table.columns:
        return table, {"grids": [], "warnings": []}
    rate, loss = table["base_learning_rate"], table["loss"]
    groups: dict[tuple[float, float, float], list[int]] = defaultdict(list)
    for i in range(len(table)):
        groups[_key(table, i)].append(i)
    diverged = _diverged(table)
    tuned = {key: rows for key, rows in groups.items() if len({rate[i] for i in rows} | diverged[key]) > 1}
    most_common = Counter(float(r) for r in rate).most_common(1)[0][0]
    drop = np.zeros(len(table), dtype=bool)
    grids, warnings = [], []
    for key, rows in sorted(tuned.items()):
        grid = _grid(key, rate[rows], loss[rows], diverged[key])
        grids.append(grid)
        if grid["at_edge"]:
            warnings.append(_edge_warning(grid))
        usual = [i for i in rows if rate[i] == most_common]
        keep = usual if usual and len(tuned) < len(groups) else [min(rows, key=lambda i: loss[i])]
        drop[[i for i in rows if i not in keep]] = True
    return table.without(drop, LEARNING_RATE_CHECK), {"grids": grids, "warnings": warnings}


def _key(table: RunTable, i: int) -> tuple[float, float, float]:
    seed = table.columns.get("seed")
    n_params, n_tokens = table.variable("N")[i], table.variable("D")[i]
    return float(n_params), float(n_tokens), 0.0 if seed is None else float(seed[i])


def _diverged(table: RunTable) -> Mapping[tuple[float, float, float], set[float]]:
    """Return, per cell and seed, the rates that diverged or were halted: the best beside one is no edge."""
    rates: dict[tuple[float, float, float], set[float]] = defaultdict(set)
    for gone in table.left_out:
        if gone.reason not in ("diverged", "halted"):
            continue
        try:
            n_params, n_tokens = float(gone.row[table.n_column]), float(gone.row["n_tokens"])
            rate = float(gone.row["base_learning_rate"])
            seed = float(gone.row.get("seed", "0"))
        except (KeyError, ValueError):
            continue  # a table of others may not say what a diverged run was; it is listed as left out anyway
        rates[(n_params, n_tokens, seed)].add(rate)
    return rates


def _grid(
    key: tuple[float, float, float], rates: np.ndarray, losses: np.ndarray, diverged: set[float]
) -> dict[str, Any]:
    measured: dict[float, float | None] = dict.fromkeys(sorted(diverged))
    for rate, loss in zip(rates, losses, strict=True):
        known = measured.get(float(rate))
        measured[float(rate)] = float(loss) if known is None else min(known, float(loss))
    tried = sorted(measured)
    best = float(rates[np.argmin(losses)])
    return {
        "n_params": key[0], "n_tokens": key[1], "seed": int(key[2]), "rates": tried,
        "losses": [measured[r] for r in tried], "best": best, "at_edge": best in (tried[0], tried[-1]),
    }  # fmt: skip


def _edge_warning(grid: Mapping[str, Any]) -> str:
    n_params, n_tokens = grid["n_params"], grid["n_tokens"]
    side = "smallest" if grid["best"] == grid["rates"][0] else "largest"
    way = "lower" if side == "smallest" else "higher"
    return (
        f"At N = {n_params:.3g}, D = {n_tokens:.3g} the best learning rate, {grid['best']:.3g},"
        f" is the {side} of {len(grid['rates'])} tried: try {way} ones before believing the exponents."
    )
