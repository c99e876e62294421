"""A power law that bends smoothly once (Caballero et al. 2210.14891, equation 1, n = 1 break)."""

import numpy as np

from lora_jax.scaling.laws.formula import Columns, Formula, Given, Named
from lora_jax.scaling.laws.jets import exp, log_add, softplus
from lora_jax.scaling.laws.law import Array, Parameter, exponent, irreducible, location, number
from lora_jax.scaling.laws.power_sum import solve_shares


def broken_power_law(variable: str) -> Formula:
    """Make the law L = E + b X^-c0 (1 + (X / d1)^(1/f1))^(-c1 f1).

    In a log-log plot L - E has the slope -c0 far below X = d1 and -(c0 + c1) far above it. f1 is the width of
    the bend.

    Args:
        variable: X: "N", "D" or "C".

    Reference: Caballero et al. 2022 (arXiv 2210.14891), equation 1 with one break.
    """

    def log_bend(t: Named, x: Columns):
        width = exp(t["f1"])
        return -t["c0"] * x[variable] - t["c1"] * width * softplus((-t["d1"] + x[variable]) / width)

    def log_of(t: Named, x: Columns):
        return log_add(t["E"], t["b"] + log_bend(t, x))

    def complete(given: Given, x: Columns, log_loss: Array) -> dict[str, float]:
        column = log_bend(given, x)
        e, b = solve_shares(np.stack([0 * column, column], axis=1), log_loss)
        return {"E": float(e), "b": float(b)}

    return Formula(
        key=f"L({variable}) broken",
        name="broken power law",
        formula=f"L = E + b {variable}^-c0 (1 + ({variable}/d1)^(1/f1))^(-c1 f1)",
        reference="2210.14891, equation 1",
        parameters=(
            irreducible("E"),
            Parameter("b", "coefficient", ((variable, "c0"),), f"{variable}^c0"),
            exponent("c0", (-5.0, 5.0)),
            exponent("c1", (-5.0, 5.0)),
            location("d1", variable),
            number("f1", 0.02, 10.0),
        ),
        variables=(variable,),
        log_of=log_of,
        grid={
            "c0": np.array([-0.05, 0.03, 0.1, 0.25, 0.6]),
            "c1": np.array([-0.4, -0.1, 0.1, 0.4]),
            "d1": np.array([-4.0, -2.0, -0.7, 0.0, 0.7, 2.0, 4.0]),
            "f1": np.log([0.1, 0.5]),
        },
        complete=complete,
    )


LAWS = {f"broken-{x.lower()}": broken_power_law(x) for x in ("N", "D", "C")}
