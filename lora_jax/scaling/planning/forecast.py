"""How well runs will determine the loss at a target, before any of them is trained.

To first order the fitted parameters of a law scatter with covariance s^2 (J'J)^-1. J (n, P) is the Jacobian
of ln L at the runs, and s the standard deviation of a run's ln L. So ln L at the target scatters with
variance s^2 g'(J'J)^-1 g, where g is its gradient there (c-optimal design: Atkinson, Donev and Tobias,
Optimum Experimental Designs, 2007, section 10.2). Only the places of the runs matter, not their losses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.planning.design_report import PlannedTarget
from lora_jax.scaling.tables.run_table import RunTable

FlopsPerToken = Callable[[Array], Array]
MOST_DRAWS = 32  # parameter sets that a design is averaged over; more change its figure by little
SINGULAR = 1e-11  # of R's smallest to largest diagonal entry, columns of unit length
RATIOS = (1e-3, 1e7)  # D/N among which the frontier is sought


def six_n(n_params: Array) -> Array:
    """Return the training FLOPs per token, 6N (Kaplan et al. 2001.08361, section 2.1)."""
    return 6 * n_params


@dataclass(frozen=True)
class Target:
    """The run whose loss is to be known.

    Attributes:
        n_params: Its parameters.
        n_tokens: Its training tokens.
        flops: Its training FLOPs.
    """

    n_params: float
    n_tokens: float
    flops: float

    def report(self) -> PlannedTarget:
        return PlannedTarget(self.n_params, self.n_tokens, self.n_tokens / self.n_params, self.flops)


@dataclass(frozen=True)
class Forecast:
    """The interval at a target that runs would give.

    With several parameter sets the half-width is their median. A mean would be decided by a single draw whose
    exponents nearly coincide, because its interval is thousands of times wider.

    Attributes:
        law: The law.
        params: Its published parameters.
        theta: Parameter sets, (B, P), in units of `centre`. The first one is the best guess.
        centre: The unit of each variable.
        target: The run whose loss is to be known.
        noise_sd: Standard deviation of ln L of one run.
    """

    law: Law
    params: Mapping[str, float]
    theta: Array
    centre: Mapping[str, float]
    target: Target
    noise_sd: float

    def jacobian(self, n_params: Array, n_tokens: Array) -> Array:
        """Return d ln L / d theta, (B, n, P), at runs with these parameters and tokens, (n,) each."""
        features = self.law.features({"N": np.asarray(n_params), "D": np.asarray(n_tokens)}, self.centre)
        return np.asarray(self.law.jacobian(self.theta, features), np.float64)

    def gradient(self) -> Array:
        """Return d ln L / d theta, (B, P), at the target."""
        return self.jacobian(np.array([self.target.n_params]), np.array([self.target.n_tokens]))[:, 0]

    def loss(self) -> float:
        """Return the loss that the best guess gives at the target, in nats per token."""
        at = {"N": np.array([self.target.n_params]), "D": np.array([self.target.n_tokens])}
        return float(np.exp(self.law.log_loss(self.theta[0], self.law.features(at, self.centre))[0]))

    def whiten(self, jacobian: Array, vectors: Array) -> Array | None:
        """Return R^-T v for J = QR, so that v'(J'J)^-1 w is the product of the whitened v and w.

        We scale columns to unit length first. We never form J'J, which would square the condition number.

        Args:
            jacobian: J of the runs, (B, n, P).
            vectors: v, (B, m, P).

        Returns:
            The whitened vectors, (B, m, P). None if the runs leave a direction of the best guess free. Draws
            in which they do are nan.
        """
        if jacobian.shape[1] < jacobian.shape[2]:
            return None
        length = np.linalg.norm(jacobian, axis=1)
        length = np.where(length > 0, length, 1.0)
        r = np.array(np.linalg.qr(jacobian / length[:, None], mode="r"))
        diagonal = np.abs(np.diagonal(r, axis1=1, axis2=2))
        free = diagonal.min(1) < SINGULAR * diagonal.max(1)
        if free[0]:
            return None
        r[free] = np.eye(r.shape[-1])
        scaled = np.swapaxes(vectors / length[:, None], 1, 2)
        white = np.asarray(np.swapaxes(np.linalg.solve(np.swapaxes(r, 1, 2), scaled), 1, 2), np.float64)
        white[free] = np.nan
        return white

    def variance(self, jacobian: Array) -> Array | None:
        """Return g'(J'J)^-1 g, (B,), of the runs' Jacobian (B, n, P). It is None or nan as for `whiten`."""
        z = self.whiten(jacobian, self.gradient()[:, None])
        return None if z is None else (z[:, 0] ** 2).sum(-1)

    def sd(self, variance: Array) -> float:
        """Return the standard deviation of ln L at the target.

        It is the median over the parameter sets (B,) that determine it.
        """
        return self.noise_sd * float(np.sqrt(np.nanmedian(variance)))

    def half_width(self, variance: Array, degrees_of_freedom: int) -> float:
        """Return half the 95 % interval of ln L at the target, by Student's t."""
        return student_t(degrees_of_freedom) * self.sd(variance)


def student_t(degrees_of_freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, 0.975))


def make_forecast(
    law: Law,
    params: Mapping[str, float],
    *,
    noise_sd: float = 0.01,
    target: Mapping[str, float] | None = None,
    target_flops: float | None = None,
    flops_per_token: FlopsPerToken = six_n,
    draws: Mapping[str, Array] | None = None,
) -> Forecast:
    """Make a forecast of the loss at a target, from a law and its parameters.

    Args:
        law: A law of N and D.
        params: Its published parameters.
        noise_sd: Standard deviation of ln L of one run.
        target: {"N": parameters, "D": tokens}. Give this or `target_flops`.
        target_flops: Take the run of least loss at this compute as the target.
        flops_per_token: Maps parameters (n,) to training FLOPs per token (n,).
        draws: Bootstrap replicates of the parameters, each (B,) (`Bootstrap.params`). At most 32 are used.

    Raises:
        LoraJaxError: The law has other variables; the noise or the target is not above 0; or `target` and
            `target_flops` are both given, or neither is.
    """
    if set(law.variables) != {"N", "D"}:
        raise LoraJaxError(
            f"{law.key} is a law of {', '.join(law.variables)}: plan for one of N and D, such as L(N,D)."
        )
    if not (np.isfinite(noise_sd) and noise_sd > 0):
        raise LoraJaxError(f"The noise of ln L is {noise_sd}: give a number above 0, such as 0.01 for 1 %.")
    if (target is None) == (target_flops is None):
        got = "neither" if target is None else "both"
        raise LoraJaxError(f"A target is N and D or a number of FLOPs, got {got}: give one of the two.")
    if target is not None:
        aim = _named_target(target, flops_per_token)
    else:
        aim = _frontier_target(law, params, float(target_flops or 0), flops_per_token)
    centre = law.units({"N": aim.n_params, "D": aim.n_tokens})
    theta = [law.to_theta(params, centre)]
    if draws is not None:
        theta += [law.to_theta(one, centre) for one in _thinned(law, draws)]
    return Forecast(law, dict(params), np.array(theta), centre, aim, noise_sd)


def runs_of(table: RunTable | None) -> tuple[Array, Array]:
    """Return N and D, (n,) each, of the runs of a table. They are empty without a table."""
    if table is None:
        return np.empty(0), np.empty(0)
    return table.variable("N"), table.variable("D")


def _named_target(target: Mapping[str, float], flops_per_token: FlopsPerToken) -> Target:
    if set(target) != {"N", "D"} or not all(np.isfinite(x) and x > 0 for x in target.values()):
        raise LoraJaxError(f"The target is {dict(target)}: give N and D, each above 0.")
    n, d = float(target["N"]), float(target["D"])
    return Target(n, d, float(flops_per_token(np.array([n]))[0]) * d)


def _frontier_target(
    law: Law, params: Mapping[str, float], flops: float, flops_per_token: FlopsPerToken
) -> Target:
    """Return the run of lowest loss at this cost, by a grid over N and a bounded search about its best."""
    from scipy.optimize import minimize_scalar

    if not (np.isfinite(flops) and flops > 0):
        raise LoraJaxError(f"The target's cost is {flops} FLOPs: give a number above 0.")
    middle = float(np.sqrt(flops / 6))
    centre = law.units({"N": middle, "D": middle})
    theta = law.to_theta(params, centre)

    def log_loss(ln_n: Array) -> Array:
        n = np.exp(np.atleast_1d(ln_n))
        return law.log_loss(theta, law.features({"N": n, "D": flops / flops_per_token(n)}, centre))

    grid = np.log(middle) - 0.5 * np.log(np.geomspace(RATIOS[1], RATIOS[0], 400))
    best = int(log_loss(grid).argmin())
    if best in (0, len(grid) - 1):
        raise LoraJaxError(
            f"{law.key} with these parameters has no best D/N at {flops:.3g} FLOPs: give the target as N"
            " and D."
        )
    found = minimize_scalar(
        lambda ln_n: float(log_loss(ln_n)[0]), bounds=(grid[best - 1], grid[best + 1]), method="bounded"
    )
    n = float(np.exp(found.x))
    return Target(n, flops / float(flops_per_token(np.array([n]))[0]), flops)


def _thinned(law: Law, draws: Mapping[str, Array]) -> list[dict[str, float]]:
    missing = [name for name in law.names if name not in draws]
    if missing:
        raise LoraJaxError(f"The draws of {law.key} lack {', '.join(missing)}: give the bootstrap's params.")
    n = len(draws[law.names[0]])
    rows = np.unique(np.linspace(0, n - 1, min(n, MOST_DRAWS)).astype(int))
    return [{name: float(draws[name][i]) for name in law.names} for i in rows]
