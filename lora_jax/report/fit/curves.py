"""The law of a report evaluated again from its parameters, for curves between the runs."""

from collections.abc import Mapping

import numpy as np

from lora_jax.scaling.results import FitReport

MOST_LEVELS = 8  # of the first variable, drawn as curves
POINTS = 40  # of a curve
BEYOND = 1.5  # how far a curve reaches beyond the runs of its size
SAME = 1e-4  # relative difference up to which the law found here is the law of the report


def predict(report: FitReport, **values: np.ndarray) -> np.ndarray | None:
    """Return the response (m,) at variables (m,); None where no law of ours gives the report's own figures.

    The law is the one of the report's formula, and must reproduce `fitted` of every run: parameters that
    the report does not hold, or a law that changed since, would draw a curve that was never fitted.
    """
    from lora_jax.scaling.laws import recall_law

    params = {name: number.value for name, number in report.params.items()}
    law = recall_law(report.formula, report.response, report.variables)
    if law is None or set(law.names) != set(params) or set(law.variables) != set(report.variables):
        return None
    centre = dict.fromkeys(law.variables, 1.0)
    theta = law.to_theta(params, centre)

    def respond(at: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.exp(law.log_loss(theta, law.features(at, centre)))

    runs = report.runs
    fitted = np.array([run.fitted for run in runs])
    again = respond({v: np.array([run.at[v] for run in runs]) for v in law.variables})
    return respond(values) if np.allclose(again, fitted, rtol=SAME, atol=0) else None


def levels(report: FitReport) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Return curves (first variable, x (m,), response (m,)) of a law of two variables, by rising size.

    x is compute where every run has one, else the second variable; a curve reaches a little beyond the runs
    of about its size. Compute at constant N is taken proportional to the second variable, by those runs' own
    C / (N D). Empty where the law cannot be evaluated.
    """
    first, second = report.variables
    runs = report.runs
    size, other = (np.array([run.at[v] for run in runs]) for v in (first, second))
    distinct = np.unique(size)
    wanted = np.geomspace(distinct[0], distinct[-1], MOST_LEVELS)
    chosen = sorted({float(distinct[np.abs(np.log(distinct / w)).argmin()]) for w in wanted})
    half_step = np.log(distinct[-1] / distinct[0]) / (MOST_LEVELS - 1) / 2
    curves = []
    for at in chosen:
        near = np.abs(np.log(size / at)) <= half_step
        across = np.geomspace(other[near].min() / BEYOND, other[near].max() * BEYOND, POINTS)
        response = predict(report, **{first: np.full(POINTS, at), second: across})
        if response is None:
            return []
        x = across
        if across_of(report) == "C":
            cost = np.array([run.at["C"] for run in runs])[near] / (size * other)[near]
            x = across * at * float(np.median(cost))
        curves.append((at, x, response))
    return curves


def across_of(report: FitReport) -> str:
    """Return the variable of the x axis: for a law of N and D compute, where every run has it."""
    variables = report.variables
    if len(variables) == 1:
        return variables[0]
    known = all(run.at.get("C") is not None for run in report.runs)
    return "C" if known and set(variables[:2]) == {"N", "D"} else variables[1]
