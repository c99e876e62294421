"""Runs of known best rates, with noise."""

import math

import numpy as np

from lora_jax.scaling.rates.grids import RateRun
from lora_jax.scaling.rates.transfer import RateRuns

WIDTHS = (16, 32, 64, 128)
CURVATURE = 0.02  # of ln loss in ln rate: 1 % at a factor of 2 from the best


def rates(n: int = 7, middle: float = 1e-2, step: float = 2.0) -> list[float]:
    return [middle * step ** (k - n // 2) for k in range(n)]


def bowl(
    best: float,
    sizes: dict[str, float],
    rng: np.random.Generator,
    noise: float = 0.002,
    skew: float = 0.0,
    seed: int = 0,
    tried: list[float] | None = None,
    n_params: float | None = None,
) -> list[RateRun]:
    """Return the runs of one size: ln loss is 1 + .02 x^2 + skew x^3 + noise, x = ln(rate / best)."""
    offset = 0.02 * rng.standard_normal() if seed else 0.0
    runs = []
    for rate in tried or rates():
        x = math.log(rate / best)
        loss = math.exp(1 + CURVATURE * x * x + skew * x**3 + offset + noise * rng.standard_normal())
        runs.append(RateRun(f"r{rate:g}", rate, loss, False, sizes, seed=seed, n_params=n_params))
    return runs


def full_size(**axes: float) -> dict[str, float]:
    return {"width": 16.0, "depth": 2.0, "batch": 8.0, "tokens": 1e6} | axes


def given(runs: list[RateRun]) -> RateRuns:
    return RateRuns("made up", "optim.learning_rate", "loss", tuple(runs), {})
