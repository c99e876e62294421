"""Repeated data: each epoch after the first is worth less (Muennighoff et al. 2305.16264, equation 6)."""

from typing import Any

import numpy as np

from lora_jax.scaling.laws.formula import Columns, Formula, Given, Named
from lora_jax.scaling.laws.jets import exp, larger, log, log_add, smaller
from lora_jax.scaling.laws.law import Array, coefficient, exponent, irreducible, number
from lora_jax.scaling.laws.power_sum import solve_shares


def _log_of(t: Named, x: Columns):
    """ln L = ln(E + A N'^-alpha + B D'^-beta).

    D' = U + U R_D* (1 - exp(-R_D / R_D*)) with R_D = D / U - 1 repetitions of U unique tokens. N' is the same
    of the parameters beyond U_N = min(N, N_opt(U)), N_opt the compute-optimal size for U tokens, where
    alpha A N^-alpha = beta B U^-beta.
    """
    data = x["U"] + _effective(x["D"] - x["U"], t["R_D_star"])
    optimal = (log(t["alpha"]) + t["A"] - log(t["beta"]) - t["B"] + t["beta"] * x["U"]) / t["alpha"]
    used = smaller(optimal, x["N"])
    size = used + _effective(larger(-used + x["N"], 0.0), t["R_N_star"])
    return log_add(log_add(t["A"] - t["alpha"] * size, t["B"] - t["beta"] * data), t["E"])


def _effective(log_epochs: Any, log_decay: Any) -> Any:
    """Return ln of how many times the unique amount the repeated one is worth: ln(1 + R* (1 - e^(-R/R*)))."""
    repeats = larger(exp(log_epochs) - 1.0, 0.0)
    decay = exp(log_decay)
    return log(decay * (-exp(-repeats / decay) + 1.0) + 1.0)


def _complete(given: Given, x: Columns, log_loss: Array) -> dict[str, float]:
    """With the repetitions worth what `given` says, E, A and B are linear; N' is taken as N."""
    data = x["U"] + _effective(x["D"] - x["U"], given["R_D_star"])
    columns = np.stack([0 * data, -given["alpha"] * x["N"], -given["beta"] * data], axis=1)
    e, a, b = solve_shares(columns, log_loss)
    return {"E": float(e), "A": float(a), "B": float(b)}


DATA_CONSTRAINED = Formula(
    key="L(N,D,U)",
    name="data-constrained",
    formula="L = E + A N'^-alpha + B D'^-beta, D' = U (1 + R_D_star (1 - e^(-R_D/R_D_star))), N' likewise",
    reference="2305.16264",
    parameters=(
        irreducible("E"),
        coefficient("A", N="alpha"),
        exponent("alpha"),
        coefficient("B", D="beta"),
        exponent("beta"),
        number("R_D_star", 0.05, 2000.0, "epochs"),
        number("R_N_star", 0.05, 2000.0),
    ),
    variables=("N", "D", "U"),
    same_unit={"U": "D"},
    log_of=_log_of,
    grid={
        "alpha": np.array([0.2, 0.35, 0.55]),
        "beta": np.array([0.2, 0.35, 0.55]),
        "R_D_star": np.log([2.0, 8.0, 30.0, 120.0]),
        "R_N_star": np.log([1.0, 5.0, 25.0, 120.0]),
    },
    complete=_complete,
    summary=("ln R_D_star", lambda theta: theta["R_D_star"]),
)

LAWS = {"data-constrained": DATA_CONSTRAINED}
