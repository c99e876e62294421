"""How often intervals of a speed-up hold the truth, on simulated pairs of tables.

Run as `python -m tests.scaling.speedups.coverage [TABLES]`. docs/speedup.md has what it printed.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lora_jax.scaling.joint.group_laws import HowToFit, fit_alone, law_alone, laws_together
from lora_jax.scaling.laws import CHINCHILLA, power_law
from lora_jax.scaling.speedups.ratio import Ratio, ratio_along, ratio_of_compute, ratio_of_run
from lora_jax.scaling.tables.run_table import RunTable
from lora_jax.scaling.tables.table import make_table
from tests.scaling.near import fit_near

E, ALPHA, BETA = 1.69, 0.34, 0.28  # Hoffmann et al. 2203.15556
BASELINE, BETTER = (406.4, 410.7), (380.0, 370.0)  # A and B
NOISE = 0.005
SIZES, TOKENS = np.geomspace(5e7, 1.5e10, 6), np.geomspace(1e9, 1e11, 5)
MIDDLE = 6 * np.exp(np.log(SIZES).mean() + np.log(TOKENS).mean())


@dataclass(frozen=True)
class Truth:
    """The mean loss of a recipe, a law with a smooth misfit of its own."""

    scales: tuple[float, float]
    waves: np.ndarray  # (K, 3): wave numbers in ln N and ln D, and phase
    size: float  # sd of ln L

    def __call__(self, n: np.ndarray, d: np.ndarray) -> np.ndarray:
        law = E + self.scales[0] * n**-ALPHA + self.scales[1] * d**-BETA
        x = (np.log(n) - np.log(SIZES).mean()) / np.ptp(np.log(SIZES))
        y = (np.log(d) - np.log(TOKENS).mean()) / np.ptp(np.log(TOKENS))
        phases = np.multiply.outer(x, self.waves[:, 0]) + np.multiply.outer(y, self.waves[:, 1])
        bent = np.cos(phases + self.waves[:, 2]).sum(-1) * np.sqrt(2 / len(self.waves))
        return law * np.exp(self.size * bent)


def make_truth(scales: tuple[float, float], size: float, rng: np.random.Generator) -> Truth:
    waves = np.column_stack([rng.normal(0, 4, (20, 2)), rng.uniform(0, 2 * np.pi, 20)])
    return Truth(scales, waves, size)


def draw_table(truth: Truth, noise: float, rng: np.random.Generator) -> RunTable:
    n, d = (x.ravel() for x in np.meshgrid(SIZES, TOKENS))
    loss = truth(n, d) * np.exp(noise * rng.standard_normal(len(n)))
    return make_table("simulated", n_params=n, n_tokens=d, loss=loss)


def least_loss(truth: Truth, flops: float) -> float:
    """Return the least loss of a budget, on a fine grid of sizes."""
    n = np.geomspace(3e6, 3e11, 4000)
    return float(truth(n, flops / 6 / n).min())


def true_ratio(first: Truth, second: Truth, flops: float) -> float:
    """Return the compute with which the first recipe reaches the loss of the second, over that of it."""
    wanted, low, high = least_loss(second, flops), np.log(flops) - 3, np.log(flops) + 3
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if least_loss(first, np.exp(middle)) <= wanted else (middle, high)
    return float(np.exp(high) / flops)


def holds(ratio: Ratio, truth: float) -> bool:
    low, high = ratio.estimate().interval
    return low <= truth <= high


def of_compute(seed: int, misfit: float = 0.0, shared: tuple[str, ...] = ()) -> tuple[bool, float]:
    """Return whether the interval of C_A / C_B holds the truth, and ln of its width over."""
    rng = np.random.default_rng((seed, 1))
    truths = [make_truth(scales, misfit, rng) for scales in (BASELINE, BETTER)]
    tables = [draw_table(truth, NOISE, rng) for truth in truths]
    how = HowToFit(CHINCHILLA, shared=shared, n_bootstrap=200, seed=seed)
    if shared:
        laws = laws_together(tables, how)
    else:
        given = [dict(E=E, A=t.scales[0], B=t.scales[1], alpha=ALPHA, beta=BETA) for t in truths]
        fits = [fit_near(how.law, table, t, how.goal) for table, t in zip(tables, given, strict=True)]
        laws = [law_alone(found, how, stream=k) for k, found in enumerate(fits)]
    found = ratio_of_compute(laws[0], laws[1], MIDDLE, seed)
    low, high = found.estimate().interval
    return holds(found, true_ratio(truths[0], truths[1], MIDDLE)), float(np.log(high / low))


def of_tokens(seed: int) -> tuple[bool, float]:
    """The same of D_A / D_B at one N, of laws of D alone over eight lengths."""
    rng = np.random.default_rng((seed, 2))
    d = np.geomspace(1e9, 1e11, 8)
    tables = [
        make_table("s", n_tokens=d, loss=(2 + b * d**-0.28) * np.exp(NOISE * rng.standard_normal(8)))
        for b in (410.7, 370.0)
    ]
    how = HowToFit(power_law("D", irreducible=True), n_bootstrap=200, seed=seed)
    laws = [law_alone(fit_alone(table, how), how, stream=k) for k, table in enumerate(tables)]
    found = ratio_along(laws[0], laws[1], "D", {"D": 1e10}, seed)
    low, high = found.estimate().interval
    return holds(found, (410.7 / 370.0) ** (1 / 0.28)), float(np.log(high / low))


def of_runs(seed: int) -> tuple[bool, float]:
    """The same of measured runs against a law for each of three sizes, three parameters on four points."""
    rng = np.random.default_rng((seed, 3))
    x, noise = np.array([1.0, 2.0, 4.0, 8.0]), 0.0005
    floors = (3.11, 2.91, 2.79)
    tables = [
        make_table("s", x=x, loss=(e + 0.4 * x**-0.48) * np.exp(noise * rng.standard_normal(4)))
        for e in floors
    ]
    how = HowToFit(power_law("x", irreducible=True), n_bootstrap=200, seed=seed)
    laws = laws_together(tables, how)
    loss = (floors[0] + 0.4 * (1.3 * 4) ** -0.48) * np.exp(noise * rng.standard_normal())
    found = ratio_of_run(laws[0], loss, 1, "x", {"x": 4.0}, seed)
    low, high = found.estimate().interval
    return holds(found, 1.3), float(np.log(high / low))


CASES: dict[str, Callable[[int], tuple[bool, float]]] = {
    "C_A / C_B, the law is true": of_compute,
    "the same, one floor": lambda seed: of_compute(seed, shared=("E",)),
    "C_A / C_B, the law misses by 0.3 %": lambda seed: of_compute(seed, misfit=0.003),
    "C_A / C_B, the law misses by 1 %": lambda seed: of_compute(seed, misfit=0.01),
    "D_A / D_B at one N, eight lengths": of_tokens,
    "runs against four points a size": of_runs,
}


def measure(case: str, seeds: range) -> tuple[float, float, float]:
    """Return the share of intervals that hold the truth, its Monte-Carlo error, and the median width."""
    found = [CASES[case](seed) for seed in seeds]
    share = float(np.mean([yes for yes, _ in found]))
    return share, float(np.sqrt(share * (1 - share) / len(found))), float(np.median([w for _, w in found]))


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for case in CASES:
        begun = time.process_time()
        share, error, width = measure(case, range(n))
        seconds = time.process_time() - begun
        print(f"{case:40} {share:6.1%} +- {error:.1%}   width {width:.3f} of ln   {seconds:.0f} s")


if __name__ == "__main__":
    main()
