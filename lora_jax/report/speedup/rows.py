"""A comparison of recipes as rows of text."""

import math
from collections.abc import Sequence

from lora_jax.estimate import Estimate
from lora_jax.percent import percent
from lora_jax.report.kit.numbers import (
    MISSING,
    format_count,
    format_interval,
    format_loss,
    format_percent,
    format_power,
)
from lora_jax.report.kit.tables import INTERVAL, Table
from lora_jax.scaling.speedups.results import (
    CurveReport,
    Doubt,
    Point,
    RecipeFit,
    SpeedupReport,
    spell_ends,
    spell_ratio,
)

UNITS = {"C": "compute at equal loss", "D": "tokens at equal loss and N"}


def speedup_rows(report: SpeedupReport) -> Table:
    """Return a row for each recipe and place: the speed-up, its interval, and what it rests on."""
    points = [(recipe.name, point) for recipe in report.recipes for point in recipe.points]
    has_seconds = any(point.seconds is not None for _, point in points)
    rows = []
    for name, point in points:
        lower, higher = _floors(point)
        times = (*_ratio(point.speedup), *(_ratio(point.seconds) if has_seconds else ()))
        place = (name, point.of, say_place(point), format_loss(point.loss))
        rows.append((*place, *times, _beyond(point), lower, higher))
    seconds = ("in seconds", "95 % of that") if has_seconds else ()
    columns = (
        "recipe",
        "saves",
        "at",
        "loss",
        "speed-up",
        INTERVAL,
        *seconds,
        "of last run",
        f"floor -{report.floor_step:g}",
        f"floor +{report.floor_step:g}",
    )
    kinds = ", ".join(f"{of}: {UNITS.get(of, of)}" for of in dict.fromkeys(p.of for _, p in points))
    return Table(
        f"Speed-up over {report.baseline}",
        columns,
        tuple(rows),
        frozenset(range(3, len(columns))),
        frozenset(i for i, (_, point) in enumerate(points) if point.beyond > 1),
        note=f"{kinds}. of last run: what {report.baseline} needs over the most that a run of it had; above 1"
        " it is extrapolated, and marked. floor: the speed-up with the floor of each law lower and higher,"
        " the rest fitted again. and up: the runs set no upper limit.",
    )


def fit_rows(report: SpeedupReport) -> Table:
    """Return a row for each law: its parameters and how well it fits."""
    fits = [*report.baseline_fits, *(fit for recipe in report.recipes for fit in recipe.fits)]
    names = list(fits[0].params)
    rows = tuple(_fit_row(fit, names) for fit in fits)
    columns = ("recipe", "group", "n", *names, "freedom", "misses by", "misfit", "chance of it")
    return Table(
        f"The laws: {report.formula}",
        columns,
        rows,
        frozenset({2, *range(3 + len(names), len(columns))}),
        note="misses by: root mean square of ln loss. misfit: how far mean losses lie from the law beyond"
        " noise, if they do, and the chance that they do; both are in the intervals.",
    )


def _fit_row(fit: RecipeFit, names: Sequence[str]) -> tuple[str, ...]:
    params = (_param(fit.params[name]) for name in names)
    misfit = format_percent(fit.misfit, signed=False)
    chance = MISSING if fit.misfit_chance is None else percent(fit.misfit_chance)
    misses = format_percent(fit.rms, signed=False)
    return (
        fit.recipe,
        fit.group,
        str(fit.n_rows),
        *params,
        str(fit.degrees_of_freedom),
        misses,
        misfit,
        chance,
    )


def _param(number: Estimate) -> str:
    if number.is_fixed:
        return f"{format_power(number.value)} (fixed)"
    value, between = format_interval(number)
    return f"{value} ({between})"


def curve_rows(report: CurveReport) -> Table:
    """Return a row for each curve: steps and seconds to the loss, side by side."""
    rows = []
    for curve in report.curves:
        rows.append(
            (
                curve.name,
                format_loss(curve.last_loss),
                _number(curve.step),
                _number(curve.second),
                *_ratio(curve.in_steps),
                *_ratio(curve.in_seconds),
                format_loss(curve.loss_at_seconds),
            )
        )
    columns = (
        "run",
        "last loss",
        report.step_name,
        "second",
        "ratio in steps",
        INTERVAL,
        "ratio in seconds",
        "95 % of that",
        f"loss at {report.baseline}'s seconds",
    )
    return Table(
        f"To a loss of {format_loss(report.loss)}, against {report.baseline}",
        columns,
        tuple(rows),
        frozenset(range(1, len(columns))),
        note="Between evaluations by linear interpolation. A ratio above 1: the run needs less.",
    )


def doubt_rows(doubts: Sequence[Doubt]) -> Table:
    """Return the traps, by name."""
    return Table("Traps", ("trap", "here"), tuple((doubt.name, doubt.words) for doubt in doubts))


def say_place(point: Point) -> str:
    """Return where a recipe stands, such as "N 130M, D 2.6B"."""
    return ", ".join(
        f"{name} {format_power(value) if name == 'C' else format_count(value)}"
        for name, value in point.at.items()
    )


def _ratio(number: Estimate | None) -> tuple[str, str]:
    """Return a ratio and its interval, both with three decimals."""
    if number is None or math.isnan(number.value):
        return MISSING, MISSING
    value = spell_ratio(number.value) if math.isfinite(number.value) else "none"
    return value, MISSING if number.ci95 is None else spell_ends(number)


def _beyond(point: Point) -> str:
    return "no run" if math.isinf(point.beyond) else spell_ratio(point.beyond, 2)


def _floors(point: Point) -> tuple[str, str]:
    if point.floors is None:
        return MISSING, MISSING
    first, second = (MISSING if x is None else spell_ratio(x) for x in point.floors)
    return first, second


def _number(x: float | None) -> str:
    return MISSING if x is None else f"{x:.0f}"
