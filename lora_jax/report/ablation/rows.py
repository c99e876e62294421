"""A comparison of recipes as rows of text."""

from lora_jax.estimate import Estimate
from lora_jax.report.ablation.conclusions import name_least, spell_off
from lora_jax.report.kit.numbers import MISSING, format_count, format_interval, format_loss, format_percent
from lora_jax.report.kit.tables import INTERVAL, Table
from lora_jax.scaling.recipes.results import AblationReport, RecipeFit


def recipe_rows(report: AblationReport) -> Table:
    """Return a row for each recipe: how far its runs lie off the law, and what the noise is."""
    rows, flagged = [], set()
    for recipe in report.recipes:
        if recipe.verdict is None or not recipe.verdict.is_believed:
            flagged.add(len(rows))
        rows.append(
            (
                recipe.label,
                str(recipe.n_runs),
                str(recipe.n_cells),
                *_misfit(recipe),
                *_loss(recipe.largest),
                str(recipe.verdict.level) if recipe.verdict else "no fit",
            )
        )
    columns = (
        "recipe",
        "runs",
        "cells",
        "off the law",
        INTERVAL,
        "seeds",
        "times",
        INTERVAL,
        "loss",
        INTERVAL,
        "verdict",
    )
    return Table(
        f"How far the runs of each recipe lie off {report.formula}",
        columns,
        tuple(rows),
        frozenset({1, 2, 3, 5, 6, 8}),
        frozenset(flagged),
        note=_note(report),
    )


def _note(report: AblationReport) -> str:
    at = (
        "no cell, for they share none"
        if report.largest_cell is None
        else f"the largest cell that all have, N = {format_count(report.largest_cell[0])} and"
        f" D = {format_count(report.largest_cell[1])}"
    )
    return (
        "off the law: the standard deviation of ln loss around it. seeds: that between seeds of a cell."
        f" times: their ratio. loss: that of {at}."
    )


def _misfit(recipe: RecipeFit) -> tuple[str, ...]:
    found = recipe.misfit
    if found is None:
        return (MISSING,) * 5
    off = spell_off(found.off)
    if found.times is None or found.noise is None:
        return (*off, MISSING, MISSING, MISSING)
    times = (f"{found.times.value:.1f}", f"{found.times.low:.1f} to {found.times.high:.1f}")
    return (*off, format_percent(found.noise.value, signed=False), *times)


def _loss(found: Estimate | None) -> tuple[str, str]:
    if found is None:
        return MISSING, MISSING
    return format_loss(found.value), (
        MISSING if found.ci95 is None else f"{format_loss(found.low)} to {format_loss(found.high)}"
    )


def parameter_rows(report: AblationReport) -> Table:
    """Return a row for each recipe: the parameters of the law, each with its interval."""
    names = list(dict.fromkeys(name for recipe in report.recipes for name in recipe.params))
    rows = []
    for recipe in report.recipes:
        cells = [
            cell
            for name in names
            for cell in (format_interval(recipe.params[name]) if recipe.params else (MISSING, MISSING))
        ]
        rows.append((recipe.label, *cells))
    columns = ("recipe", *(cell for name in names for cell in (name, INTERVAL)))
    return Table("The law's parameters", columns, tuple(rows), frozenset(range(1, len(columns), 2)))


def cut_rows(report: AblationReport) -> Table:
    """Return a row for each recipe and range."""
    rows = []
    for recipe in report.recipes:
        for fit in recipe.cuts:
            off, times = fit.misfit.off, fit.misfit.times
            rows.append(
                (
                    recipe.label,
                    f"from {name_least(fit)}",
                    str(fit.n_cells),
                    *spell_off(off),
                    MISSING if times is None else f"{times.value:.1f}",
                )
            )
    columns = ("recipe", "range", "cells", "off the law", INTERVAL, "times the seeds' noise")
    return Table(
        "The same law on a smaller range",
        columns,
        tuple(rows),
        frozenset({2, 3, 5}),
        note="Each row is a fit of its own, without the shortest runs or without the smallest models.",
    )


def setting_rows(report: AblationReport) -> Table:
    """Return a row for each setting that differs, and a column for each recipe."""
    names = list(report.recipes[0].settings)
    rows = tuple((name, *(recipe.settings[name] for recipe in report.recipes)) for name in names)
    return Table("What differs", ("setting", *(recipe.label for recipe in report.recipes)), rows)
