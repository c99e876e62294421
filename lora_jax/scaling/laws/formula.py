"""Laws that are written as one formula of theta and centred logarithms. `jets.py` gives their derivatives."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lora_jax.scaling.laws import jets
from lora_jax.scaling.laws.law import MOST_STARTS, Array, Law, Slopes
from lora_jax.scaling.laws.power_sum import best_starts

Named = Mapping[str, Any]  # theta by parameter: jets, or arrays that broadcast against (n,)
Given = Mapping[str, float]  # theta of some of the parameters
Columns = Mapping[str, Array]  # ln(x / x0) by variable, each (n,)


@dataclass(frozen=True, kw_only=True)
class Formula(Law):
    """A law that is given by its formula.

    Attributes:
        log_of: Function (theta, x) that returns ln of the response.
        grid: Values of theta to start from, for some of the parameters.
        complete: Function (theta, x, ln response) that gives the other parameters at one point of the grid.
    """

    log_of: Callable[[Named, Columns], Any]
    grid: Mapping[str, Array]
    complete: Callable[[Given, Columns, Array], Mapping[str, float]]

    def _columns(self, features: Array) -> Columns:
        return {v: features[..., i] for i, v in enumerate(self.variables)}

    def log_response(self, theta: Array, features: Array) -> Array:
        named = {name: theta[..., i, None] for i, name in enumerate(self.names)}
        with np.errstate(over="ignore", invalid="ignore"):
            value = self.log_of(named, self._columns(features))
        return value + np.zeros(np.broadcast_shapes((*theta.shape[:-1], 1), features.shape[:-1]))

    def slopes(self, theta: Array, features: Array) -> Slopes:
        shape = (len(theta), theta.shape[1], features.shape[-2])
        named = dict(zip(self.names, jets.variables(theta), strict=True))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            jet = self.log_of(named, self._columns(features))
        value, across = np.broadcast_to(jet.value, (shape[0], shape[2])), np.broadcast_to(jet.gradient, shape)
        return Slopes(value, across, jet.contract, is_of_log=True)

    def starts(
        self,
        features: Array,
        log_response: Array,
        score: Callable[[Array], Array],
        fixed: Mapping[str, float],
        keep: int = MOST_STARTS,
    ) -> Array:
        low, high = self.bounds(log_response)
        columns = self._columns(features)
        grid = {name: [fixed[name]] if name in fixed else values for name, values in self.grid.items()}
        thetas = []
        for point in itertools.product(*grid.values()):
            given = dict(zip(grid, map(float, point), strict=True))
            whole = {**given, **self.complete(given, columns, log_response), **fixed}
            theta = np.array([whole[name] for name in self.names])
            thetas.append(np.where([n in fixed for n in self.names], theta, np.clip(theta, low, high)))
        return best_starts(np.array(thetas), score, keep)
