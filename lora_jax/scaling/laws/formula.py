"""Laws written as one formula of theta and centred logarithms; derivatives by jets.py."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lora_jax.scaling.laws import jets
from lora_jax.scaling.laws.law import MOST_STARTS, Array, Law, Slopes
from lora_jax.scaling.laws.power_sum import best_starts

Named = Mapping[str, Any]  # theta by parameter: jets, or arrays that broadcast against (n,)
Columns = Mapping[str, Array]  # ln(x / x0) by variable, each (n,)
MOST_NUMBERS = 4_000_000  # of the largest array of second derivatives at a time: 32 MB


@dataclass(frozen=True, kw_only=True)
class Formula(Law):
    """A law by its formula.

    log_of(theta, x) returns ln of the response. grid: for some parameters the values of theta to start from;
    complete(theta, x, log_response) gives the others (floats) at one point of the grid.
    """

    log_of: Callable[[Named, Columns], Any]
    grid: Mapping[str, Array]
    complete: Callable[[Mapping[str, float], Columns, Array], Mapping[str, float]]

    def _columns(self, features: Array) -> Columns:
        return {v: features[..., i] for i, v in enumerate(self.variables)}

    def log_response(self, theta: Array, features: Array) -> Array:
        named = {name: theta[..., i, None] for i, name in enumerate(self.names)}
        with np.errstate(over="ignore", invalid="ignore"):
            value = self.log_of(named, self._columns(features))
        return value + np.zeros(np.broadcast_shapes((*theta.shape[:-1], 1), features.shape[:-1]))

    def slopes(self, theta: Array, features: Array) -> Slopes:
        n_params, n = theta.shape[1], len(features)
        at_once = max(1, MOST_NUMBERS // (n * n_params**2))
        parts = [self._slopes(theta[i : i + at_once], features) for i in range(0, len(theta), at_once)]
        value, jacobian, hessian = (np.concatenate(column) for column in zip(*parts, strict=True))
        across = np.ascontiguousarray(np.swapaxes(jacobian, 1, 2))

        def bend(weights: Array) -> Array:
            flat = hessian.reshape(len(theta), n, n_params**2)
            within = (weights[:, None, :] @ flat).reshape(-1, n_params, n_params)
            return within + (across * weights[:, None]) @ np.swapaxes(across, 1, 2)

        return Slopes(value, across, bend)

    def _slopes(self, theta: Array, features: Array) -> tuple[Array, Array, Array]:
        size, n, n_params = len(theta), len(features), theta.shape[1]
        named = dict(zip(self.names, jets.variables(theta), strict=True))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            jet = self.log_of(named, self._columns(features))
        hessian = np.zeros((1, 1, 1, 1)) if jet.hessian is None else jet.hessian
        return (
            np.broadcast_to(jet.value, (size, n)),
            np.broadcast_to(jet.gradient, (size, n, n_params)),
            np.broadcast_to(hessian, (size, n, n_params, n_params)),
        )

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
