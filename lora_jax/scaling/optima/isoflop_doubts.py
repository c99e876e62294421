"""Reasons not to believe an answer of approach 2: its design, its curves, and what the other method finds."""

import math

import numpy as np

from lora_jax.estimate import Estimate
from lora_jax.percent import percent
from lora_jax.scaling.optima.approach_report import Sensitivity
from lora_jax.scaling.optima.budget_curves import noise_of
from lora_jax.scaling.optima.budget_minima import FEWEST_BUDGETS, Minima, local_noise
from lora_jax.scaling.optima.optimum_laws import slopes
from lora_jax.scaling.tables.table import RunTable

FRAGILE = 0.05  # share of noise draws that put a budget's minimum at the edge of its runs
MISFIT = 2.0  # residuals of all runs over those of the nearest, from which the curve is no parabola
NEGLIGIBLE = 1e-3  # residuals of ln L that matter to nobody
WIDE = 0.1  # half width of a's interval from which little is known
NARROW = 10.0  # largest budget over smallest
UNEVEN = 1.02  # largest C over smallest within a budget
_NAMES = {"parabola": "the parabola", "akima": "Akima"}


def compare(found: Minima, other: Minima) -> tuple[Sensitivity, list[str]]:
    """Compare two methods.

    Returns:
        What the other method finds, with the difference in words, and warnings if noise does not explain it.
    """
    this, that = _NAMES[found.method], _NAMES[other.method]
    n_theirs = len(other.runs)
    if found.laws is None or other.laws is None:
        said = f"{that} finds a minimum within the runs at {n_theirs} budgets, too few for an exponent"
        return Sensitivity(other.method, n_theirs, None, None, None, None, said), [said]
    theirs = {runs.flops: i for i, runs in enumerate(other.runs)}
    pairs = [(i, theirs[runs.flops]) for i, runs in enumerate(found.runs) if runs.flops in theirs]
    a = other.laws.exponents()["a"]
    said = f"{that} gives a = {a.value:.3f} on {n_theirs} budgets"
    difference = factor = None
    differ: list[str] = []
    if len(pairs) >= FEWEST_BUDGETS:
        ours_i, theirs_i = (list(p) for p in zip(*pairs, strict=True))
        ln_c = found.ln_c[ours_i]
        ours_n, theirs_n = found.ln_n[:, ours_i], other.ln_n[:, theirs_i]
        mine, its = (float(slopes(ln_c, v[:1])[1][0]) for v in (ours_n, theirs_n))
        difference = its - mine
        factor = math.exp(float(np.abs(ours_n[0] - theirs_n[0]).max()))
        said += (
            f"; on the {len(pairs)} that both accept, {this} gives {mine:.3f} and {that} {its:.3f}, and"
            f" their N* differ by up to a factor of {factor:.2f}"
        )
        own = found.laws.exponents()["a"]
        if abs(difference) > 2 * math.hypot(own.se or 0.0, a.se or 0.0):
            differ.append(f"the answer depends on the method: {said}")
    else:
        differ.append(f"the two methods accept different budgets: {said}")
    return Sensitivity(other.method, n_theirs, a, len(pairs), difference, factor, said), differ


def of_design(table: RunTable, found: Minima, n_left: int) -> list[str]:
    """Return warnings about the choice of budgets and runs."""
    warnings = []
    if found.refused:
        named = [f"{r.flops:.3g} FLOPs ({r.reason})" for r in found.refused]
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        total = len(named) + len(found.runs)
        warnings.append(f"{len(named)} of {total} budgets were refused: {', '.join(named[:3])}{more}")
    if n_left:
        warnings.append(f"{n_left} runs belong to no budget")
    if len(found.runs) == FEWEST_BUDGETS:
        warnings.append(f"{FEWEST_BUDGETS} budgets leave the power law one degree of freedom")
    span = math.exp(np.ptp(found.ln_c))
    if span < NARROW:
        warnings.append(f"the budgets span only a factor of {span:.3g}")
    uneven = [runs for runs in found.runs if runs.spread > UNEVEN]
    if uneven:
        worst = max(uneven, key=lambda runs: runs.spread)
        warnings.append(
            f"within {len(uneven)} budgets C differs, by up to {percent(worst.spread - 1, 1)}: part of how"
            " the loss changes with N is due to C"
        )
    cooled = table.columns.get("cooled")
    if cooled is not None and not cooled.all():
        warnings.append(f"{len(cooled) - int(cooled.sum())} of {len(cooled)} runs were not cooled down")
    return warnings


def of_curves(found: Minima, noise_sd: float | None) -> list[str]:
    """Return warnings about budgets whose minimum is not what it looks like."""
    warnings = []
    for runs, edge in zip(found.runs, found.edge, strict=True):
        lowest = runs.ln_n[runs.loss.argmin()]
        if lowest in (runs.ln_n[0], runs.ln_n[-1]):
            end = "smallest" if lowest == runs.ln_n[0] else "largest"
            warnings.append(
                f"at {runs.flops:.3g} FLOPs the {end} run is the best: no run lies on the other side of the"
                " minimum"
            )
        elif edge > FRAGILE:
            warnings.append(
                f"at {runs.flops:.3g} FLOPs noise puts the minimum at the edge in {percent(edge)} of draws"
            )
    local = noise_sd if noise_sd is not None else local_noise(found.runs)[0]
    if found.noise_sd is None:
        warnings.append(
            "the noise of the runs is not known, so the intervals cover only the scatter of the budgets"
        )
    elif found.method == "parabola" and local is not None:
        residual = noise_of([(runs, found.scale) for runs in found.runs])[0]
        if residual is not None and residual > MISFIT * local and residual > NEGLIGIBLE:
            warnings.append(
                f"no parabola: the runs lie {percent(residual, 2)} off it, and noise is {percent(local, 2)}."
                " Use a smaller range (--within) or --method akima"
            )
    return warnings


def of_exponent(a: Estimate) -> list[str]:
    """Return a warning if the exponent is hardly known."""
    low, high = a.interval
    return [f"a is hardly known: {low:.2f} to {high:.2f}"] if high - low > 2 * WIDE else []
