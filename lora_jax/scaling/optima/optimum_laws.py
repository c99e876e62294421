"""The power laws N*(C) = G_N C^a and D*(C) = G_D C^b of approaches 1 and 2, with replicates."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.intervals.uncertainty import Interval, interval

Array = NDArray[np.float64]
LARGEST_LN = 690.0  # exp of more overflows


@dataclass(frozen=True)
class OptimumLaws:
    """lines (1 + R, 4): ln G_N, a, ln G_D, b; the answer first, then R replicates. C in FLOPs."""

    lines: Array

    def exponents(self) -> dict[str, Interval]:
        """Return a, b, G_N (parameters at 1 FLOP) and G_D (tokens), each with its interval."""
        ln_g_n, a, ln_g_d, b = self.lines.T
        samples = {"a": a, "b": b, "G_N": _power(ln_g_n), "G_D": _power(ln_g_d)}
        return {name: interval(float(v[0]), v[1:]) for name, v in samples.items()}

    def at(self, flops: float) -> dict[str, Interval]:
        """Return N*, D* and D/N at a budget, within the runs or beyond, each with its interval."""
        if not (math.isfinite(flops) and flops > 0):
            raise LoraJaxError(f"The budget is {flops:g} FLOPs: give a number above 0.")
        ln_n, ln_d = self._logs(np.array([math.log(flops)]))
        samples = {"n_params": ln_n, "n_tokens": ln_d, "tokens_per_param": ln_d - ln_n}
        return {name: interval(float(_power(v[0, 0])), _power(v[1:, 0])) for name, v in samples.items()}

    def bands(self, flops: Array) -> dict[str, Any]:
        """Return n_params and n_tokens at budgets (m,), as {"value", "low", "high"} of the 95% band."""
        found: dict[str, Any] = {"flops": np.asarray(flops).tolist()}
        for name, logs in zip(("n_params", "n_tokens"), self._logs(np.log(flops)), strict=True):
            low, high = np.quantile(logs[1:], [0.025, 0.975], axis=0)
            found[name] = {
                k: _power(v).tolist() for k, v in (("value", logs[0]), ("low", low), ("high", high))
            }
        return found

    def _logs(self, ln_c: Array) -> tuple[Array, Array]:
        ln_g_n, a, ln_g_d, b = (column[:, None] for column in self.lines.T)
        return ln_g_n + a * ln_c, ln_g_d + b * ln_c


def slopes(ln_c: Array, values: Array) -> tuple[Array, Array]:
    """Return the intercepts and slopes (R,) of the least-squares lines of values (R, B) over ln C (B,)."""
    x = ln_c - ln_c.mean()
    slope = values @ x / (x @ x)
    return values.mean(1) - slope * ln_c.mean(), slope


def _power(ln_value: Array) -> Array:
    return np.exp(np.clip(ln_value, -LARGEST_LN, LARGEST_LN))
