"""Somebody's parameters may lie outside our usual bounds. Then we widen the bounds, and a note says so."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.laws.law import Array

ROOM = 1.0  # beyond theta, and as much again as its size


def widen(problem: Problem, theta: Array, kept: Collection[str]) -> Problem:
    """Return the problem with bounds that contain theta (P,). Those of the parameters in `kept` stay."""
    low, high = problem.bounds
    free = problem.is_free & np.array([name not in kept for name in problem.law.names])
    below, above = free & (theta <= low), free & (theta >= high)
    if not (below | above).any():
        return problem
    room = ROOM + np.abs(theta)
    bounds = np.where(below, theta - room, low), np.where(above, theta + room, high)
    params = problem.law.to_params(theta, problem.centre)
    said = tuple(
        f"{name} = {float(params[name]):.4g} lies outside our usual bounds of a fit, which were widened for"
        " it."
        for name, out in zip(problem.law.names, below | above, strict=True)
        if out
    )
    table = replace(problem.table, notes=(*problem.table.notes, *said))
    return replace(problem, bounds=bounds, table=table)
