"""Runs of known best pairs of rate and batch size, with noise."""

import math
from collections.abc import Sequence

import numpy as np

from lora_jax.scaling.rates.grids import RateRun
from lora_jax.scaling.rates.transfer import RateRuns

HESSIAN = (0.04, -0.012, 0.025)  # of ln loss: rate rate, rate batch, batch batch
RIDGE = 0.3  # the power of the batch with which the best rate moves, by this hessian
SIZES = [(n, d) for n in (1e7, 4e7, 1.6e8) for d in (1e9, 4e9, 1.6e10)]
AT = {"rate": (-0.5, 0.25), "batch": (-0.1, 0.5)}  # exponents of N and D
FIRST = {"rate": 4e-3, "batch": 64.0}  # at N = 4e7 and D = 4e9


def rates(n: int = 6, middle: float = 3e-3, step: float = 2.0) -> list[float]:
    return [middle * step ** (k - (n - 1) / 2) for k in range(n)]


def batches(n: int = 6, middle: float = 64.0, step: float = 2.0) -> list[float]:
    return [middle * step ** (k - (n - 1) / 2) for k in range(n)]


def best_at(n: float, d: float) -> tuple[float, float]:
    """Return the true best pair of a size."""
    rate, batch = (
        FIRST[what] * (n / 4e7) ** AT[what][0] * (d / 4e9) ** AT[what][1] for what in ("rate", "batch")
    )
    return rate, batch


def surface(
    best: tuple[float, float],
    sizes: dict[str, float],
    rng: np.random.Generator,
    noise: float = 0.002,
    grid: tuple[Sequence[float], Sequence[float]] | None = None,
    hessian: tuple[float, float, float] = HESSIAN,
    seeds: Sequence[int] = (0,),
    skew: float = 0.0,
) -> list[RateRun]:
    """Return the runs of one size: ln loss is 1 + x' H x / 2 + skew x_rate^3 + noise around the best pair."""
    xx, xy, yy = hessian
    runs = []
    for seed in seeds:
        offset = 0.02 * rng.standard_normal() if seed else 0.0
        for rate in (grid or (rates(), batches()))[0]:
            for batch in (grid or (rates(), batches()))[1]:
                x, y = math.log(rate / best[0]), math.log(batch / best[1])
                ln_loss = 1 + xx * x * x / 2 + xy * x * y + yy * y * y / 2 + skew * x**3
                loss = math.exp(ln_loss + offset + noise * rng.standard_normal())
                axes = sizes | {"batch": batch}
                runs.append(
                    RateRun(
                        f"r{rate:g}b{batch:g}", rate, loss, False, axes, seed=seed, n_params=sizes.get("N")
                    )
                )
    return runs


def table(rng: np.random.Generator, noise: float = 0.002, scatter: float = 0.0, **more) -> list[RateRun]:
    """Return the runs of every size, each on a grid around its best pair, as one would plan it."""
    runs = []
    for n, d in SIZES:
        rate, batch = best_at(n, d)
        shift = np.exp(rng.uniform(-0.4, 0.4, 2))
        grid = (rates(middle=rate * shift[0]), batches(middle=batch * shift[1]))
        at = (
            rate * math.exp(scatter * rng.standard_normal()),
            batch * math.exp(scatter * rng.standard_normal()),
        )
        runs += surface(at, {"N": n, "tokens": d}, rng, noise, grid, **more)
    return runs


def given(runs: list[RateRun]) -> RateRuns:
    return RateRuns("made up", "optim.learning_rate", "loss", tuple(runs), {})
