"""Recipes compared by a law of each: compute on their frontiers, and tokens at equal N."""

import math
from collections.abc import Mapping, Sequence

from lora_jax.estimate import Estimate
from lora_jax.scaling.joint.group_laws import GroupLaw, HowToFit, fit_alone, law_alone, laws_together
from lora_jax.scaling.speedups.floors import range_of_floors
from lora_jax.scaling.speedups.places import (
    frontier_budgets,
    largest_compute,
    largest_of,
    lengths_at_sizes,
    scales_of,
)
from lora_jax.scaling.speedups.question import Question
from lora_jax.scaling.speedups.ratio import Ratio, best_split, ratio_along, ratio_of_compute
from lora_jax.scaling.speedups.recipes import Recipe
from lora_jax.scaling.speedups.results import Point, RecipeFit, RecipeSpeedup
from lora_jax.scaling.speedups.sides import Side, in_seconds, make_side


def compare_by_laws(
    baseline: Recipe, rivals: Sequence[Recipe], how: HowToFit, question: Question
) -> tuple[tuple[RecipeFit, ...], list[RecipeSpeedup]]:
    """Compare recipes by a law of each. If they share parameters, each pair is fitted together.

    Returns:
        The laws of the baseline, and the speed-ups of each rival.
    """
    fits: tuple[RecipeFit, ...] = ()
    found = []
    for number, rival in enumerate(rivals, 1):
        first, second = _fit_pair(baseline, rival, how, question, number)
        fits = fits or first.fits
        points = _points_of_laws(first, second, how, question)
        found.append(RecipeSpeedup(rival.name, len(rival.table), second.fits, tuple(points)))
    return fits, found


def _fit_pair(
    baseline: Recipe, rival: Recipe, how: HowToFit, question: Question, number: int
) -> tuple[Side, Side]:
    pair = (baseline, rival)
    if how.shared:
        laws = laws_together([recipe.table for recipe in pair], how, baseline.noise_of_rows)
    else:
        laws = [
            law_alone(fit_alone(recipe.table, how), how, recipe.noise_of_rows, stream)
            for recipe, stream in zip(pair, (0, number), strict=True)
        ]
    return tuple(  # pyright: ignore
        make_side(recipe, (recipe.table,), (law,), how, question, ("",))
        for recipe, law in zip(pair, laws, strict=True)
    )


def _points_of_laws(first: Side, second: Side, how: HowToFit, question: Question) -> list[Point]:
    tables = (first.recipe.table, second.recipe.table)
    if len(how.law.variables) == 1:
        (variable,) = how.law.variables
        return [
            _point_along(first, second, variable, {variable: x}, question)
            for x in scales_of(*tables, variable)
        ]
    points = [_point_of_compute(first, second, flops, question) for flops in frontier_budgets(*tables)]
    return [p for p in points if not math.isnan(p.speedup.value)] + [
        _point_along(first, second, "D", {"N": n, "D": d}, question) for n, d in lengths_at_sizes(*tables)
    ]


def _point_of_compute(first: Side, second: Side, flops: float, question: Question) -> Point:
    seed = question.seed

    def value(laws: Sequence[GroupLaw]) -> float:
        return ratio_of_compute(laws[0], laws[1], flops, seed).value

    found = ratio_of_compute(first.laws[0], second.laws[0], flops, seed)
    floors = range_of_floors(value, _pairs(first, second))
    seconds = None
    if first.pace is not None and second.pace is not None and math.isfinite(found.needed):
        sizes = (best_split(first.laws[0], found.needed)["N"], best_split(second.laws[0], flops)["N"])
        # tokens are C / 6N, so a ratio of seconds has the sizes in it
        seconds = in_seconds(found, first.pace, second.pace, sizes, sizes[1] / sizes[0])
    beyond = found.needed / largest_compute(first.recipe.table)
    return Point(
        "C", {"C": flops}, found.loss, found.needed, found.estimate(), seconds, beyond, floors, False
    )


def _point_along(
    first: Side, second: Side, variable: str, at: Mapping[str, float], question: Question
) -> Point:
    def value(laws: Sequence[GroupLaw]) -> float:
        return ratio_along(laws[0], laws[1], variable, at, question.seed).value

    found = ratio_along(first.laws[0], second.laws[0], variable, at, question.seed)
    beyond = found.needed / largest_of(first.recipe.table, variable, at)
    floors = range_of_floors(value, _pairs(first, second))
    seconds = _seconds_at(found, first, second, at)
    return Point(variable, at, found.loss, found.needed, found.estimate(), seconds, beyond, floors, False)


def _pairs(first: Side, second: Side) -> list[list[GroupLaw | None] | None]:
    return [
        None if a is None or b is None else [*a, *b] for a, b in zip(first.moved, second.moved, strict=True)
    ]


def _seconds_at(found: Ratio, first: Side, second: Side, at: Mapping[str, float]) -> Estimate | None:
    if first.pace is None or second.pace is None:
        return None
    n = at.get("N")
    return in_seconds(found, first.pace, second.pace, (n, n), 1.0)
