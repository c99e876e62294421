"""Do the digits that parameters were given with explain why they are not quite at a minimum?

A minimum is no longer one once it is printed. In the valleys of scaling laws the tenth digit of B already
shows in the gradient. So we judge printed parameters by what their digits can say.
"""

from collections.abc import Mapping
from decimal import Decimal
from itertools import product

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.newton import Data, solve
from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.fitting.profile import allowed_rise
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.tables.number_text import SUFFIXES, plain_text

SLACK = 1e-6  # of half a unit, for decimal numbers that are not binary ones
ROUNDING = 1e-12  # of an objective, to which a sum of floats is known
IMMATERIAL = 0.1  # of the rise of the objective that ends a 95 % interval
MOST_CORNERS = 4096


def half_unit(text: str) -> float:
    """Return half a unit in the last digit of a number: "1.8172" -> 5e-5, "6.40e13" -> 5e10, "70B" -> 5e8.

    Raises:
        LoraJaxError: The text is no decimal number.
    """
    plain = plain_text(text)
    if plain is None:
        raise LoraJaxError(f"{text!r} is not a decimal number, whose digits could be counted: mend it.")
    size = SUFFIXES.get(plain[-1:].lower(), 1.0)
    exponent = Decimal(plain[:-1] if size != 1 else plain).as_tuple().exponent
    assert isinstance(exponent, int)  # of a finite number
    return 0.5 * 10.0**exponent * size


def half_units(params: Mapping[str, float]) -> dict[str, float]:
    """Return for each number `half_unit` of the shortest decimal number that equals it as a float."""
    return {name: half_unit(repr(float(value))) for name, value in params.items()}


def explain(problem: Problem, theta: Array, minimum: Array, halves: Mapping[str, float]) -> bool:
    """Return whether rounding explains why theta is not at the minimum.

    It does in two cases. The minimum rounds to theta. Or theta, or the best point that rounds to it, lies no
    higher above the minimum than rounding at these digits can lift it. Few digits could lift it anywhere. So
    this counts only up to a tenth of the rise that ends a 95 % interval, which no reader of the interval
    would notice.

    Args:
        problem: The problem.
        theta: The printed parameters, (P,).
        minimum: The minimum, (P,).
        halves: Half a unit in the last digit of each published parameter.
    """
    given, best = (problem.law.to_params(t, problem.centre) for t in (theta, minimum))
    free = [name for name in problem.law.names if name not in problem.fixed]
    if all(abs(float(best[n] - given[n])) <= halves[n] * (1 + SLACK) for n in free):
        return True
    least, rise = problem.value(minimum), allowed_rise(problem, minimum)
    excess = problem.value(theta) - least
    if excess <= ROUNDING * least:
        return True
    if rise is None:
        return False
    allowed = min(IMMATERIAL * rise, _largest_rise(problem, minimum, halves))
    if excess <= allowed:
        return True
    if any(p.kind == "scale" for p in problem.law.parameters):
        return False  # a scale is no coordinate of theta, in which a box could be searched
    within = _least_within(problem, {n: float(v) for n, v in given.items()}, halves)
    return within - least <= allowed


def _least_within(problem: Problem, params: Mapping[str, float], halves: Mapping[str, float]) -> float:
    """Return the least objective among parameters that round to these.

    Counted from 1, and not from the middle of the runs, theta is a published parameter or its ln.
    """
    law, d = problem.law, problem.data
    centre = dict.fromkeys(problem.centre, 1.0)
    shift = np.array([np.log(problem.centre[v]) for v in law.variables])
    ends = []
    for way in (-1, 1):
        moved = {n: x if n in problem.fixed else _moved(x, way * halves[n]) for n, x in params.items()}
        ends.append(law.to_theta(moved, centre))
    data = Data(law, d.features + shift, d.log_loss, d.weights)
    start = law.to_theta(params, centre)[None]
    return float(solve(data, problem.goal, start, (ends[0], ends[1])).value[0])


def _moved(x: float, by: float) -> float:
    """Return x + by; a digit that leaves nothing of a positive parameter says no more than a tenth of it."""
    return max(x + by, 0.1 * x) if x > 0 else x + by


def _largest_rise(problem: Problem, minimum: Array, halves: Mapping[str, float]) -> float:
    """Return how far the objective rises in the farthest corner of the box of half units around a minimum."""
    law = problem.law
    params = {name: float(value) for name, value in law.to_params(minimum, problem.centre).items()}
    free = [name for name in law.names if name not in problem.fixed]
    moved = []
    for n in free:
        ends = [{**params, n: _moved(params[n], way * halves[n])} for way in (-1, 1)]
        low, high = (law.to_theta(end, problem.centre) for end in ends)
        moved.append((high - low) / 2)
    corners = np.array(list(product((-1.0, 1.0), repeat=len(free)))[:MOST_CORNERS])
    thetas = minimum + corners @ np.stack(moved)
    values = problem.data.value(thetas, problem.goal)
    return float(np.nanmax(values)) - problem.value(minimum)
