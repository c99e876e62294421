"""One shared exponent on top: L = E + (A N^-alpha + B D^-beta)^gamma (2502.08606)."""

import numpy as np

from lora_jax.scaling.laws.formula import Columns, Formula, Given, Named
from lora_jax.scaling.laws.jets import log_add
from lora_jax.scaling.laws.law import Array, Parameter, exponent, irreducible
from lora_jax.scaling.laws.power_sum import solve_shares

WIDE = (-60.0, 60.0)  # of ln A and ln B: gamma shrinks what they may be


def _log_of(t: Named, x: Columns):
    inner = log_add(t["A"] - t["alpha"] * x["N"], t["B"] - t["beta"] * x["D"])
    return log_add(t["E"], t["gamma"] * inner)


def _complete(given: Given, x: Columns, log_loss: Array) -> dict[str, float]:
    """(L - E)^(1 / gamma) is linear in A and B; the exponents inside are those outside over gamma."""
    root = 1 / given["gamma"]
    irreducible_loss = min(given["E"], float(log_loss.min()) - 1e-3)
    target = root * np.log(np.exp(log_loss) - np.exp(irreducible_loss))
    columns = np.stack([-given["alpha"] * x["N"], -given["beta"] * x["D"]], axis=1)
    a, b = solve_shares(columns, target)
    return {"A": float(a), "B": float(b), "E": irreducible_loss}


SHARED_EXPONENT = Formula(
    key="L(N,D) shared exponent",
    name="one shared exponent on top",
    formula="L = E + (A N^-alpha + B D^-beta)^gamma",
    reference="2502.08606",
    parameters=(
        irreducible("E"),
        Parameter("A", "coefficient", (("N", "alpha"),), "N^alpha", WIDE),
        exponent("alpha"),
        Parameter("B", "coefficient", (("D", "beta"),), "D^beta", WIDE),
        exponent("beta"),
        exponent("gamma", (0.05, 10.0)),
    ),
    variables=("N", "D"),
    log_of=_log_of,
    grid={
        "alpha": np.geomspace(0.1, 1.2, 6),
        "beta": np.geomspace(0.1, 1.2, 6),
        "gamma": np.array([0.4, 0.7, 1.0, 1.6]),
        "E": np.log([0.3, 1.0, 1.6, 2.2]),
    },
    complete=_complete,
    summary=("a", lambda theta: theta["beta"] / (theta["alpha"] + theta["beta"])),
)

LAWS = {"shared-exponent": SHARED_EXPONENT}
