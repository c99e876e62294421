"""How much more compute, or how many more tokens, the baseline needs for the loss of another recipe."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lora_jax.estimate import Estimate
from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.intervals.uncertainty import LEVELS
from lora_jax.scaling.joint.group_laws import GroupLaw
from lora_jax.scaling.laws.chinchilla import CHINCHILLA
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.prediction.allocation import ln_reaching, optimum, serving
from lora_jax.scaling.prediction.frontier import optimum as frontier_optimum

FARTHEST = 1e5  # of ln: stands for infinity where percentiles are taken


@dataclass(frozen=True)
class Ratio:
    """A speed-up at one place.

    Attributes:
        loss: The loss that both reach.
        needed: What the baseline needs for it, in FLOPs, tokens or another variable. It is inf if the
            baseline's law stays above the loss.
        spent: What the recipe needs for it.
        samples: Replicates of needed / spent, (B,). They are inf as `needed` is.
    """

    loss: float
    needed: float
    spent: float
    samples: Array

    @property
    def value(self) -> float:
        """The speed-up."""
        return self.needed / self.spent

    def estimate(self, times: float = 1.0, more: Array | float = 1.0) -> Estimate:
        """Return the speed-up with its 95 % interval, whose upper end is inf where no loss is so low.

        Args:
            times: Another factor, such as the ratio of the seconds that a token takes.
            more: Its replicates (B,).
        """
        with np.errstate(divide="ignore"):
            logs = np.log(self.samples * more)
        logs = np.clip(logs[~np.isnan(logs)], -FARTHEST, FARTHEST)
        low, left, right, high = np.quantile(logs, LEVELS, method="weibull")
        with np.errstate(over="ignore"):  # a ratio without limit
            se = float(np.exp(right / 2 - left / 2) - 1) * self.value * times
            ends = tuple(np.inf if x > FARTHEST / 2 else float(np.exp(x)) for x in (low, high))
        return Estimate(self.value * times, se if np.isfinite(se) else None, (ends[0], ends[1]))


def ratio_of_compute(first: GroupLaw, second: GroupLaw, flops: float, seed: int = 0) -> Ratio:
    """Return C_first / C_second at the loss that the second recipe reaches with C_second = `flops`.

    Each recipe splits its compute 6ND as its own law says is best.

    Args:
        first: The law of the baseline.
        second: The law of the recipe.
        flops: C_second.
        seed: Seed of the draws.
    """
    size = min(len(first.samples), len(second.samples))
    loss = least_loss(second.problem, second.theta[None], flops)
    needed = float(least_compute(first.problem, first.theta[None], loss)[0])
    moved = np.log(least_loss(second.problem, second.samples[:size], flops))
    moved += second.misfit_at(best_split(second, flops), seed)[:size]
    if np.isfinite(needed):
        moved -= first.misfit_at(best_split(first, needed), seed)[:size]
    samples = least_compute(first.problem, first.samples[:size], np.exp(moved)) / flops
    return Ratio(float(loss[0]), needed, flops, samples)


def best_split(law: GroupLaw, flops: float) -> dict[str, float]:
    """Return the N and D of a budget C = 6ND by a recipe's law. They are nan if it has no best split."""
    if law.problem.law == CHINCHILLA:
        params = {name: np.array([value]) for name, value in law.params.items()}
        found = frontier_optimum(params, flops)
        return {"N": float(found["n_params"][0]), "D": float(found["n_tokens"][0])}
    found = optimum(law.problem, law.theta[None], flops)
    return {"N": float(found["N*"][0]), "D": float(found["D*"][0])}


def least_compute(problem: Problem, theta: Array, loss: Array) -> Array:
    """Return the least C = 6ND (B,) with which a law of N and D reaches a loss; inf where none does.

    Chinchilla's law has a closed form, by which 2,000 replicates take no time. Any other law is searched.

    Args:
        theta: (B, P), parameters of the law.
        loss: The loss of each theta (B,). Where it is nan, so is C.
    """
    if problem.law != CHINCHILLA:
        found = serving(problem, theta, loss, 0)["FLOPs"]
        return np.where(np.isfinite(loss), np.nan_to_num(found, nan=np.inf), np.nan)
    params = problem.law.to_params(theta, problem.centre)
    alpha, beta = params["alpha"], params["beta"]
    at_one = frontier_optimum(params, 1.0)["loss"] - params["E"]  # both terms fall with the same power of C
    above = loss - params["E"]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        flops = (at_one / above) ** ((alpha + beta) / (alpha * beta))
    return np.where(above > 0, flops, np.where(np.isnan(loss), np.nan, np.inf))


def least_loss(problem: Problem, theta: Array, flops: float) -> Array:
    """Return the least loss at a budget C = 6ND, (B,), by a law of N and D.

    It is nan if the law has no best split.
    """
    if problem.law != CHINCHILLA:
        return optimum(problem, theta, flops)["loss"]
    return frontier_optimum(problem.law.to_params(theta, problem.centre), flops)["loss"]


def ratio_along(
    first: GroupLaw, second: GroupLaw, variable: str, at: Mapping[str, float], seed: int = 0
) -> Ratio:
    """Return x_first / x_second at the loss that the second law gives at x_second, for one variable x.

    Args:
        first: The law of the baseline.
        second: The law of the recipe.
        variable: x.
        at: The second recipe's place: its x, and the other variables, which both recipes have.
        seed: Seed of the draws.
    """
    size = min(len(first.samples), len(second.samples))
    features = second.problem.features_at(at)
    law = second.problem.law
    ln_loss = law.log_loss(second.theta, features)
    moved = law.log_loss(second.samples[:size], features)[:, 0] + second.misfit_at(at, seed)[:size]
    return _ratio(first, ln_loss, moved, variable, at, seed)


def ratio_of_run(
    first: GroupLaw, loss: float, n_seeds: int, variable: str, at: Mapping[str, float], seed: int = 0
) -> Ratio:
    """Return x_first / x at the loss of one cell that was measured at x, for one variable x.

    The noise of the cell is taken to be that of the runs behind the law.

    Args:
        first: The baseline.
        loss: The measured loss, the mean of n_seeds runs.
        n_seeds: The runs of the cell.
        variable: x.
        at: x, and the other variables of the law.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng((seed, 7))
    own = first.noise / np.sqrt(n_seeds) * rng.standard_normal(len(first.samples))
    ln_loss = np.array([np.log(loss)])
    return _ratio(first, ln_loss, ln_loss + own, variable, at, seed)


def _ratio(
    first: GroupLaw, ln_loss: Array, moved: Array, variable: str, at: Mapping[str, float], seed: int
) -> Ratio:
    """Return the ratio at a loss, its replicates at the losses `moved` (B,)."""
    problem, size, spent = first.problem, len(moved), float(at[variable])
    others = {v: float(x) for v, x in at.items() if v in problem.law.variables and v != variable}
    needed = float(np.exp(ln_reaching(problem, first.theta[None], ln_loss, variable, others)[0]))
    if np.isfinite(needed):
        moved = moved - first.misfit_at({**others, variable: needed}, seed)[:size]
    samples = ln_reaching(problem, first.samples[:size], moved, variable, others)
    return Ratio(float(np.exp(ln_loss[0])), needed, spent, np.exp(samples) / spent)
