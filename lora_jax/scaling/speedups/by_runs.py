"""Measured losses of recipes, compared with laws of the baseline: one law, or one for each size."""

from collections.abc import Mapping, Sequence

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.joint.group_laws import (
    GroupLaw,
    HowToFit,
    fit_alone,
    law_alone,
    laws_together,
    stream_seed,
)
from lora_jax.scaling.speedups.floors import range_of_floors
from lora_jax.scaling.speedups.places import groups_by, largest_of
from lora_jax.scaling.speedups.question import Question
from lora_jax.scaling.speedups.ratio import ratio_of_run
from lora_jax.scaling.speedups.recipes import Recipe
from lora_jax.scaling.speedups.results import Point, RecipeFit, RecipeSpeedup
from lora_jax.scaling.speedups.sides import Side, in_seconds, make_side, pace_of
from lora_jax.scaling.tables.run_table import RunTable

LEAST_FREEDOM = 1  # degrees of freedom that all fits together must have


def compare_measured(
    baseline: Recipe, rivals: Sequence[Recipe], how: HowToFit, question: Question
) -> tuple[tuple[RecipeFit, ...], list[RecipeSpeedup]]:
    """Compare measured losses with one law of the baseline."""
    law = law_alone(fit_alone(baseline.table, how), how, baseline.noise_of_rows)
    side = make_side(baseline, (baseline.table,), (law,), how, question, ("",))
    return side.fits, [
        RecipeSpeedup(
            rival.name,
            len(rival.table),
            (),
            tuple(_points_of_runs(side, 0, rival, np.arange(len(rival.table)), question)),
        )
        for rival in rivals
    ]


def compare_by_group(
    baseline: Recipe, rivals: Sequence[Recipe], how: HowToFit, question: Question
) -> tuple[tuple[RecipeFit, ...], list[RecipeSpeedup]]:
    """Compare measured losses with a law of the baseline for each group, whose fits share their noise."""
    column = str(question.each)
    groups = groups_by(baseline.table, column)
    tables = [baseline.table.take(rows) for rows in groups.values()]
    _refuse_saturated(tables, how, column)
    laws = laws_together(tables, how, baseline.noise_of_rows)
    words = [f"{column} = {value}" for value in groups]
    side = make_side(baseline, tables, laws, how, question, words)
    found = []
    for rival in rivals:
        own = groups_by(rival.table, column)
        shared = [(k, own[value]) for k, value in enumerate(groups) if value in own]
        if not shared:
            raise LoraJaxError(
                f"{rival.name} and {baseline.name} have no {column} in common, so no loss of one can be held"
                " against a law of the other: choose another column by --each."
            )
        points = [p for k, rows in shared for p in _points_of_runs(side, k, rival, rows, question)]
        found.append(RecipeSpeedup(rival.name, len(rival.table), (), tuple(points)))
    return side.fits, found


def _refuse_saturated(tables: Sequence[RunTable], how: HowToFit, column: str) -> None:
    free = len(how.law.names) - len(how.fixed)
    shared = len(set(how.shared) - set(how.fixed))
    left = sum(len(t) for t in tables) - (free - shared) * len(tables) - shared
    short = next((t for t in tables if len(t) < free - shared), None)
    if short is not None or left < LEAST_FREEDOM:
        few = len(short if short is not None else tables[0])
        raise LoraJaxError(
            f"{how.law.key} has {free} parameters for each {column}, and one has {few} points: nothing is"
            " left to tell the noise. Pin some by --fix, or let all share some by --shared."
        )


def _points_of_runs(
    side: Side, number: int, rival: Recipe, rows: np.ndarray, question: Question
) -> list[Point]:
    law, table = side.laws[number], side.tables[number]
    variables = law.problem.law.variables
    variable = "D" if "D" in variables else variables[0]
    moved = [None if laws is None else [laws[number]] for laws in side.moved]
    second = None if side.pace is None else pace_of(rival, law.problem.law, question)
    points = []
    for row in rows:
        at = {v: float(rival.table.variable(v)[row]) for v in variables}
        if rival.table.has("N"):
            at = {"N": float(rival.table.variable("N")[row]), **at}
        loss, seeds = float(rival.table["loss"][row]), int(rival.seeds[row])
        draw = stream_seed(question.seed, 1000 * number + int(row))
        found = ratio_of_run(law, loss, seeds, variable, at, draw)

        def value(
            laws: Sequence[GroupLaw], loss: float = loss, seeds: int = seeds, at: Mapping[str, float] = at
        ) -> float:
            return ratio_of_run(laws[0], loss, seeds, variable, at).value

        seconds = None
        if side.pace is not None and second is not None:
            seconds = in_seconds(found, side.pace, second, (at.get("N"), at.get("N")), 1.0)
        beyond = found.needed / largest_of(table, variable, at)
        floors = range_of_floors(value, moved)
        points.append(
            Point(variable, at, loss, found.needed, found.estimate(), seconds, beyond, floors, True)
        )
    return points
