"""Approach 2: the minimum over ln N of each compute budget's loss, and power laws through the minima.

A parabola finds the minima (Hoffmann et al. 2203.15556, section 3.2), or Akima interpolation (Porian et al.
2406.19146). A parabola is symmetric in ln N and the loss is not. So its vertex is shifted: N* by a constant
factor, and also `a` if the runs of different budgets lie differently about their minima (2603.22339). Akima
has no such bias, but it follows the noise. With 0.5 % noise on 6 budgets of 9 runs within a factor of 4 of
N*, the standard deviation of `a` was .046 for Akima and .011 for the parabola (300 simulated tables of
Chinchilla's law).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.estimate import Estimate
from lora_jax.scaling.intervals.uncertainty import interval
from lora_jax.scaling.optima.approach_report import (
    BudgetMinimum,
    IsoFlopResult,
    Optimum,
    RefusedBudget,
    Sensitivity,
)
from lora_jax.scaling.optima.budget_curves import Array, evaluate, group_by_budget
from lora_jax.scaling.optima.budget_minima import (
    FEWEST_BUDGETS,
    Minima,
    find_minima,
    to_loss,
    to_scale,
)
from lora_jax.scaling.optima.isoflop_doubts import compare, of_curves, of_design, of_exponent
from lora_jax.scaling.optima.optimum_laws import OptimumLaws
from lora_jax.scaling.prediction.reach import falling
from lora_jax.scaling.tables.table import RunTable
from lora_jax.scaling.verdict import Verdict, verdict_of

METHODS = ("parabola", "akima")
SCALES = ("log", "linear")
CURVE_POINTS = 81
BAND_POINTS = 25


@dataclass(frozen=True)
class IsoFlop:
    """The result of approach 2: N*(C) = G_N C^a and D*(C) = G_D C^b, through the minima of the budgets.

    Attributes:
        source: The table.
        method: How each minimum was found, "parabola" or "akima".
        scale: What the parabola was fitted to, "log" or "linear".
        budgets: The budgets with a minimum.
        refused: The budgets without one, each with a reason.
        exponents: a, b, G_N and G_D with their intervals.
        noise_sd: Standard deviation of ln L of one run. None if the runs do not tell.
        scatter_sd: Standard deviation of ln N* between budgets, beyond what that noise explains.
        sensitivity: `a` by the other method, on the budgets that both accept, and in words how the two
            differ.
        draws: Bootstrap replicates (R, 4) of ln G_N, a, ln G_D and b.
    """

    source: str
    method: str
    scale: str
    budgets: tuple[BudgetMinimum, ...]
    refused: tuple[RefusedBudget, ...]
    exponents: Mapping[str, Estimate]
    noise_sd: float | None
    scatter_sd: float
    sensitivity: Sensitivity
    warnings: tuple[str, ...]
    laws: OptimumLaws = field(repr=False)

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.warnings)

    def at(self, flops: float) -> Optimum:
        """Return N*, D* and D/N of the power laws at a budget, within the runs or beyond."""
        return self.laws.at(flops)

    def result(self) -> IsoFlopResult:
        """Return the result as it is printed and written to fit.json."""
        return IsoFlopResult(
            self.source,
            self.method,
            self.scale,
            self.exponents,
            self.budgets,
            self.refused,
            self.noise_sd,
            self.scatter_sd,
            self.laws.bands(_span(self.budgets)),
            self.sensitivity,
        )


def isoflop(
    table: RunTable,
    *,
    method: str = "parabola",
    scale: str = "log",
    budgets: Sequence[float] | None = None,
    tolerance: float = 0.05,
    within: float | None = None,
    noise_sd: float | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> IsoFlop:
    """Find N*(C) and D*(C) from the minimum of the loss over ln N at each compute budget.

    This is Chinchilla's approach 2. A power law through the minima gives N*(C) and D*(C).

    Each bootstrap replicate adds noise to the losses and finds the minima again. The sd of a replicate's
    noise is itself drawn, as s sqrt(nu / chi2_nu). A minimum at the edge of the runs counts as that edge. The
    interval of `a` also includes the scatter of the budgets about the power law beyond that noise.

    A budget is refused, with a reason, in four cases: it has fewer than 3 sizes; its minimum lies at the edge
    of the runs or outside; its parabola opens downward; or half of the noise draws put its minimum at the
    edge or outside.

    Args:
        table: The runs, with N, C and a loss.
        method: "parabola" fits a parabola over ln N by least squares. "akima" interpolates ln L on a 25 times
            finer grid and takes the lowest point.
        scale: What the parabola fits: "log" for ln L, "linear" for L.
        budgets: Budgets in FLOPs to group the runs around. None finds them from the runs (`group_by_budget`).
        tolerance: Relative distance in C within which a run belongs to a budget.
        within: Use only runs whose N is within this factor of the best run's N. None uses all runs.
        noise_sd: Standard deviation of ln L between seeds. None estimates it from residuals: for "parabola"
            those of all runs used, so that a poor fit widens the intervals, for "akima" those of a parabola
            through the nearest 5 runs.
        n_bootstrap: Bootstrap replicates behind the intervals.
        seed: Seed of the noise.

    Returns:
        The exponents with intervals, the minimum of each budget, the refused budgets, and a verdict.

    Raises:
        LoraJaxError: Fewer than 3 budgets are left, or a column is missing.

    Reference: Hoffmann et al. 2022 (arXiv 2203.15556), section 3.2; Porian et al. 2024 (arXiv 2406.19146).
    """
    for what, name, known in (("method", method, METHODS), ("scale", scale, SCALES)):
        if name not in known:
            raise LoraJaxError(
                f"Approach 2 has no {what} {name!r}{nearest(name, known)}: choose one of these."
            )
    if within is not None and not within > 1:
        raise LoraJaxError(
            f"Runs within a factor of {within:g} of the best were asked for: give one above 1."
        )
    if noise_sd is not None and not noise_sd > 0:
        raise LoraJaxError(f"The noise's sd is {noise_sd:g}: give the sd of ln L between seeds, above 0.")
    if n_bootstrap < 100:
        raise LoraJaxError(f"The bootstrap was asked for {n_bootstrap} replicates: ask for 100 or more.")
    if method == "akima" and scale == "linear":
        raise LoraJaxError("Akima interpolates ln L: leave the scale at 'log', or choose the parabola.")
    groups, n_left = group_by_budget(table, budgets, tolerance)
    if within is not None:
        groups = [runs.within(within) for runs in groups]
    found = find_minima(groups, method, scale, noise_sd, n_bootstrap, seed)
    if found.laws is None:
        reasons = "; ".join(f"{r.flops:.3g} FLOPs: {r.reason}" for r in found.refused)
        raise LoraJaxError(
            f"Approach 2 needs {FEWEST_BUDGETS} budgets whose minimum lies within the runs and"
            f" {table.source} has {len(found.runs)} ({reasons or 'no other budget'}): add smaller or larger"
            " sizes, or budgets."
        )
    other = find_minima(
        groups, METHODS[1 - METHODS.index(method)], "log", noise_sd, min(n_bootstrap, 300), seed
    )
    exponents = found.laws.exponents()
    sensitivity, differ = compare(found, other)
    warnings = [
        *table.doubts,
        *of_design(table, found, n_left),
        *of_curves(found, noise_sd),
        *falling(exponents),
        *of_exponent(exponents["a"]),
        *differ,
    ]
    return IsoFlop(
        table.source,
        method,
        scale,
        tuple(_row(found, i) for i in range(len(found.runs))),
        found.refused,
        exponents,
        found.noise_sd,
        found.scatter_sd,
        sensitivity,
        tuple(warnings),
        found.laws,
    )


def _row(found: Minima, i: int) -> BudgetMinimum:
    runs = found.runs[i]
    samples = {
        "n_params": np.exp(found.ln_n[:, i]),
        "n_tokens": np.exp(found.ln_d[:, i]),
        "tokens_per_param": np.exp(found.ln_d[:, i] - found.ln_n[:, i]),
        "loss": found.loss[:, i],
    }
    number: dict[str, Estimate] = {}
    for name, v in samples.items():
        unknown = Estimate(float(v[0]), None, None)
        number[name] = unknown if found.noise_sd is None else interval(float(v[0]), v[1:])
    grid = np.linspace(runs.ln_n[0], runs.ln_n[-1], CURVE_POINTS)
    curve = evaluate(found.method, runs.ln_n, to_scale(found.scale, runs.loss)[None], grid)[0]
    drawn = (np.exp(runs.ln_n), runs.loss, np.exp(grid), to_loss(found.scale, curve))
    sizes, losses, curve_sizes, curve_losses = (tuple(x.tolist()) for x in drawn)
    return BudgetMinimum(
        flops=runs.flops,
        **number,
        run_ids=runs.run_ids,
        sizes=sizes,
        losses=losses,
        curve_sizes=curve_sizes,
        curve_losses=curve_losses,
        at_edge=float(found.edge[i]),
    )


def _span(rows: Sequence[BudgetMinimum]) -> Array:
    flops = [row.flops for row in rows]
    return np.geomspace(min(flops), max(flops), BAND_POINTS)
