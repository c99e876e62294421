"""The power laws N*(C) = G_N C^a and D*(C) = G_D C^b of approaches 1 and 2, with their replicates."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.scaling.intervals.uncertainty import interval
from lora_jax.scaling.optima.approach_report import Optimum, OptimumBand, OptimumBands

Array = NDArray[np.float64]
LARGEST_LN = 690.0  # exp of more overflows


@dataclass(frozen=True)
class OptimumLaws:
    """The two power laws, with C in FLOPs.

    Attributes:
        lines: ln G_N, a, ln G_D and b, (1 + R, 4). Row 0 is the answer, the other rows are replicates.
    """

    lines: Array

    def exponents(self) -> dict[str, Estimate]:
        """Return a, b, G_N (parameters at 1 FLOP) and G_D (tokens), each with its interval."""
        ln_g_n, a, ln_g_d, b = self.lines.T
        samples = {"a": a, "b": b, "G_N": _power(ln_g_n), "G_D": _power(ln_g_d)}
        return {name: interval(float(v[0]), v[1:]) for name, v in samples.items()}

    def at(self, flops: float) -> Optimum:
        """Return N*, D* and D/N at a budget in FLOPs, each with its interval. It may lie beyond the runs.

        Raises:
            LoraJaxError: The budget is not a number above 0.
        """
        if not (math.isfinite(flops) and flops > 0):
            raise LoraJaxError(f"The budget is {flops:g} FLOPs: give a number above 0.")
        ln_n, ln_d = self._logs(np.array([math.log(flops)]))
        return Optimum(flops, *(_number(logs) for logs in (ln_n, ln_d, ln_d - ln_n)))

    def bands(self, flops: Array) -> OptimumBands:
        """Return N* and D* at budgets (m,), with their 95 % bands."""
        ln_n, ln_d = self._logs(np.log(flops))
        return OptimumBands(tuple(np.asarray(flops).tolist()), _band(ln_n), _band(ln_d))

    def _logs(self, ln_c: Array) -> tuple[Array, Array]:
        ln_g_n, a, ln_g_d, b = (column[:, None] for column in self.lines.T)
        return ln_g_n + a * ln_c, ln_g_d + b * ln_c


def slopes(ln_c: Array, values: Array) -> tuple[Array, Array]:
    """Return intercepts and slopes, (R,) each, of the least-squares lines of values (R, B) over ln C (B,)."""
    x = ln_c - ln_c.mean()
    slope = values @ x / (x @ x)
    return values.mean(1) - slope * ln_c.mean(), slope


def _number(logs: Array) -> Estimate:
    """Return the number of logs (1 + R, 1), with its interval."""
    return interval(float(_power(logs[0, 0])), _power(logs[1:, 0]))


def _band(logs: Array) -> OptimumBand:
    """Return the band of logs (1 + R, m)."""
    low, high = np.quantile(logs[1:], [0.025, 0.975], axis=0)
    return OptimumBand(*(tuple(_power(ends).tolist()) for ends in (logs[0], low, high)))


def _power(ln_value: Array) -> Array:
    return np.exp(np.clip(ln_value, -LARGEST_LN, LARGEST_LN))
