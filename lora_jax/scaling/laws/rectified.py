"""Rectified fine-tuning: L = B / (D_l + D_f^beta) + E (Lin et al. 2402.02314, equation 4).

D_f is the fine-tuning data. D_l is the fine-tuning data that pretraining was already worth, to the power
beta.
"""

import numpy as np

from lora_jax.scaling.laws.formula import Columns, Formula, Given, Named
from lora_jax.scaling.laws.jets import log_add
from lora_jax.scaling.laws.law import Array, Parameter, exponent, irreducible
from lora_jax.scaling.laws.power_sum import solve_shares


def _log_of(t: Named, x: Columns):
    return log_add(t["E"], t["B"] - log_add(t["D_l"], t["beta"] * x["F"]))


def _complete(given: Given, x: Columns, log_loss: Array) -> dict[str, float]:
    column = -np.logaddexp(given["D_l"], given["beta"] * x["F"])
    e, b = solve_shares(np.stack([0 * column, column], axis=1), log_loss)
    return {"E": float(e), "B": float(b)}


RECTIFIED = Formula(
    key="L(F) rectified",
    name="rectified fine-tuning",
    formula="L = E + B / (D_l + F^beta)",
    reference="2402.02314, equation 4",
    parameters=(
        irreducible("E"),
        Parameter("B", "coefficient", (("F", "beta"),), "response F^beta", (-30.0, 30.0)),
        Parameter("D_l", "coefficient", (("F", "beta"),), "F^beta", (-15.0, 15.0)),
        exponent("beta"),
    ),
    variables=("F",),
    log_of=_log_of,
    grid={"D_l": np.array([-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0]), "beta": np.geomspace(0.05, 1.5, 10)},
    complete=_complete,
)

LAWS = {"rectified": RECTIFIED}
