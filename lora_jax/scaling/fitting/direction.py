"""Does the response fall where the law can only fall?

A law whose exponents are above 0 falls in its variables, whatever its parameters are. Fitted to a response
that rises, it ends at its bounds. Its numbers (X_c = 1e299) are then those of the bounds.
"""

import numpy as np

from lora_jax.scaling.fitting.problem import Problem
from lora_jax.scaling.laws.law import Law

CLEAR = 4.0  # standard errors from which a slope has a sign
SAME = 1e-9  # of ln: a smaller spread is rounding


def falling_variables(law: Law) -> tuple[str, ...]:
    """Return the variables in which the law can only fall: all their exponents are bounded above 0."""
    low = {p.name: p.bounds[0] for p in law.parameters if p.kind == "exponent" and p.bounds is not None}
    over: dict[str, list[float]] = {}
    for p in law.parameters:
        for variable, name in p.over:
            if name in low:
                over.setdefault(variable, []).append(low[name])
    return tuple(v for v in law.variables if v in over and min(over[v]) > 0)


def direction_warnings(problem: Problem) -> list[str]:
    """Return warnings if the response rises where the law can only fall, or never changes."""
    law, log_response = problem.law, problem.data.log_loss
    if np.ptp(log_response) < SAME:
        return [
            f"{law.response} is the same in every run: these runs say nothing of how it depends on anything"
        ]
    falling, varied = falling_variables(law), []
    for v in law.variables:
        x = np.log(problem.table.variable(v))
        if np.ptp(x) > SAME:
            varied.append((v, x - x.mean()))
    spare = len(log_response) - len(varied) - 1
    if not falling or not varied or spare < 0:
        return []
    design = np.stack([x for _, x in varied], axis=1)
    if np.linalg.matrix_rank(design, tol=1e-6 * np.abs(design).max()) < len(varied):
        varied, design = varied[:1], design[:, :1]  # D = k N: what holds for N holds for D
    slope, *_ = np.linalg.lstsq(design, log_response - log_response.mean(), rcond=None)
    left = log_response - log_response.mean() - design @ slope
    variance = left @ left / max(spare, 1)
    error = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    rising = [
        (v, float(s))
        for (v, _), s, e in zip(varied, slope, error, strict=True)
        if v in falling and s > max(CLEAR * e, SAME)
    ]
    return [
        f"{law.response} rises with {v}, about as {v}^{s:.2g}, and {law.formula} can only fall: fit a law"
        f" that may rise, as --law power --response {law.response} --of {v}"
        for v, s in rising
    ]
