"""One variable, with and without an irreducible loss: L(X) = (X_c / X)^alpha_X (Kaplan et al. 2001.08361)."""

from dataclasses import replace

from lora_jax.scaling.laws import law
from lora_jax.scaling.laws.power_sum import PowerSum, Term, power_sum


def power_law(variable: str, irreducible: bool = False) -> PowerSum:
    """Return L = (X_c / X)^alpha_X, or E + (X_c / X)^alpha_X (2010.14701), for X = N, D or C.

    Fitted by least squares unless asked otherwise: a sweep's power laws go through few points, the means of
    cells, and a Huber of 1e-3 would pass exactly through as many of them as the law has parameters.
    """
    x = variable
    term = Term(law.scale(f"{x}_c", x, f"alpha_{x}"), ((x, f"alpha_{x}"),))
    if not irreducible:
        found = power_sum(f"L({x})", "power law", f"L = ({x}_c / {x})^alpha_{x}", "2001.08361", [term])
        return replace(found, usual_objective="squared")
    found = power_sum(
        f"L({x}) with floor", "power law with floor", f"L = E + ({x}_c / {x})^alpha_{x}", "2010.14701",
        [Term(law.irreducible("E")), term],
    )  # fmt: skip
    return replace(found, usual_objective="squared")


LAWS = {
    f"power-{x.lower()}{'-floor' if irreducible else ''}": power_law(x, irreducible)
    for x in ("N", "D", "C")
    for irreducible in (False, True)
}
