"""Kaplan et al. 2001.08361: L(N, D) with its overfitting penalty, L(N, S), and the critical batch size."""

import numpy as np

from lora_jax.scaling.laws.formula import Columns, Formula, Given, Named
from lora_jax.scaling.laws.jets import log_add
from lora_jax.scaling.laws.law import Array, Parameter, exponent, scale
from lora_jax.scaling.laws.power_sum import Term, power_sum, solve_shares


def _log_joint(t: Named, x: Columns):
    """ln L of equation 1.5; with c = alpha ln(X_c / X_0) both terms are powers of the same 1 / alpha_D."""
    size = (t["N_c"] - t["alpha_N"] * x["N"]) / t["alpha_D"]
    data = (t["D_c"] - t["alpha_D"] * x["D"]) / t["alpha_D"]
    return t["alpha_D"] * log_add(size, data)


def _complete_joint(given: Given, x: Columns, log_loss: Array) -> dict[str, float]:
    """L^(1 / alpha_D) is linear in two coefficients."""
    root = 1 / given["alpha_D"]
    columns = np.stack([-root * given["alpha_N"] * x["N"], -x["D"]], axis=1)
    size, data = solve_shares(columns, root * log_loss) / root
    return {"N_c": float(size), "D_c": float(data)}


KAPLAN_JOINT = Formula(
    key="L(N,D) Kaplan",
    name="Kaplan, L(N,D)",
    formula="L = [(N_c / N)^(alpha_N / alpha_D) + D_c / D]^alpha_D",
    reference="2001.08361, equation 1.5",
    parameters=(
        scale("N_c", "N", "alpha_N"),
        exponent("alpha_N"),
        scale("D_c", "D", "alpha_D"),
        exponent("alpha_D"),
    ),
    variables=("N", "D"),
    log_of=_log_joint,
    grid={"alpha_N": np.geomspace(0.03, 1, 9), "alpha_D": np.geomspace(0.03, 1, 9)},
    complete=_complete_joint,
)

KAPLAN_STEPS = power_sum(
    "L(N,S)",
    "Kaplan, L(N,S)",
    "L = (N_c / N)^alpha_N + (S_c / S)^alpha_S",
    "2001.08361, equation 1.6; S is S_min, the steps at a batch far above the critical one",
    [
        Term(scale("N_c", "N", "alpha_N"), (("N", "alpha_N"),)),
        Term(scale("S_c", "S", "alpha_S"), (("S", "alpha_S"),)),
    ],
)

CRITICAL_BATCH = power_sum(
    "B_crit(L)",
    "Kaplan, critical batch size",
    "B_crit = B_star L^-slope, slope = 1 / alpha_B",
    "2001.08361, equation 1.4",
    [Term(Parameter("B_star", "coefficient", (("L", "slope"),), "tokens L^slope"), (("L", "slope"),))],
    exponents=(exponent("slope", (0.05, 50.0)),),
    response="critical_batch",
    derived={"alpha_B": lambda p: 1 / p["slope"]},
)

LAWS = {"kaplan": KAPLAN_JOINT, "kaplan-steps": KAPLAN_STEPS, "critical-batch": CRITICAL_BATCH}


def minimal_steps(n_steps: Array, batch_tokens: Array, critical_batch: Array) -> Array:
    """Return S_min, the steps that the same loss takes at a batch far above the critical one.

    S_min = S / (1 + B_crit / B).

    Args:
        n_steps: S, the steps that were taken.
        batch_tokens: B, tokens in a batch.
        critical_batch: B_crit, in tokens.

    Reference: Kaplan et al. 2020 (arXiv 2001.08361), equation 5.4.
    """
    return np.asarray(n_steps / (1 + critical_batch / batch_tokens))


def minimal_flops(flops: Array, batch_tokens: Array, critical_batch: Array) -> Array:
    """Return C_min, the compute that the same loss takes at a batch far below the critical one.

    C_min = C / (1 + B / B_crit).

    Args:
        flops: C, the compute that was spent, in any unit.
        batch_tokens: B, tokens in a batch.
        critical_batch: B_crit, in tokens.

    Reference: Kaplan et al. 2020 (arXiv 2001.08361), equation 5.5.
    """
    return np.asarray(flops / (1 + batch_tokens / critical_batch))
