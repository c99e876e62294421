"""Over-training: one exponent for parameters and tokens, and downstream error (Gadre et al. 2403.08540)."""

import numpy as np

from lora_jax.scaling.laws.formula import Columns, Formula, Given, Named
from lora_jax.scaling.laws.jets import exp, log
from lora_jax.scaling.laws.law import Array, coefficient, irreducible, number
from lora_jax.scaling.laws.power_sum import Term, power_sum

# With M = D / N and b = -eta: a N^-eta + b D^-eta = a N^b + b (M N)^b. Their beta 6^(b/2) is this law's b.
OVERTRAINING = power_sum(
    "L(N,M)",
    "over-training",
    "L = E + a N^-eta + b (M N)^-eta, M = D / N",
    "2403.08540, equation 4",
    [
        Term(irreducible("E")),
        Term(coefficient("a", N="eta"), (("N", "eta"),)),
        Term(coefficient("b", D="eta"), (("D", "eta"),)),
    ],
)


def _log_error(t: Named, x: Columns):
    return log(exp(t["eps"]) - exp(t["k"] - exp(t["gamma"]) * np.exp(x["L"])))


def _complete_error(given: Given, x: Columns, log_error: Array) -> dict[str, float]:
    """Given gamma the error is linear in eps and k."""
    size = -np.exp(given["gamma"]) * np.exp(x["L"])
    shape = np.exp(size - size.max())
    design = np.stack([np.ones(len(shape)), -shape], axis=1)
    eps, k = np.linalg.lstsq(design, np.exp(log_error), rcond=None)[0]
    largest = float(np.exp(log_error).max())
    k = max(float(k), 1e-3 * largest)
    eps = max(float(eps), 1.01 * float((np.exp(log_error) + k * shape).min()))
    return {"eps": float(np.log(eps)), "k": float(np.log(k) - size.max())}


ERROR = Formula(
    key="Err(L)",
    name="downstream error",
    formula="Err = eps - k e^(-gamma L)",
    reference="2403.08540, equation 5",
    parameters=(number("eps", 1e-3, 1.0), number("k", 1e-6, 1e9), number("gamma", 1e-2, 1e2)),
    variables=("L",),
    same_unit={"L": "1"},
    response="error",
    log_of=_log_error,
    grid={"gamma": np.log(np.geomspace(0.1, 10, 12))},
    complete=_complete_error,
)

LAWS = {"over-training": OVERTRAINING, "downstream-error": ERROR}
