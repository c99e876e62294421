"""Starting points of a fit: the law's own starts, and places between bounds that a user has moved."""

import itertools

import numpy as np

from lora_jax.scaling.fitting.newton import Data
from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.laws.power_sum import best_starts

PLACES = 5  # between moved bounds
MOST_RUNS = 5000  # on which starts are tried
KEPT, MOST = 4, 16  # starts that are tried at every place, and those that are kept


def starting_points(problem: Problem) -> Array:
    """Return thetas (S, P) to start from.

    A law starts where published parameters lie. Where bounds are moved beyond, its best starts are tried at
    places between them too.
    """
    usual = problem.usual or problem
    held = {n: usual.bounds_of(usual.law.names.index(n))[0] for n in usual.fixed}
    d = _thinned(usual.data)
    starts = usual.law.starts(d.features, d.log_loss, lambda theta: d.value(theta, usual.goal), held)
    if problem.usual is None:
        return starts
    moved = np.clip(usual.translate(starts, problem), *problem.bounds)
    low, high = problem.bounds
    tried = [moved]
    for i in np.flatnonzero((high - low < np.inf) & problem.is_free):
        if _is_moved(problem, usual, int(i)):
            places = np.linspace(low[i], high[i], PLACES + 2)[1:-1]
            for start, place in itertools.product(moved[:KEPT], places):
                other = start.copy()
                other[i] = place
                tried.append(other[None])
    thetas = np.concatenate(tried)
    return best_starts(thetas, lambda theta: problem.data.value(theta, problem.goal), MOST)


def _thinned(data: Data) -> Data:
    """Return every so many runs of a large table: on them hundreds of starts are tried."""
    step = -(-len(data.log_loss) // MOST_RUNS)
    if step == 1:
        return data
    return Data(data.law, data.features[::step], data.log_loss[::step], data.weights[::step])


def _is_moved(problem: Problem, usual: Problem, i: int) -> bool:
    """Return whether an exponent or a plain number has bounds other than our usual ones."""
    p = problem.law.parameters[i]
    return p.kind in ("exponent", "number") and problem.bounds_of(i) != usual.bounds_of(i)
