"""The law of a document evaluated again from its parameters, for curves between the runs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

MOST_LEVELS = 8  # of the first variable, drawn as curves
POINTS = 40  # of a curve
BEYOND = 1.5  # how far a curve reaches beyond the runs of its size
SAME = 1e-4  # relative difference up to which the law found here is the law of the document


def predict(document: Mapping[str, Any], **values: np.ndarray) -> np.ndarray | None:
    """Return the response (m,) at variables (m,); None where no law of ours gives the document's own figures.

    The law is the one of the document's formula, and must reproduce `fitted` of every run: parameters that
    the document does not hold, or a law that changed since, would draw a curve that was never fitted.
    """
    from lora_jax.scaling.laws import LAWS

    params = {name: number["value"] for name, number in document["params"].items()}
    law = next((law for law in LAWS.values() if law.formula == document["formula"]), None)
    if law is None or set(law.names) != set(params) or set(law.variables) != set(document["variables"]):
        return None
    centre = dict.fromkeys(law.variables, 1.0)
    theta = law.to_theta(params, centre)

    def respond(at: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.exp(law.log_loss(theta, law.features(at, centre)))

    runs = document["runs"]
    fitted = np.array([run["fitted"] for run in runs])
    again = respond({v: np.array([run[v] for run in runs]) for v in law.variables})
    return respond(values) if np.allclose(again, fitted, rtol=SAME, atol=0) else None


def levels(document: Mapping[str, Any]) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Return curves (first variable, x (m,), response (m,)) of a law of two variables, by rising size.

    x is compute where every run has one, else the second variable; a curve reaches a little beyond the runs
    of about its size. Compute at constant N is taken proportional to the second variable, by those runs' own
    C / (N D). Empty where the law cannot be evaluated.
    """
    first, second = document["variables"]
    runs = document["runs"]
    size, other = (np.array([run[v] for run in runs]) for v in (first, second))
    distinct = np.unique(size)
    wanted = np.geomspace(distinct[0], distinct[-1], MOST_LEVELS)
    chosen = sorted({float(distinct[np.abs(np.log(distinct / w)).argmin()]) for w in wanted})
    half_step = np.log(distinct[-1] / distinct[0]) / (MOST_LEVELS - 1) / 2
    curves = []
    for at in chosen:
        near = np.abs(np.log(size / at)) <= half_step
        across = np.geomspace(other[near].min() / BEYOND, other[near].max() * BEYOND, POINTS)
        response = predict(document, **{first: np.full(POINTS, at), second: across})
        if response is None:
            return []
        x = across
        if across_of(document) == "C":
            cost = np.array([run["C"] for run in runs])[near] / (size * other)[near]
            x = across * at * float(np.median(cost))
        curves.append((at, x, response))
    return curves


def across_of(document: Mapping[str, Any]) -> str:
    """Return the variable of the x axis: for a law of N and D compute, where every run has it."""
    variables = document["variables"]
    if len(variables) == 1:
        return variables[0]
    known = all(run.get("C") is not None for run in document["runs"])
    return "C" if known and set(variables[:2]) == {"N", "D"} else variables[1]
