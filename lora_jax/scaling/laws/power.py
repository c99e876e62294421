"""One variable, with and without a floor: L(X) = (X_c / X)^alpha_X (Kaplan et al. 2001.08361)."""

from lora_jax.scaling.laws.law import floor as floor_term
from lora_jax.scaling.laws.law import scale
from lora_jax.scaling.laws.power_sum import PowerSum, Term, power_sum


def power_law(variable: str, floor: bool = False) -> PowerSum:
    """Return L = (X_c / X)^alpha_X, or E + (X_c / X)^alpha_X (2010.14701), for X = N, D or C."""
    x = variable
    term = Term(scale(f"{x}_c", x, f"alpha_{x}"), ((x, f"alpha_{x}"),))
    if not floor:
        return power_sum(f"L({x})", "power law", f"L = ({x}_c / {x})^alpha_{x}", "2001.08361", [term])
    return power_sum(
        f"L({x}) with floor", "power law with floor", f"L = E + ({x}_c / {x})^alpha_{x}", "2010.14701",
        [Term(floor_term("E")), term],
    )  # fmt: skip


LAWS = {
    f"power-{x.lower()}{'-floor' if floor else ''}": power_law(x, floor)
    for x in ("N", "D", "C")
    for floor in (False, True)
}
