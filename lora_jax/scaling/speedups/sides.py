"""One side of a comparison: the runs of a recipe by group, with a law and a pace for each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.estimate import Estimate
from lora_jax.scaling.fitting.problem import Answer
from lora_jax.scaling.fitting.structure import structure
from lora_jax.scaling.intervals.uncertainty import labels_of
from lora_jax.scaling.joint.group_laws import GroupLaw, HowToFit, stream_seed
from lora_jax.scaling.laws.law import Law
from lora_jax.scaling.speedups.floors import with_floors_moved
from lora_jax.scaling.speedups.pace import Pace, find_pace, find_seconds
from lora_jax.scaling.speedups.question import Question
from lora_jax.scaling.speedups.ratio import Ratio
from lora_jax.scaling.speedups.recipes import Recipe
from lora_jax.scaling.speedups.results import RecipeFit
from lora_jax.scaling.tables.run_table import RunTable


@dataclass(frozen=True)
class Side:
    """One recipe in a comparison: its tables by group, its laws, and those with moved floors."""

    recipe: Recipe
    tables: tuple[RunTable, ...]
    laws: tuple[GroupLaw, ...]
    moved: tuple[list[GroupLaw | None] | None, ...]
    pace: Pace | None
    fits: tuple[RecipeFit, ...]


def make_side(
    recipe: Recipe,
    tables: Sequence[RunTable],
    laws: Sequence[GroupLaw],
    how: HowToFit,
    question: Question,
    groups: Sequence[str],
) -> Side:
    step = question.floor_step
    moved = tuple(with_floors_moved(laws, tables, how, way * step) for way in (-1, 1))
    fits = tuple(
        _describe(recipe.name, group, law, table)
        for group, law, table in zip(groups, laws, tables, strict=True)
    )
    pace = pace_of(recipe, how.law, question)
    return Side(recipe, tuple(tables), tuple(laws), moved, pace, fits)


def pace_of(recipe: Recipe, law: Law, question: Question) -> Pace | None:
    if question.seconds is None:
        return None
    variable = "D" if "D" in law.variables else law.variables[0]
    seed = stream_seed(question.seed, sum(map(ord, recipe.name)))
    seconds = find_seconds(recipe.runs, question.seconds)
    return find_pace(recipe.runs, seconds, variable, question.n_bootstrap, seed)


def _describe(recipe: str, group: str, law: GroupLaw, table: RunTable) -> RecipeFit:
    params = law.intervals
    features = law.problem.features_at({v: table.variable(v) for v in law.problem.law.variables})
    missed = np.log(table["loss"]) - law.problem.law.log_loss(law.theta, features)
    freedom = len(table) - (len(params) - len(law.problem.fixed))
    known = law.misfits
    return RecipeFit(
        recipe,
        group,
        len(table),
        params,
        freedom,
        float(np.sqrt((missed**2).mean())),
        None if known is None else known.typical,
        None if known is None else known.chance,
        _structure_of(law, table) if known is None else None,
    )


def _structure_of(law: GroupLaw, table: RunTable) -> str | None:
    """Return what is structure in the residuals of a recipe that was fitted alone."""
    problem = law.problem
    if len(problem.table) != len(table):
        return None
    found = structure(problem, law.theta, labels_of(Answer(problem, law.theta, problem.value(law.theta))))
    return None if found is None else found.warning


def in_seconds(
    found: Ratio, first: Pace, second: Pace, sizes: tuple[float | None, float | None], times: float
) -> Estimate:
    """Return the ratio of the seconds: that of the tokens, times that of the seconds per token.

    Args:
        found: The ratio of the tokens.
        first: The pace of the baseline.
        second: The pace of the recipe.
        sizes: N of the baseline and of the recipe, if they have one.
        times: Factor on the ratio.
    """
    (a, draws_a), (b, draws_b) = first.seconds(sizes[0]), second.seconds(sizes[1])
    size = len(found.samples)
    return found.estimate(times * a / b, times * draws_a[:size] / draws_b[:size])
