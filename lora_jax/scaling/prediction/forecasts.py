"""Predictions with intervals: a response at a target, N* and D* of a budget, the cheapest model to serve."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.intervals.uncertainty import Bootstrap
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.prediction.allocation import crossing, optimum, serving, summarise, with_interval

UNITS = {"N*": "parameters", "D*": "tokens", "D/N": "tokens per parameter", "N": "parameters", "D": "tokens"}


def predict_loss(replicates: Bootstrap, at: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the mean response and what one run would measure, its own noise included, at a target."""
    law = replicates.fit.law
    for name, value in at.items():
        if name not in law.variables:
            raise LoraJaxError(
                f"{law.key} has no variable {name!r}{nearest(name, law.variables)}: predict at these."
            )
        if not value > 0:
            raise LoraJaxError(f"{name} is {value:g} in a prediction, it must be above 0: change it.")
    best = replicates.fit.predict(**at)
    samples = {
        law.response: replicates.losses(**at)[:, 0],
        f"{law.response} of one run": replicates.single_runs(**at)[:, 0],
    }
    unit = _response_unit(replicates)
    return [
        _row(replicates, name, dict(at), summarise(replicates, best, draws), unit)
        for name, draws in samples.items()
    ]


def predict_budget(replicates: Bootstrap, flops: float) -> list[dict[str, Any]]:
    """Return N*, D*, D/N and the loss at C = 6ND = flops, each with intervals."""
    if not flops > 0:
        raise LoraJaxError(f"A budget of {flops:g} FLOPs was asked for, it must be above 0: change it.")
    problem = replicates.fit.problem
    numbers = with_interval(replicates, lambda theta: optimum(problem, theta, flops))
    at = {"C": float(flops)}
    return [
        _row(replicates, name, at, number, UNITS.get(name) or _response_unit(replicates))
        for name, number in numbers.items()
    ]


def predict_serving(replicates: Bootstrap, loss: float, inference_tokens: float) -> list[dict[str, Any]]:
    """Return the model of this loss that costs least to train and to serve (2401.00448), with intervals."""
    if not (loss > 0 and inference_tokens >= 0):
        raise LoraJaxError(
            f"A loss of {loss:g} for {inference_tokens:g} inference tokens was asked for: give a loss above 0"
            " and tokens of 0 or more."
        )
    problem = replicates.fit.problem
    numbers = with_interval(replicates, lambda theta: serving(problem, theta, loss, inference_tokens))
    at = {"loss": float(loss), "inference tokens": float(inference_tokens)}
    names = {"N": "N to serve", "D": "D to serve", "FLOPs": "FLOPs in all", "D/N": "D/N to serve"}
    return [
        _row(replicates, names[name], at, number, UNITS.get(name, "FLOPs"))
        for name, number in numbers.items()
    ]


def predict_crossing(first: Bootstrap, second: Bootstrap, at: Mapping[str, float]) -> dict[str, Any]:
    """Return where two fits of one law cross, with intervals: from there on the other of the two is better.

    at: the values of all variables but the one in which they cross. The two are resampled independently.
    """
    law = first.fit.law
    rest = [v for v in law.variables if v not in at]
    unknown = [v for v in at if v not in law.variables]
    if len(rest) != 1 or unknown:
        raise LoraJaxError(
            f"A crossover of {law.key} is sought in one of {', '.join(law.variables)} and"
            f" {', '.join(at) or 'none'} were given: give all but one."
        )
    (variable,) = rest
    size = min(len(first.theta), len(second.theta))
    best = (first.fit.theta[None], second.fit.theta[None])
    pairs = {"best": best, "samples": (first.theta[:size], second.theta[:size])}
    found = {
        k: crossing((first.fit.problem, a), (second.fit.problem, b), variable, at)
        for k, (a, b) in pairs.items()
    }
    number = summarise(first, found["best"], found["samples"])
    table = second.fit.problem.table.source
    return _row(first, f"{variable} at the crossover with {table}", dict(at), number, UNITS.get(variable, ""))


def _row(
    replicates: Bootstrap, quantity: str, at: dict[str, float], number: Mapping[str, Any], unit: str
) -> dict[str, Any]:
    return {"quantity": quantity, "at": at, **number, "unit": unit, "beyond": _beyond(replicates, at)}


def _response_unit(replicates: Bootstrap) -> str:
    law, table = replicates.fit.law, replicates.fit.problem.table
    return table.loss_unit if law.response == "loss" else law.response


def _beyond(replicates: Bootstrap, at: Mapping[str, float]) -> float | None:
    """Return how many times the largest compute of the runs a target is; by 6ND where it names N and D."""
    table = replicates.fit.problem.table
    if "C" in at and table.has("C"):
        return float(at["C"] / table.variable("C").max())
    if {"N", "D"} <= set(at) and table.has("N") and table.has("D"):
        largest: Array = table.variable("N") * table.variable("D")
        return float(at["N"] * at["D"] / largest.max())
    shared = [v for v in at if v in replicates.fit.law.variables]
    return float(np.max([at[v] / table.variable(v).max() for v in shared])) if shared else None
