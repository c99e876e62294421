"""Which recipe gives runs that a law describes?

We fit one law to the runs of each recipe, and to parts of them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import t as student

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.scaling.appraisal import REPLICATES, appraise, residuals_of
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.fitting.lack_of_fit import lack_of_fit
from lora_jax.scaling.laws import LAWS
from lora_jax.scaling.laws.law import Law
from lora_jax.scaling.progress import begin_step, unheard
from lora_jax.scaling.rates.grids import RateRun
from lora_jax.scaling.recipes.results import FORMAT, VARIABLES, AblationReport, CutFit, RecipeFit
from lora_jax.scaling.recipes.sorting import Recipe, sort_recipes
from lora_jax.scaling.tables.cells import (
    SeedNoise,
    cell_of,
    levels,
    rows_of_each,
    seed_noise,
    settle_learning_rates,
)
from lora_jax.scaling.tables.provenance import loss_name
from lora_jax.scaling.tables.table import RunTable

FEWEST_LEVELS = 3  # sizes and token counts that a law of both needs
FEWEST_SPARE = 3  # cells beyond the parameters: with fewer the misfit is hardly known
Cell = tuple[float, float]


def compare_recipes(
    table: RunTable,
    runs: Sequence[RateRun],
    *,
    law: str = "chinchilla",
    command: str = "",
    n_bootstrap: int = REPLICATES,
    seed: int = 0,
) -> AblationReport:
    """Fit one law to every recipe of a sweep.

    Args:
        table: The finished runs.
        runs: The same runs with their settings, by name (`rates.records.read_folder`).
        law: A law of N and D.
        command: The command that asks, for the report.
        n_bootstrap: Bootstrap replicates behind the intervals.
        seed: Seed of the bootstrap.

    Raises:
        LoraJaxError: The law is unknown or not of N and D, or the sweep has one recipe.
    """
    chosen = choose_law(law)
    parts, warnings = [], [*table.notes, *table.doubts]
    row_of = {run_id: i for i, run_id in enumerate(table.run_ids)}
    for recipe in sort_recipes([run for run in runs if run.name in row_of], table.source):
        rows = table.take(sorted(row_of[name] for name in recipe.run_ids))
        kept, rates = settle_learning_rates(rows)
        warnings += [f"{recipe.label}: {line}" for line in rates.warnings]
        parts.append((recipe, rows, kept))
    largest = largest_common_cell([kept for _, _, kept in parts])
    done = begin_step(f"fitting {len(parts)} recipes", len(parts))
    found = []
    for recipe, rows, kept in parts:
        with unheard():
            found.append(_fit_recipe(recipe, rows, kept, (chosen, largest, n_bootstrap, seed)))
        done(1)
    return AblationReport(
        source=table.source,
        command=command,
        law=law,
        formula=chosen.formula,
        loss_name=loss_name(table),
        n_column=table.n_column,
        n_runs=len(table),
        largest_cell=largest,
        recipes=tuple(found),
        warnings=tuple(warnings),
        kind="ablation",
        format=FORMAT,
    )


def choose_law(name: str) -> Law:
    """Return the law of N and D with this name.

    Raises:
        LoraJaxError: There is no such law, or it has other variables.
    """
    law = LAWS.get(name)
    if law is None or set(law.variables) != {"N", "D"}:
        fitting = ", ".join(key for key, law in LAWS.items() if set(law.variables) == {"N", "D"})
        raise LoraJaxError(f"--law is {name!r}, but it must be a law of N and D: give one of {fitting}.")
    return law


def largest_common_cell(tables: Sequence[RunTable]) -> Cell | None:
    """Return N and D of the cell with the most 6ND among those that every table has. None without one."""
    cells = [
        {(float(n), float(d)) for n, d in zip(t.variable("N"), t.variable("D"), strict=True)} for t in tables
    ]
    common = set.intersection(*cells)
    return max(common, key=lambda cell: (cell[0] * cell[1], cell), default=None)


def _fit_recipe(
    recipe: Recipe, rows: RunTable, kept: RunTable, settings: tuple[Law, Cell | None, int, int]
) -> RecipeFit:
    """Fit the law to a recipe. rows, kept: all its runs, and those at the best rate of each cell."""
    law, largest, n_bootstrap, seed = settings
    noise = seed_noise(kept)
    at_largest = None if largest is None else loss_at(kept, largest, noise)
    unfitted = RecipeFit(
        label=recipe.label,
        settings=recipe.settings,
        n_runs=len(rows),
        n_cells=int(cell_of(kept).max()) + 1,
        n_rates=_most_rates(rows),
        params={},
        misfit=None,
        largest=at_largest,
        cuts=(),
        residuals=(),
        verdict=None,
        missing=_lacks(kept, law),
    )
    if unfitted.missing is not None:
        return unfitted
    said = appraise(fit(law, kept, law.usual_objective), n_bootstrap=n_bootstrap, seed=seed)
    residuals = residuals_of(said.fit, kept)
    cells = [
        (float(kept.variable("N")[r[0]]), float(kept.variable("D")[r[0]]), float(residuals[r].mean()))
        for r in rows_of_each(cell_of(kept))
    ]
    return replace(
        unfitted,
        params={name: number.plain() for name, number in said.params.items()},
        misfit=said.misfit,
        cuts=tuple(_cut(kept, law, noise)),
        residuals=tuple(cells),
        verdict=said.verdict,
    )


def _most_rates(rows: RunTable) -> int:
    if "base_learning_rate" not in rows.columns:
        return 1
    return max(len(np.unique(rows["base_learning_rate"][r])) for r in rows_of_each(cell_of(rows)))


def _lacks(table: RunTable, law: Law) -> str | None:
    """Return what a table lacks for a law of N and D, in words, or None."""
    sizes, tokens = (int(levels(table.variable(v)).max()) + 1 for v in ("N", "D"))
    cells = int(cell_of(table).max()) + 1
    if min(sizes, tokens) < FEWEST_LEVELS:
        return f"{sizes} sizes and {tokens} token counts, a law of both needs {FEWEST_LEVELS} of each"
    if cells - len(law.names) < FEWEST_SPARE:
        return f"{cells} cells, {len(law.names)} parameters need {len(law.names) + FEWEST_SPARE}"
    return None


def loss_at(table: RunTable, cell: Cell, noise: SeedNoise) -> Estimate:
    """Return the mean loss of a cell (N, D). Its 95 % interval comes from the noise between seeds."""
    rows = (table.variable("N") == cell[0]) & (table.variable("D") == cell[1])
    logs = np.log(table["loss"][rows])
    value = math.exp(float(logs.mean()))
    if not noise.sd:
        return Estimate(value, None, None)
    se = noise.sd / math.sqrt(len(logs))
    half = float(student.ppf(0.975, noise.degrees_of_freedom)) * se
    return Estimate(value, value * se, (value * math.exp(-half), value * math.exp(half)))


def _cut(table: RunTable, law: Law, noise: SeedNoise) -> Iterator[CutFit]:
    """Fit the law without the lowest levels of D, then of N, one more each time, while enough is left."""
    for cut, variable in VARIABLES.items():
        level = levels(table.variable(variable))
        for least in range(int(level.max()) + 1):
            part = table.take(level >= least)
            if _lacks(part, law) is not None:
                break
            residuals = residuals_of(fit(law, part, law.usual_objective), part)
            misfit = lack_of_fit(part, residuals, len(law.names), noise)
            assert misfit is not None  # `_lacks` has seen to it
            yield CutFit(cut, float(part.variable(variable).min()), int(cell_of(part).max()) + 1, misfit)
