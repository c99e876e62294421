"""Bootstrap intervals of a fit, for its parameters and for anything computed from them.

Few runs (n < 25): parametric. The residual sd s has nu = n - p degrees of freedom and is itself uncertain, so
each replicate draws its own sd, s sqrt(nu / chi2_nu), before its noise; a linear law then gets the exact
Student t interval, where the plain bootstrap's is too short (by 2 at n = 5). Many runs: whole cells are drawn
with replacement, so that seeds of one cell do not count as different evidence. Replicates start from the fit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fit import Fit
from lora_jax.scaling.laws import Array
from lora_jax.scaling.newton import Data, solve

FEW_RUNS = 25
FAILED_GRADIENT = 1e-6  # a replicate with a larger gradient did not converge and is dropped
Interval = dict[str, Any]


@dataclass(frozen=True)
class Bootstrap:
    """Replicates theta (B, P) of a fit, and the sd (B,) of a single run's ln L in each."""

    fit: Fit
    kind: str
    theta: Array
    noise_sd: Array
    n_failed: int
    seed: int

    @property
    def n(self) -> int:
        """Replicates asked for."""
        return len(self.theta) + self.n_failed

    @property
    def params(self) -> dict[str, Array]:
        """Published parameters of the replicates, each (B,)."""
        return self.fit.law.to_params(self.theta, self.fit.problem.centre)

    def intervals(self) -> dict[str, Interval]:
        """Return the 95% interval of every parameter."""
        samples = self.params
        return {name: interval(value, samples[name]) for name, value in self.fit.params.items()}

    def interval_of(self, function: Callable[[dict[str, Array]], Array]) -> Interval:
        """Return the interval of a function of the published parameters, as {"A": (B,), ...} -> (B,)."""
        best = {name: np.array([value]) for name, value in self.fit.params.items()}
        return interval(float(function(best)[0]), function(self.params))

    def losses(self, **values: Array | float) -> Array:
        """Return the replicates' mean loss (B, m) at N=, D=, C= of () or (m,)."""
        return np.exp(self.fit.law.log_loss(self.theta, self.fit.problem.features_at(values)))

    def single_runs(self, **values: Array | float) -> Array:
        """Return draws (B, m) of what one new run would measure: the mean loss and a run's own noise."""
        rng = np.random.default_rng((self.seed, 1))
        means = self.losses(**values)
        return means * np.exp(self.noise_sd[:, None] * rng.standard_normal(means.shape))


def interval(value: float, samples: Array) -> Interval:
    """Return {"value", "se", "ci95"} with the percentiles 2.5 and 97.5 of the samples (B,).

    se is half the width of the central 68.3%: the sd of a normal, and finite where two or fewer degrees of
    freedom leave the sd without a limit.
    """
    low, left, right, high = np.quantile(samples, [0.025, 0.15865, 0.84135, 0.975])
    return {"value": float(value), "se": float(right / 2 - left / 2), "ci95": [float(low), float(high)]}


def bootstrap(
    fit: Fit,
    n: int = 400,
    *,
    seed: int = 0,
    kind: str | None = None,
    noise_sd: float | None = None,
    clusters: NDArray[np.generic] | None = None,
) -> Bootstrap:
    """Return `n` replicates of the fit.

    kind: "parametric" or "case"; None chooses by the number of runs. noise_sd: the sd of ln L between seeds,
    used where the residuals leave no degree of freedom (an error without it). clusters (n,): labels of runs
    drawn together in a case bootstrap; by default the cells, equal N, D and C.
    """  # fmt: skip
    problem = fit.problem
    if kind is None:
        kind = "parametric" if len(problem.table) < FEW_RUNS else "case"
    if kind not in ("parametric", "case"):
        raise LoraJaxError(f"Bootstrap {kind!r} is not known: choose 'parametric' or 'case'.")
    if n < 1:
        raise LoraJaxError(f"The bootstrap was asked for {n} replicates: ask for some hundreds.")
    rng = np.random.default_rng((seed, 0))
    d = problem.data
    sd = problem.noise_sd(fit.theta)
    if kind == "parametric":
        noise = _noise_draws(fit, sd, noise_sd, n, rng)
        clean = fit.law.log_loss(fit.theta, d.features)
        # a run of weight w has variance sd^2 / w
        scale = noise[:, None] / np.sqrt(np.maximum(d.weights, 1e-12))
        data = Data(d.law, d.features, clean + scale * rng.standard_normal((n, len(clean))), d.weights)
    else:
        labels = _cells(fit) if clusters is None else np.unique(clusters, return_inverse=True)[1]
        n_clusters = int(labels.max()) + 1
        counts = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n)
        data = Data(d.law, d.features, d.log_loss, d.weights * counts[:, labels])
        noise = np.full(n, _known(fit, sd if sd is not None else noise_sd))
    answer = solve(data, problem.goal, np.repeat(fit.theta[None], n, axis=0), problem.bounds)
    good = answer.grad_norm < FAILED_GRADIENT
    if not good.any():
        raise LoraJaxError(
            f"No bootstrap replicate of {fit.law.key} converged: fit a simpler law to these runs."
        )
    return Bootstrap(fit, kind, answer.theta[good], noise[good], int((~good).sum()), seed)


def _noise_draws(
    fit: Fit, sd: float | None, noise_sd: float | None, n: int, rng: np.random.Generator
) -> Array:
    """Return each replicate's sd of ln L (n,)."""
    dof = fit.problem.degrees_of_freedom
    if sd is not None:
        return sd * np.sqrt(dof / rng.chisquare(dof, size=n))
    return np.full(n, _known(fit, noise_sd))


def _known(fit: Fit, noise_sd: float | None) -> float:
    if noise_sd is None:
        raise LoraJaxError(
            f"{fit.law.key} has as many parameters as runs ({len(fit.problem.table)}), so its residuals say"
            " nothing of the noise: add runs, or seeds of one cell."
        )
    return noise_sd


def _cells(fit: Fit) -> np.ndarray:
    """Return a cell number (n,) per run: runs alike in every variable of the table share one."""
    table = fit.problem.table
    columns = [np.round(np.log(table.variable(v)), 9) for v in ("N", "D", "C") if table.has(v)]
    return np.unique(np.stack(columns, 1), axis=0, return_inverse=True)[1].reshape(-1)
