"""One variable, with and without an irreducible loss: L(X) = (X_c / X)^alpha_X (Kaplan et al. 2001.08361)."""

from dataclasses import replace

from lora_jax.scaling.laws import law
from lora_jax.scaling.laws.power_sum import PowerSum, Term, power_sum


def power_law(variable: str, irreducible: bool = False) -> PowerSum:
    """Make the power law L = (X_c / X)^alpha_X, with or without a floor E.

    It is fitted by least squares by default. A sweep has few points here, because each is the mean of a cell.
    A Huber objective of width 1e-3 would pass exactly through as many points as the law has parameters.

    Args:
        variable: X: "N", "D" or "C".
        irreducible: Whether to add the floor E.

    Reference: Henighan et al. 2020 (arXiv 2010.14701), for the law with a floor.
    """
    x = variable
    term = Term(law.scale(f"{x}_c", x, f"alpha_{x}"), ((x, f"alpha_{x}"),))
    if not irreducible:
        found = power_sum(f"L({x})", "power law", f"L = ({x}_c / {x})^alpha_{x}", "2001.08361", [term])
        return replace(found, usual_objective="squared")
    found = power_sum(
        f"L({x}) with floor",
        "power law with floor",
        f"L = E + ({x}_c / {x})^alpha_{x}",
        "2010.14701",
        [Term(law.irreducible("E")), term],
    )
    return replace(found, usual_objective="squared")


LAWS = {
    f"power-{x.lower()}{'-floor' if irreducible else ''}": power_law(x, irreducible)
    for x in ("N", "D", "C")
    for irreducible in (False, True)
}
