"""Bootstrap intervals of a fit, for its parameters and for anything computed from them.

There are two kinds. The parametric bootstrap draws new normal noise around the fit. The residual sd s has nu
= n - p degrees of freedom and is itself uncertain. So each replicate draws its own sd, s sqrt(nu / chi2_nu),
before its noise. A linear law then gets the exact Student t interval, where the plain bootstrap's is too
short (by a factor of 2 at n = 5). The case bootstrap draws runs with replacement. It draws whole training
runs and whole cells, so that their rows do not count as independent evidence.

We draw noise below 25 runs, and wherever the residuals pass for normal noise of one size (noise.py).
Otherwise we draw cases. Replicates start from the fit. An interval is the percentiles 2.5 and 97.5 of the
replicates. Percentiles follow any change of variable and respect bounds. We simulated how often an interval
holds the truth (tests/scaling/intervals/coverage.py). `interval_warning` says where it may not.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import AtBound, Estimate
from lora_jax.ranges import REPLICATES
from lora_jax.scaling.fitting.newton import Data, solve
from lora_jax.scaling.fitting.problem import Answer, Problem
from lora_jax.scaling.intervals.noise import SHARED_LEVEL, departure, shared_error
from lora_jax.scaling.intervals.noise import noise_sd as noise_of
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.progress import begin_step
from lora_jax.scaling.tables.provenance import noun_of_units, units_in_words

FEW_RUNS = 25
MANY_RUNS = 2000  # from which a replicate starts at the objective itself
MOST_NUMBERS = 20_000_000  # replicates x runs that are drawn at a time: 160 MB
FAILED_GRADIENT = 1e-6  # a replicate with a larger gradient did not converge and is dropped
SINGULAR = {"training runs": "training run", "trunks": "trunk", "rows of the file": "row of the file"}
AT_BOUND = 1e-9  # of theta
ENDS = (0.025, 0.975)
VANISHING = ("irreducible", "coefficient")  # kinds whose lower bound stands for a term that is not there
LEVELS = (0.025, 0.15865, 0.84135, 0.975)


@dataclass(frozen=True)
class Bootstrap:
    """A fit and its bootstrap replicates.

    Attributes:
        fit: The fit.
        kind: "parametric" or "case".
        theta: The replicates (B, P).
        noise_sd: Standard deviation of a single run's ln L in each replicate (B,).
        n_failed: Replicates that did not converge and were dropped.
        seed: Seed of the draws.
        n_clusters: Number of training runs or cells, which a case bootstrap draws.
        reason: Why this kind was chosen, in words.
        shares_error: Whether rows that share an error were drawn together. These are rows of one training
            run, or of one cell if an F test says so.
    """

    fit: Answer
    kind: str
    theta: Array
    noise_sd: Array
    n_failed: int
    seed: int
    n_clusters: int
    reason: str
    shares_error: bool = False

    @property
    def n(self) -> int:
        """Number of replicates that were asked for."""
        return len(self.theta) + self.n_failed

    @property
    def params(self) -> dict[str, Array]:
        """Published parameters of the replicates, each (B,)."""
        return self.fit.law.to_params(self.theta, self.fit.problem.centre)

    @property
    def at_bound(self) -> dict[str, float]:
        """Share of the replicates in which a parameter ends at a bound, by name, if above 0."""
        low, high = self.fit.problem.bounds
        stuck = ((self.theta <= low + AT_BOUND) | (self.theta >= high - AT_BOUND)) & self.fit.problem.is_free
        shares = zip(self.fit.law.names, stuck.mean(0), strict=True)
        return {name: float(share) for name, share in shares if share > 0}

    @property
    def units(self) -> str:
        """What is drawn together, in the plural: "training runs (run_name)", "cells (equal N, D)"."""
        return units_in_words(self.fit.problem.table, (*self.fit.law.variables, *"NDC"))

    def intervals(self) -> dict[str, Estimate]:
        """Return the 95 % interval of every parameter. `mark_bound` marks an end that is a bound."""
        samples, fit = self.params, self.fit
        return {
            name: mark_bound(self.summarise(value, samples[name]), fit.problem, i, fit.theta, self.theta)
            for i, (name, value) in enumerate(fit.params.items())
        }

    def interval_of(self, function: Callable[[dict[str, Array]], Array]) -> Estimate:
        """Return the interval of a function of the published parameters. It maps {"A": (B,), ...} to (B,)."""
        best = {name: np.array([value]) for name, value in self.fit.params.items()}
        return self.summarise(float(function(best)[0]), function(self.params))

    def summarise(self, value: float, samples: Array) -> Estimate:
        """Return the `interval` of samples (B,).

        If cases were drawn, its se is the samples' standard deviation, as a bootstrap's standard error is
        published. If noise was drawn and few degrees of freedom are left, the standard deviation has no
        limit. Then half the width of the central 68.3 % takes its place.
        """
        row = interval(value, samples)
        return replace(row, se=float(samples.std(ddof=1))) if self.kind == "case" else row

    def losses(self, **values: Array | float) -> Array:
        """Return the replicates' mean loss, (B, m), at values such as N= and D= of () or (m,)."""
        with np.errstate(over="ignore"):  # beyond a float it is infinite, and undefined in a prediction
            return np.exp(self.fit.law.log_loss(self.theta, self.fit.problem.features_at(values)))

    def single_runs(self, **values: Array | float) -> Array:
        """Return draws of what one new run would measure, (B, m): the mean loss with a run's own noise."""
        rng = np.random.default_rng((self.seed, 1))
        logs = self.fit.law.log_loss(self.theta, self.fit.problem.features_at(values))
        with np.errstate(over="ignore"):
            return np.exp(logs + self.noise_sd[:, None] * rng.standard_normal(logs.shape))


def interval(value: float, samples: Array) -> Estimate:
    """Return a number with the percentiles 2.5 and 97.5 of its samples.

    The percentile p is the sample of rank p (B + 1), so that few samples do not make the interval too short.
    se is half the width of the central 68.3 %. For a normal this is the standard deviation. It stays finite
    where two or fewer degrees of freedom leave the standard deviation without a limit.

    Args:
        value: The number.
        samples: Its bootstrap samples, (B,).
    """
    low, left, right, high = np.quantile(samples, LEVELS, method="weibull")
    return Estimate(float(value), float(right / 2 - left / 2), (float(low), float(high)))


def mark_bound(row: Estimate, problem: Problem, index: int, theta: Array, samples: Array) -> Estimate:
    """Mark which numbers of an interval lie at a bound of the search. The numbers themselves stay as they
    are.

    A floor or a coefficient at its lower bound is marked as 0, because the bound stands for a term that is
    not there. Any other bound is marked as itself.

    Args:
        row: The interval of the parameter.
        problem: The problem.
        index: Index of the parameter.
        theta: The answer, (P,).
        samples: Its replicates, (B, P).

    Returns:
        The interval with `at_bound`, if value, low or high lie at a bound.
    """
    if not problem.is_free[index]:
        return row
    parameter = problem.law.parameters[index]
    low, high = (float(b[index]) for b in problem.bounds)
    ends = np.quantile(samples[:, index], ENDS, method="weibull")
    at = {"value": float(theta[index]), "low": float(ends[0]), "high": float(ends[1])}
    published = {"value": row.value, "low": row.low, "high": row.high}
    marks: dict[str, float | None] = {}
    for name, x in at.items():
        if x <= low + AT_BOUND:
            marks[name] = 0.0 if parameter.kind in VANISHING else published[name]
        elif x >= high - AT_BOUND:
            marks[name] = published[name]
    marks = {name: x for name, x in marks.items() if x is not None}
    return replace(row, at_bound=AtBound(**marks)) if marks else row


def bootstrap(
    fit: Answer,
    n: int = 400,
    *,
    seed: int = 0,
    kind: str | None = None,
    noise_sd: float | None = None,
    clusters: NDArray[np.generic] | None = None,
) -> Bootstrap:
    """Estimate the uncertainty of a fit by refitting resampled tables.

    Args:
        fit: The fit.
        n: Number of replicates.
        seed: Seed of the draws.
        kind: "case" draws runs with replacement. "parametric" adds noise to the fitted losses. None chooses
            between them (see the head of this file).
        noise_sd: Standard deviation of ln L between seeds. It is used only if the residuals leave no degree
            of freedom.
        clusters: Labels (n,) of runs that a case bootstrap draws together. None takes the table's labels, or
            else groups runs that are equal in every column of the law.

    Returns:
        The replicates, from which intervals of any function of the parameters follow.

    Raises:
        LoraJaxError: The residuals leave no degree of freedom and there is no `noise_sd`.
    """
    problem = fit.problem
    labels = labels_of(fit, clusters)
    n_clusters = int(labels.max()) + 1
    kind, reason = (kind, "asked for") if kind is not None else _choose(fit, labels, clusters)
    if kind not in ("parametric", "case"):
        raise LoraJaxError(f"Bootstrap {kind!r} is not known: choose 'parametric' or 'case'.")
    REPLICATES.check("the number of bootstrap replicates", n)
    rng = np.random.default_rng((seed, 0))
    d = problem.data
    sd = noise_of(problem, fit.theta)
    if kind == "parametric":
        noise = _noise_draws(fit, sd, noise_sd, n, rng)
        clean = fit.law.log_loss(fit.theta, d.features)

        def draw(some: slice) -> Data:
            # a run of weight w has variance sd^2 / w
            scale = noise[some, None] / np.sqrt(np.maximum(d.weights, 1e-12))
            drawn = rng.standard_normal((len(scale), len(clean)))
            return Data(d.law, d.features, clean + scale * drawn, d.weights)
    else:
        noise = np.full(n, _known(fit, sd if sd is not None else noise_sd))
        chance = np.full(n_clusters, 1 / n_clusters)

        def draw(some: slice) -> Data:
            counts = rng.multinomial(n_clusters, chance, size=len(noise[some]))
            return Data(d.law, d.features, d.log_loss, d.weights * counts[:, labels])

    theta, good = refit(fit, n, draw)
    if not good.any():
        raise LoraJaxError(
            f"No bootstrap replicate of {fit.law.key} converged: fit a simpler law to these runs."
        )
    shares = kind == "case" and n_clusters < len(labels) and _share_error(fit, labels, clusters)
    n_failed = int((~good).sum())
    return Bootstrap(fit, kind, theta[good], noise[good], n_failed, seed, n_clusters, reason, shares)


def _share_error(fit: Answer, labels: NDArray[np.int64], clusters: NDArray[np.generic] | None) -> bool:
    """Return whether rows that are drawn together share an error: of cells the residuals tell."""
    if clusters is not None or fit.problem.table.clusters is not None:
        return True
    p = shared_error(fit.problem, fit.theta, labels)
    return p is not None and p < SHARED_LEVEL


def refit(fit: Answer, n: int, draw: Callable[[slice], Data]) -> tuple[Array, NDArray[np.bool_]]:
    """Refit resampled data, some replicates at a time.

    On a large table every replicate lies so close to the fit that the wider objectives would lead away from
    it.

    Args:
        fit: The fit, where the replicates start.
        n: Number of replicates.
        draw: Function that draws the data of a slice of the replicates.

    Returns:
        theta (n, P) of the replicates, and which of them converged (n,).
    """
    goal, bounds = fit.problem.goal.rougher(), fit.problem.bounds
    rows = len(fit.problem.data.log_loss)
    at_once = max(1, MOST_NUMBERS // rows)
    from_delta = goal.delta if rows > MANY_RUNS else np.inf
    done, parts = begin_step(f"bootstrap, {n:,} refits of {fit.law.key}", n), []
    for begin in range(0, n, at_once):
        some = slice(begin, min(begin + at_once, n))
        starts = np.repeat(fit.theta[None], some.stop - begin, axis=0)
        parts.append(solve(draw(some), goal, starts, bounds, from_delta=from_delta, done=done))
    theta = np.concatenate([part.theta for part in parts])
    return theta, np.concatenate([part.grad_norm for part in parts]) < FAILED_GRADIENT


def _noise_draws(
    fit: Answer, sd: float | None, noise_sd: float | None, n: int, rng: np.random.Generator
) -> Array:
    """Return each replicate's sd of ln L (n,)."""
    dof = fit.problem.degrees_of_freedom
    if sd is not None:
        return sd * np.sqrt(dof / rng.chisquare(dof, size=n))
    return np.full(n, _known(fit, noise_sd))


def _known(fit: Answer, noise_sd: float | None) -> float:
    if noise_sd is None:
        raise LoraJaxError(
            f"{fit.law.key} has as many parameters as runs ({len(fit.problem.table)}), so its residuals say"
            " nothing of the noise: add runs, or seeds of one cell."
        )
    return noise_sd


def _choose(fit: Answer, labels: NDArray[np.int64], clusters: NDArray[np.generic] | None) -> tuple[str, str]:
    """Return the kind of bootstrap and the reason for it."""
    n = len(fit.problem.table)
    if fit.problem.goal.shape == "quantile":
        return "case", "a quantile asks for the runs as they scatter, and no noise can stand for them"
    if n < FEW_RUNS:
        return "parametric", f"{n} runs are fewer than {FEW_RUNS}"
    is_clustered = clusters is not None or fit.problem.table.clusters is not None
    if is_clustered and labels.max() + 1 < n:
        noun = noun_of_units(fit.problem.table)
        return "case", f"several rows come from one {SINGULAR.get(noun, noun.removeprefix('values of '))}"
    if fit.problem.degrees_of_freedom < 1:
        return "case", "no degree of freedom is left to know the noise by"
    reason = departure(fit.problem, fit.theta, labels)
    if reason is not None:
        return "case", reason
    return "parametric", "the residuals pass for normal noise of one size"


def labels_of(fit: Answer, clusters: NDArray[np.generic] | None = None) -> NDArray[np.int64]:
    """Return the number of the group that each run is drawn with, (n,).

    Groups are the given clusters, else the table's, else cells of runs that are equal in every variable.

    Raises:
        LoraJaxError: There is not one label for each run.
    """
    table = fit.problem.table
    given = table.clusters if clusters is None else clusters
    if given is not None:
        if len(given) != len(table):
            raise LoraJaxError(
                f"{len(given)} cluster labels were given for {len(table)} runs: give one a run."
            )
        return np.unique(np.asarray(given), return_inverse=True)[1].reshape(-1)
    # runs alike in every variable, those of the law and N, D and C
    letters = dict.fromkeys([*fit.law.variables, "N", "D", "C"])
    columns = [np.round(np.log(table.variable(v)), 9) for v in letters if table.has(v)]
    return np.unique(np.stack(columns, 1), axis=0, return_inverse=True)[1].reshape(-1)
