"""The minima of all budgets by one method, with the runs' noise, and the power laws through them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.percent import percent
from lora_jax.scaling.optima.approach_report import RefusedBudget
from lora_jax.scaling.optima.budget_curves import (
    LOCAL_RUNS,
    Array,
    BudgetRuns,
    evaluate,
    locate,
    noise_of,
    why_refused,
)
from lora_jax.scaling.optima.optimum_laws import OptimumLaws, slopes

FEWEST_BUDGETS = 3


@dataclass(frozen=True)
class Minima:
    """The minima of the B budgets that have one.

    Row 0 of an array is the answer, the other R rows are replicates.

    Attributes:
        method: "parabola" or "akima".
        scale: "log" if the curves go through ln L, "linear" if through L.
        runs: The runs of each budget.
        refused: The budgets without a minimum.
        ln_n: ln N*, (1 + R, B).
        ln_d: ln D*, (1 + R, B).
        loss: L*, (1 + R, B).
        edge: Share of the replicates whose minimum lies at or beyond the smallest or the largest size, (B,).
        noise_sd: Standard deviation of one run's ln L.
        scatter_sd: Standard deviation of ln N* between budgets, beyond what that noise explains.
        laws: The power laws. None if fewer than FEWEST_BUDGETS budgets are left.
    """

    method: str
    scale: str
    runs: tuple[BudgetRuns, ...]
    refused: tuple[RefusedBudget, ...]
    ln_n: Array
    ln_d: Array
    loss: Array
    edge: Array
    noise_sd: float | None
    scatter_sd: float
    laws: OptimumLaws | None

    @property
    def ln_c(self) -> Array:
        return np.log([runs.flops for runs in self.runs])


def to_scale(scale: str, loss: Array) -> Array:
    """Return what a curve is drawn through: ln L on the scale "log", L on the scale "linear"."""
    return np.log(loss) if scale == "log" else loss


def to_loss(scale: str, values: Array) -> Array:
    """Return the losses of values on a scale, the inverse of `to_scale`."""
    return np.exp(values) if scale == "log" else values


def find_minima(
    groups: Sequence[BudgetRuns], method: str, scale: str, noise_sd: float | None, n: int, seed: int
) -> Minima:
    """Find the minimum of every budget, find it again under noise, and fit the power laws (see `isoflop`).

    Args:
        groups: The runs of each budget.
        method: "parabola" or "akima".
        scale: "log" or "linear".
        noise_sd: Standard deviation of one run's ln L. None estimates it from residuals.
        n: Number of replicates.
        seed: Seed of the noise.
    """
    reasons = [why_refused(method, runs, to_scale(scale, runs.loss)) for runs in groups]
    kept = [runs for runs, reason in zip(groups, reasons, strict=True) if reason is None]
    refused = [_refuse(runs, why) for runs, why in zip(groups, reasons, strict=True) if why is not None]
    # what "akima" passes through has no residuals: those of the nearest runs' parabola stand in
    sd, dof = noise_of([(r, scale) for r in kept]) if method == "parabola" else local_noise(kept)
    draws = np.zeros(n)
    if noise_sd is not None:
        sd, draws = noise_sd, np.full(n, noise_sd)
    elif sd is not None:
        draws = sd * np.sqrt(dof / np.random.default_rng((seed, 0)).chisquare(dof, size=n))
    columns: list[tuple[Array, Array, Array, float]] = []
    runs_found: list[BudgetRuns] = []
    for runs in kept:
        ln_n, loss, edge = _under_noise(runs, method, scale, draws, seed)
        if edge > 0.5:
            why = f"under its noise the minimum is at the edge of the runs {percent(edge)} of the time"
            refused.append(_refuse(runs, why))
            continue
        runs_found.append(runs)
        columns.append((ln_n, runs.ln_tokens(ln_n), loss, edge))
    shape = (n + 1, len(columns))
    ln_n, ln_d, loss = (np.array([c[i] for c in columns]).T.reshape(shape) for i in range(3))
    scatter, laws = 0.0, None
    if len(columns) >= FEWEST_BUDGETS:
        ln_c = np.log([runs.flops for runs in runs_found])
        scatter, laws = _power_laws(ln_c, ln_n, ln_d, np.random.default_rng((seed, 1)))
    refused.sort(key=lambda r: r.flops)
    edges = np.array([c[3] for c in columns])
    return Minima(
        method, scale, tuple(runs_found), tuple(refused), ln_n, ln_d, loss, edges, sd, scatter, laws
    )


def local_noise(groups: Sequence[BudgetRuns]) -> tuple[float | None, int]:
    """Return the noise about a parabola through the runs nearest to each minimum, as `noise_of` does."""
    return noise_of([(runs.nearest(LOCAL_RUNS), "log") for runs in groups])


def _refuse(runs: BudgetRuns, why: str) -> RefusedBudget:
    sizes, losses = (tuple(x.tolist()) for x in (np.exp(runs.ln_n), runs.loss))
    return RefusedBudget(runs.flops, why, runs.run_ids, sizes, losses)


def _under_noise(
    runs: BudgetRuns, method: str, scale: str, draws: Array, seed: int
) -> tuple[Array, Array, float]:
    """Return ln N* and L* (1 + R,) with noise of each sd in draws (R,), and the share at the edge."""
    y = to_scale(scale, runs.loss)
    base = evaluate(method, runs.ln_n, y[None], runs.ln_n)[0] if method == "parabola" else y
    # the stream belongs to the budget: another budget more or less changes nothing here
    rng = np.random.default_rng((seed, 2, round(1e6 * abs(math.log(runs.flops)))))
    unit = 1.0 if scale == "log" else runs.loss  # an error of ln L, as one of L
    noisy = base + draws[:, None] * rng.standard_normal((len(draws), len(runs))) * unit
    place, value, side = locate(method, runs.ln_n, np.concatenate([y[None], noisy]))
    return place, to_loss(scale, value), float((side[1:] != 0).mean())


def _power_laws(ln_c: Array, ln_n: Array, ln_d: Array, rng: np.random.Generator) -> tuple[float, OptimumLaws]:
    """Return the sd of the scatter between budgets and the laws with their replicates.

    The scatter's variance is that about the line, on B - 2 degrees of freedom, less the replicates' own; each
    replicate draws its sd anew, so that scatter alone gives the Student t interval of the slope.
    """
    dof, n = len(ln_c) - 2, len(ln_n) - 1
    intercept, slope = slopes(ln_c, ln_n[:1])
    about = ((ln_n[0] - intercept[0] - slope[0] * ln_c) ** 2).sum() / dof
    scatter = math.sqrt(max(0.0, float(about - ln_n[1:].var(0).mean())))
    sd = scatter * np.sqrt(dof / rng.chisquare(dof, size=n))
    shift = np.concatenate([np.zeros((1, len(ln_c))), sd[:, None] * rng.standard_normal((n, len(ln_c)))])
    # at a budget C = 6ND a larger N* is a smaller D*
    lines = np.stack([*slopes(ln_c, ln_n + shift), *slopes(ln_c, ln_d - shift)], axis=1)
    return scatter, OptimumLaws(lines)
