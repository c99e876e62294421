"""What a comparison of recipes found, in sentences."""

import math
from collections.abc import Sequence

from lora_jax.estimate import Estimate
from lora_jax.report.speedup.rows import UNITS, say_place
from lora_jax.scaling.speedups.results import (
    CurveReport,
    CurveSpeedup,
    Point,
    RecipeSpeedup,
    SpeedupReport,
    spell_ends,
    spell_ratio,
)
from lora_jax.scaling.verdict import verdict_of


def headline(report: SpeedupReport | CurveReport) -> str:
    """Return the verdict in one line: which traps there are."""
    names = list(dict.fromkeys(doubt.name for doubt in report.doubts))
    return verdict_of([", ".join(names)] if names else []).words


def summarise(report: SpeedupReport) -> list[str]:
    """Return a sentence for each recipe and what it saves."""
    return [
        _say(recipe, of, report.baseline)
        for recipe in report.recipes
        for of in dict.fromkeys(point.of for point in recipe.points)
    ]


def _say(recipe: RecipeSpeedup, of: str, baseline: str) -> str:
    points = [point for point in recipe.points if point.of == of and math.isfinite(point.speedup.value)]
    what = UNITS.get(of, of)
    if not points:
        return (
            f"{recipe.name}: {baseline} reaches none of its losses, so its speed-up in {what} is not known."
        )
    first, last = points[0], points[-1]
    said = _judge(points)
    if first is last:
        return f"Speed-up of {recipe.name} in {what}: {_number(first)} at {say_place(first)}. {said}"
    return (
        f"Speed-up of {recipe.name} in {what}: {_number(first)} at {say_place(first)}, {_number(last)} at"
        f" {say_place(last)}. {said}"
    )


def _number(point: Point) -> str:
    return f"{spell_ratio(point.speedup.value, 2)} ({spell_ends(point.speedup, 2)})"


def _judge(points: Sequence[Point]) -> str:
    better = sum(point.speedup.low > 1 for point in points)
    worse = sum(point.speedup.high < 1 for point in points)
    if better == len(points):
        return "It is better at every place." if len(points) > 1 else "It is better."
    if worse == len(points):
        return "It is worse at every place." if len(points) > 1 else "It is worse."
    if not better and not worse:
        return "The runs cannot tell the two apart."
    known = f"It is better at {better} and worse at {worse} of {len(points)} places"
    return f"{known}. At the others the runs cannot tell."


def summarise_curves(report: CurveReport) -> list[str]:
    """Return a sentence for each curve but the baseline's."""
    return [_say_curve(curve, report) for curve in report.curves[1:]]


def _say_curve(curve: CurveSpeedup, report: CurveReport) -> str:
    if curve.in_steps is None:
        return f"{curve.name} does not reach a loss of {report.loss:.4f}."
    seconds = "" if curve.in_seconds is None else f", and {_times(curve.in_seconds)} in seconds"
    return (
        f"{curve.name} against {report.baseline}: {_times(curve.in_steps)} in {report.step_name}s{seconds}."
    )


def _times(number: Estimate) -> str:
    between = "" if number.ci95 is None else f" ({number.low:.3f} to {number.high:.3f})"
    return f"{number.value:.3f}{between}"
