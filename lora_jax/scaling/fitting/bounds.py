"""Bounds that a user moves. They are bounds of published parameters, and the solver needs bounds of theta.

A coefficient's theta is its logarithm only if its variables are counted from 1. The sign of a scale's theta
says on which side of x0 it lies. So a problem in which these are bounded counts their variables from there.
"""

from collections.abc import Mapping

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.laws.law import Array, Law, Parameter

Ends = tuple[float | None, float | None]  # of one published parameter; None leaves our usual end
UNBOUNDED = 1e4  # of a theta that bounds of shares do not hold for, away from the middle of the runs
SHIFTING = ("coefficient", "scale", "signed")  # kinds whose theta depends on the unit of a variable


def centre_for(law: Law, moved: Mapping[str, Ends], centre: Mapping[str, float]) -> dict[str, float]:
    """Return the unit of each variable in which bounds of these parameters are bounds of theta.

    Args:
        law: The law.
        moved: The lower and upper end of each bounded parameter. None leaves our usual end.
        centre: The usual units, the geometric means of the variables.

    Raises:
        LoraJaxError: A name is unknown, ends are in the wrong order, a scale is bounded at both ends, or two
            parameters need one variable in two units.
    """
    law.check_names(moved)
    wanted: dict[str, float] = {}
    for p in law.parameters:
        if p.name not in moved:
            continue
        low, high = moved[p.name]
        _check_ends(law, p, low, high)
        unit = 1.0
        if p.kind == "scale":
            low = low if low is not None and low > 0 else None
            if low is not None and high is not None:
                raise LoraJaxError(
                    f"{p.name} counts in {p.unit}, and can be bounded at one end: leave one empty."
                )
            unit = float(low or high or centre[p.over[0][0]])
        for v, exponent in p.over if p.kind in SHIFTING else ():
            if wanted.setdefault(v, unit) != unit and exponent:
                raise LoraJaxError(
                    f"{p.name} and another parameter over {v} cannot be bounded at once: leave one."
                )
    new = {**centre, **wanted}
    return new | {v: new[other] for v, other in law.same_unit.items() if other != "1"}


def recentred_bounds(
    law: Law, bounds: tuple[Array, Array], centre: Mapping[str, float], new: Mapping[str, float]
) -> tuple[Array, Array]:
    """Return the bounds of theta, (P,) each, once variables are counted in new units.

    The bounds of a location shift. A coefficient, a scale or a signed parameter becomes unbounded, because
    its usual bounds hold in the middle of the runs only.

    Args:
        law: The law.
        bounds: The bounds in the old units, (P,) each.
        centre: The old unit of each variable.
        new: The new unit of each variable.
    """
    low, high = (end.copy() for end in bounds)
    for i, p in enumerate(law.parameters):
        shifts = [float(np.log(centre[v]) - np.log(new[v])) for v, _ in p.over]
        if p.kind == "location":
            low[i], high[i] = low[i] + shifts[0], high[i] + shifts[0]
        elif p.kind in SHIFTING and any(shifts):
            low[i], high[i] = -UNBOUNDED, UNBOUNDED
    return low, high


def moved_bounds(
    law: Law, moved: Mapping[str, Ends], centre: Mapping[str, float], bounds: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Return the bounds of theta, (P,) each, with the given ends moved.

    Args:
        law: The law.
        moved: The lower and upper end of each bounded parameter, as published. None leaves the usual end.
        centre: The unit of each variable, from `centre_for`.
        bounds: Our usual bounds, (P,) each.

    Raises:
        LoraJaxError: Nothing is left between the bounds of a parameter.
    """
    low, high = (end.copy() for end in bounds)
    for i, p in enumerate(law.parameters):
        if p.name not in moved:
            continue
        ends = [_internal(p, end, centre) for end in moved[p.name]]
        low[i] = low[i] if ends[0] is None else ends[0]
        high[i] = high[i] if ends[1] is None else ends[1]
        if not low[i] < high[i]:
            usual = "upper" if ends[1] is None else "lower"
            raise LoraJaxError(
                f"The bounds {_spell(moved[p.name])} of {p.name} leave nothing of our usual ones: give the"
                f" {usual} end too."
            )
    return low, high


def _check_ends(law: Law, p: Parameter, low: float | None, high: float | None) -> None:
    if low is None and high is None:
        raise LoraJaxError(f"The bounds of {p.name} are empty: give one end, as {p.name}=0:10, =0: or =:10.")
    if low is not None and high is not None and not low < high:
        raise LoraJaxError(f"The bounds of {p.name} are {low:g} and {high:g}: give the lower one first.")
    if p.kind not in ("exponent", "signed") and high is not None and not high > 0:
        raise LoraJaxError(f"{law.key}: {p.name} is above 0, and {high:g} leaves nothing below: raise it.")


def _internal(p: Parameter, end: float | None, centre: Mapping[str, float]) -> float | None:
    """Return theta of one end, in units of `centre_for`; None for our usual end."""
    if end is None or p.kind in ("exponent", "signed"):
        return end
    if end <= 0:
        return None  # of what is above 0 anyway
    if p.kind == "scale":
        return 0.0
    return float(np.log(end)) - (float(np.log(centre[p.over[0][0]])) if p.kind == "location" else 0.0)


def _spell(ends: Ends) -> str:
    return ":".join("" if end is None else f"{end:g}" for end in ends)
