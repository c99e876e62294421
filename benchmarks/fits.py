"""How fast the fit laboratory fits: a published table, its bootstrap, and a loop of SciPy's beside it."""

from functools import partial

import numpy as np

from benchmarks.figures import Figure, Row, Section
from lora_jax.scaling.fitting.fit import Fit, fit
from lora_jax.scaling.fitting.newton import Data, solve
from lora_jax.scaling.fitting.objectives import HUBER_DELTA
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.tables.table import RunTable, read_table
from lora_jax.timing import Say, divide, interleave

TABLE, DROPPED = "published:chinchilla", 5
RESAMPLES = 2000
SCIPY_RESAMPLES = 40  # of the loop, which is then scaled up: all of them take most of a minute
FIT_AT_MOST, BOOTSTRAP_AT_MOST = 1.0, 5.0  # seconds
FIT, BOOTSTRAP, SCIPY = "fit with certificate", f"{RESAMPLES:,} bootstrap refits", "the same by a SciPy loop"


def measure_fits(repeats: int, say: Say) -> Section:
    """Time the fit of 240 runs, 2,000 refits of resamples, and a loop of SciPy's BFGS over some, in turns."""
    table = read_table(TABLE, drop_worst=DROPPED)
    found = fit(CHINCHILLA, table)
    weights = np.random.default_rng(0).multinomial(len(table), np.full(len(table), 1 / len(table)), RESAMPLES)
    weights = weights.astype(float)
    say(f"fits: {repeats} rounds of a fit, {RESAMPLES} refits and {SCIPY_RESAMPLES} refits by SciPy")
    ours, theirs = refit(found, weights[:SCIPY_RESAMPLES]), refit_by_scipy(found, weights[:SCIPY_RESAMPLES])
    actions = {
        FIT: partial(fit, CHINCHILLA, table),
        BOOTSTRAP: partial(refit, found, weights),
        SCIPY: partial(refit_by_scipy, found, weights[:SCIPY_RESAMPLES]),
    }
    seconds = interleave(actions, repeats)
    loop = [s * RESAMPLES / SCIPY_RESAMPLES for s in seconds[SCIPY]]
    worst = float((ours / theirs).max())
    rows = (
        Row(FIT, _settings(table), (Figure("wall time", "s", tuple(seconds[FIT]), FIT_AT_MOST),)),
        Row(
            BOOTSTRAP,
            {"resamples": RESAMPLES},
            (
                Figure("wall time", "s", tuple(seconds[BOOTSTRAP]), BOOTSTRAP_AT_MOST),
                Figure("objective over SciPy's, worst", "ratio", (worst,), better="less"),
            ),
        ),
        Row(
            SCIPY,
            {"resamples": SCIPY_RESAMPLES, "scaled_to": RESAMPLES},
            (
                Figure("wall time", "s", tuple(loop)),
                Figure("times ours", "ratio", tuple(divide(loop, seconds[BOOTSTRAP])), better="more"),
            ),
        ),
    )
    return Section(
        "fits",
        "Chinchilla's law on 240 published runs",
        rows,
        note="Huber(1e-3) of log residuals. SciPy: BFGS with exact gradients to 1e-9 from the fit, one by"
        f" one, {SCIPY_RESAMPLES} timed and scaled to {RESAMPLES:,}.",
    )


def refit(found: Fit, weights: np.ndarray) -> np.ndarray:
    """Return the objective (B,) of each resample, given as weights (B, n), by the laboratory's solver."""
    d, problem = found.problem.data, found.problem
    start = np.repeat(found.theta[None], len(weights), axis=0)
    return solve(Data(d.law, d.features, d.log_loss, weights), problem.goal, start, problem.bounds).value


def refit_by_scipy(found: Fit, weights: np.ndarray) -> np.ndarray:
    """Return the same by scipy.optimize.minimize in a loop, as a careful notebook would have it."""
    from scipy.optimize import minimize

    ln_n, ln_d = found.problem.data.features.T
    measured = found.problem.data.log_loss

    def objective(theta: np.ndarray, w: np.ndarray) -> tuple[float, np.ndarray]:
        e, a, alpha, b, beta = theta
        terms = np.stack([np.full(len(ln_n), e), a - alpha * ln_n, b - beta * ln_d])
        top = terms.max(0)
        shares = np.exp(terms - top)
        total = shares.sum(0)
        r = top + np.log(total) - measured
        shares = shares / total
        size = np.abs(r)
        rho = np.where(size <= HUBER_DELTA, 0.5 * r * r, HUBER_DELTA * (size - 0.5 * HUBER_DELTA))
        slope = w * np.clip(r, -HUBER_DELTA, HUBER_DELTA)
        rows = np.stack([shares[0], shares[1], -shares[1] * ln_n, shares[2], -shares[2] * ln_d])
        return float((w * rho).sum()), rows @ slope

    answers = [
        minimize(objective, found.theta, args=(w,), jac=True, method="BFGS", options={"gtol": 1e-9})
        for w in weights
    ]
    return np.array([answer.fun for answer in answers])


def _settings(table: RunTable) -> dict[str, object]:
    return {"table": TABLE, "drop_worst": DROPPED, "rows": len(table)}
