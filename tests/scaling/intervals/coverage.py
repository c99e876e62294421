"""Do 95% intervals hold the truth in 95 of 100 tables? Chinchilla's law with Hoffmann's constants, 2% noise.

Run as `python -m tests.scaling.intervals.coverage [TABLES]` for grid(8, 6) and so many tables.

The coverage of alpha, beta, a and of L at ten times the largest C was measured with `coverage` below, the
default bootstrap of the default fit (Huber 1e-3), 200 replicates a table. Every batch is listed. The rule was
chosen on other designs (N over 100-fold, D over 30-fold) with noise of seeds below 150, so that only batches
from seed 2000 on are wholly fresh. One sd of a share is 1% at 500 tables, 1.3% at 300, 2% at 100:

    runs  design                  seeds      alpha  beta    a     L
    240   Besiroglu's N, D     2000-2499      .950  .960  .956  .950
    240   Besiroglu's N, D        0-299       .943  .947  .927  .940
    240   scatter(240)            0-299       .947  .967  .950  .953
     48   grid(8, 6)           2000-2499      .966  .952  .950  .940
     48   grid(8, 6)              0-499       .960  .952  .940  .958
     30   grid(6, 5)           2000-2499      .974  .962  .968  .958
     30   grid(6, 5)              0-199       .925  .965  .940  .920
     30   as chosen on            0-99        .95   .94   .96   .93
     20   scatter(20)             0-99        .96   .99   .95   .99
     16   grid(4, 4)              0-99        .99   .97   1.00  .96
      8   scatter(8)              0-49        .86   .92   .98   .98
     48   grid(8, 6), cases       0-99        1.00  .99   1.00  .99
     48   grid(8, 6), squared     0-199       .980  .965  .950  .955
"""

import sys
from collections.abc import Iterable

import numpy as np

from lora_jax.scaling.intervals.uncertainty import bootstrap, interval
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.tables.run_table import RunTable
from lora_jax.scaling.tables.table import make_table
from tests.scaling.near import fit_near

E, A, ALPHA, B, BETA = 1.69, 406.4, 0.34, 410.7, 0.28  # Hoffmann et al. 2203.15556
TRUTH = {"E": E, "A": A, "alpha": ALPHA, "B": B, "beta": BETA}
NOISE = 0.02
Design = tuple[np.ndarray, np.ndarray]  # N (n,), D (n,)


def grid(n_sizes: int, n_counts: int) -> Design:
    """N over 300-fold, D over 100-fold, about as in Hoffmann et al."""
    sizes, counts = np.meshgrid(np.geomspace(5e7, 1.5e10, n_sizes), np.geomspace(1e9, 1e11, n_counts))
    return sizes.ravel(), counts.ravel()


def scatter(n: int) -> Design:
    """Return N and D drawn over the same ranges, the same for every table of a simulation."""
    rng = np.random.default_rng(7)
    return np.exp(rng.uniform(np.log(5e7), np.log(1.5e10), n)), np.exp(
        rng.uniform(np.log(1e9), np.log(1e11), n)
    )


def mean_loss(n_params: np.ndarray, n_tokens: np.ndarray) -> np.ndarray:
    return E + A * n_params**-ALPHA + B * n_tokens**-BETA


def noisy(design: Design, seed: int) -> RunTable:
    n_params, n_tokens = design
    noise = NOISE * np.random.default_rng((11, seed)).standard_normal(len(n_params))
    loss = mean_loss(n_params, n_tokens) * np.exp(noise)
    return make_table("simulated", n_params=n_params, n_tokens=n_tokens, loss=loss)


def coverage(
    design: Design, seeds: Iterable[int], n: int = 200, kind: str | None = None, objective: str = "huber"
) -> dict[str, float]:
    """Return the share of tables whose 95% interval holds the truth, for alpha, beta, a and the far loss."""
    flops = 10 * 6 * (design[0] * design[1]).max()
    a = BETA / (ALPHA + BETA)
    far_n = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA)) * (flops / 6) ** a
    far_d = flops / 6 / far_n
    truth = {"alpha": ALPHA, "beta": BETA, "a": a, "loss": float(mean_loss(far_n, far_d))}
    held: dict[str, list[bool]] = {name: [] for name in truth}
    for seed in seeds:
        found = fit_near(CHINCHILLA, noisy(design, seed), TRUTH, objective)
        replicates = bootstrap(found, n, seed=seed, kind=kind)
        intervals = {
            **replicates.intervals(),
            "a": replicates.interval_of(lambda p: p["beta"] / (p["alpha"] + p["beta"])),
            "loss": interval(
                float(found.predict(N=far_n, D=far_d)[0]), replicates.losses(N=far_n, D=far_d)[:, 0]
            ),
        }
        for name, value in truth.items():
            low, high = intervals[name].interval
            held[name].append(low <= value <= high)
    return {name: float(np.mean(yes)) for name, yes in held.items()}


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    for name, share in coverage(grid(8, 6), range(n)).items():
        print(f"{name:6} {share:.3f} +- {(share * (1 - share) / n) ** 0.5:.3f}")


if __name__ == "__main__":
    main()
