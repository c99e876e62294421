"""Predictions with intervals: a response at a target, N* and D* of a budget, the cheapest model to serve."""

from collections.abc import Mapping

import numpy as np

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.ranges import QUANTITY, SERVED
from lora_jax.scaling.estimate import Prediction, Resampled
from lora_jax.scaling.intervals.uncertainty import Bootstrap
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.prediction.allocation import crossing, optimum, serving, summarise, with_interval
from lora_jax.scaling.tables.provenance import SIX_ND, has_own_compute, is_six_nd

UNITS = {"N*": "parameters", "D*": "tokens", "D/N": "tokens per parameter", "N": "parameters", "D": "tokens"}


def predict_loss(replicates: Bootstrap, at: Mapping[str, float]) -> list[Prediction]:
    """Predict the mean response at a target, and what one run would measure there with its own noise.

    Args:
        replicates: The fit and its replicates.
        at: The target: each variable of the law by its letter or its column.

    Raises:
        LoraJaxError: A variable is unknown, missing, or not positive.
    """
    law, table = replicates.fit.law, replicates.fit.problem.table
    letters = {table.column_of(v): v for v in law.variables}
    at = {letters.get(name, name): value for name, value in at.items()}
    for name, value in at.items():
        if name not in law.variables:
            known = [*law.variables, *letters]
            raise LoraJaxError(
                f"{law.key} has no variable {name!r}{nearest(name, known)}: predict at"
                f" {', '.join(law.variables)}."
            )
        QUANTITY.check(f"{name} of a prediction", value)
    best = replicates.fit.predict(**at)
    row = "run" if law.response == "loss" else "row"  # a table of optima has no runs
    goal = replicates.fit.problem.goal
    if goal.shape == "quantile":  # what one run would measure is no question to it
        samples = {f"{goal.tau:g}-quantile of {law.response}": replicates.losses(**at)[:, 0]}
    else:
        samples = {
            law.response: replicates.losses(**at)[:, 0],
            f"{law.response} of one {row}": replicates.single_runs(**at)[:, 0],
        }
    unit = _response_unit(replicates)
    return [
        _row(replicates, name, dict(at), summarise(replicates, best, draws), unit)
        for name, draws in samples.items()
    ]


def predict_budget(replicates: Bootstrap, flops: float) -> list[Prediction]:
    """Predict N*, D*, D/N and the loss at a budget C = 6ND, each with its interval.

    Args:
        replicates: The fit and its replicates.
        flops: The budget, in FLOPs.

    Raises:
        LoraJaxError: The budget is not positive, or the law has no best N and D for a budget.
    """
    QUANTITY.check("a budget in FLOPs", flops)
    problem = replicates.fit.problem
    _check_splits(problem.law)
    numbers = with_interval(replicates, lambda theta: optimum(problem, theta, flops))
    at = {"C": float(flops)}
    return [
        _row(replicates, name, at, number, UNITS.get(name) or _response_unit(replicates))
        for name, number in numbers.items()
    ]


def predict_serving(replicates: Bootstrap, loss: float, inference_tokens: float) -> list[Prediction]:
    """Predict the model with this loss that costs least to train and to serve, with intervals.

    Args:
        replicates: The fit and its replicates.
        loss: The loss that the model must reach, in the unit of the table.
        inference_tokens: Tokens that it will serve.

    Raises:
        LoraJaxError: The loss is not above the fitted floor, a number is out of range, or the law has no best
            N and D for a budget.

    Reference: Sardana et al. 2023 (arXiv 2401.00448).
    """
    QUANTITY.check("a loss to serve", loss)
    SERVED.check("a number of inference tokens", inference_tokens)
    problem = replicates.fit.problem
    _check_splits(problem.law)
    _check_irreducible(replicates, loss)
    numbers = with_interval(replicates, lambda theta: serving(problem, theta, loss, inference_tokens))
    at = {"loss": float(loss), "inference tokens": float(inference_tokens)}
    names = {"N": "N to serve", "D": "D to serve", "FLOPs": "FLOPs in all", "D/N": "D/N to serve"}
    return [
        _row(replicates, names[name], at, number, UNITS.get(name, "FLOPs"))
        for name, number in numbers.items()
    ]


def predict_crossing(first: Bootstrap, second: Bootstrap, at: Mapping[str, float]) -> Prediction:
    """Find where two fits of one law cross, with intervals. Beyond that point the other fit is better.

    The two fits are resampled independently.

    Args:
        at: Values of all variables except the one in which the fits cross.
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


def _check_splits(law: Law) -> None:
    if law.response != "loss" or not law.splits_budgets:
        raise LoraJaxError(
            f"{law.formula} has no least loss at a budget: ask it for values by --predict, and --budget and"
            " --serve of a law of the loss of N and D."
        )


def _check_irreducible(replicates: Bootstrap, loss: float) -> None:
    """Refuse a loss at or below the fitted irreducible loss E, which no size reaches."""
    irreducible = replicates.fit.params.get("E", 0.0)
    if loss <= irreducible:
        raise LoraJaxError(
            f"--serve {loss:g} asks for a loss at or below the fitted floor E = {irreducible:.4g}, which no"
            f" model reaches: ask for a loss above {irreducible:.4g}."
        )


def _row(
    replicates: Bootstrap, quantity: str, at: dict[str, float], number: Resampled, unit: str
) -> Prediction:
    with np.errstate(over="ignore"):
        beyond, of = _beyond(replicates, at)
    return Prediction(**vars(number), quantity=quantity, at=at, unit=unit, beyond=beyond, beyond_of=of)


def _response_unit(replicates: Bootstrap) -> str:
    law, table = replicates.fit.law, replicates.fit.problem.table
    return table.unit_of(law.response) or law.response


def _beyond(replicates: Bootstrap, at: Mapping[str, float]) -> tuple[float | None, str | None]:
    """Return how many times the runs' largest a target is, and the largest of what.

    Of C where the law reads it; of 6 N D at a budget, which is counted so, and at an N and D; else of the
    variable that is farthest out.
    """
    problem = replicates.fit.problem
    table = problem.table
    if "C" in at and "C" in problem.law.variables:
        return float(at["C"] / table.variable("C").max()), "C"
    if "C" in at or {"N", "D"} <= set(at):
        if not (table.has("N") and table.has("D")):
            return None, None
        largest: Array = 6 * table.variable("N") * table.variable("D")
        flops = at["C"] if "C" in at else 6 * at["N"] * at["D"]
        return float(flops / largest.max()), "C" if has_own_compute(table) and is_six_nd(table) else SIX_ND
    times = {v: float(at[v] / table.variable(v).max()) for v in at if v in problem.law.variables}
    if not times:
        return None, None
    farthest = max(times, key=lambda v: times[v])
    return times[farthest], farthest
