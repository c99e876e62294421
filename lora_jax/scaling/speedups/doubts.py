"""The traps of comparing recipes. Each has a name, and says what it does here."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lora_jax.percent import percent
from lora_jax.scaling.speedups.recipes import Recipe
from lora_jax.scaling.speedups.results import Doubt, RecipeFit, RecipeSpeedup, spell_ratio

FEW_FREEDOM = 3  # degrees of freedom up to which a law's interval rests on hardly anything
RIVALS = 1.5  # times as many runs to choose from: the one is the lower by selection
FLOOR_MATTERS = 0.03  # of a speed-up
MISSES = 0.9  # probability of a misfit from which it is said
CUT = 0.02  # of ln D
SMALLEST = ("min", "best", "lowest")
TOKENS_A_PARAMETER = 20  # what "1x Chinchilla" means
SHOWN = 4


def doubts_of_pair(first: Recipe, second: Recipe) -> list[Doubt]:
    """Return what differs between the runs of two recipes, or is not known."""
    return [*_of_schedules(first, second), *_of_selection(first, second), *_of_counts(first, second)]


def _of_schedules(first: Recipe, second: Recipe) -> list[Doubt]:
    found: list[Doubt] = []
    a, b = first.settings, second.settings
    if (a.cooled is None) != (b.cooled is None):
        unknown = first if a.cooled is None else second
        found.append(
            Doubt(
                "uncooled",
                f"the table does not say whether the runs of {unknown.name} were cooled down;"
                " without a cooldown the loss is higher",
            )
        )
    elif a.cooled is not None and b.cooled is not None and (a.cooled < 1 or b.cooled < 1):
        found.append(
            Doubt(
                "uncooled",
                f"{percent(a.cooled)} of the runs of {first.name} and {percent(b.cooled)} of those of"
                f" {second.name} were cooled down; compare those alone",
            )
        )
    if a.schedules and b.schedules and a.schedules != b.schedules:
        found.append(
            Doubt(
                "schedule",
                f"{first.name} was trained with {_list(a.schedules)} and {second.name} with"
                f" {_list(b.schedules)}: the schedule is part of what is compared",
            )
        )
    if a.texts and b.texts and a.texts != b.texts:
        found.append(
            Doubt(
                "held-out text",
                f"{first.name} and {second.name} were trained on different sources, so their"
                " losses are of different texts",
            )
        )
    return found


def _of_selection(first: Recipe, second: Recipe) -> list[Doubt]:
    low, high = sorted((first, second), key=lambda recipe: recipe.tried)
    if high.tried < RIVALS * low.tried:
        return []
    return [
        Doubt(
            "selection",
            f"each loss of {high.name} is the best of {high.tried:.3g} runs, and each of"
            f" {low.name} the best of {low.tried:.3g}, so {high.name} looks better than it is",
        )
    ]


def _of_counts(first: Recipe, second: Recipe) -> list[Doubt]:
    a, b = first.runs, second.runs
    if not (a.has("N") and b.has("N")):
        return []
    names = [t.sources.get(t.n_column, t.n_column) for t in (a, b)]
    if names[0] == names[1]:
        return []
    return [
        Doubt(
            "counting",
            f"N is {names[0]!r} for {first.name} and {names[1]!r} for {second.name}: make sure"
            " that both count the same weights",
        )
    ]


def doubts_of_recipes(recipes: Sequence[Recipe], unfinished: str | None) -> list[Doubt]:
    """Return what is wrong with the runs of single recipes."""
    found: list[Doubt] = []
    column = recipes[0].runs.sources.get("loss", "loss")
    if any(word in column.lower().split("_") for word in SMALLEST):
        found.append(
            Doubt(
                "selection",
                f"the loss {column!r} is the lowest of a search, so it is too low, the more"
                " so the larger the search was",
            )
        )
    if unfinished is not None:
        found += _of_unfinished(recipes, unfinished)
    edges = [(r.name, sum(grid.at_edge for grid in r.grids), len(r.grids)) for r in recipes]
    told = [f"{n} of {total} cells of {name}" for name, n, total in edges if n]
    if told:
        found.append(
            Doubt(
                "rate at an edge",
                f"the best learning rate is at an edge of those tried in"
                f" {', '.join(told)}: a recipe whose rate is not tuned looks worse than it is",
            )
        )
    found += _of_cut_tokens(recipes)
    lines = dict.fromkeys(line for recipe in recipes for line in recipe.runs.doubts)
    return [*found, *(Doubt("table", line) for line in lines)]


def _of_unfinished(recipes: Sequence[Recipe], column: str) -> list[Doubt]:
    counts = {r.name: int((r.runs[column] > 0).sum()) for r in recipes}
    told = [f"{n} of {len(r.runs)} of {r.name}" for r in recipes if (n := counts[r.name])]
    if not told:
        return []
    return [
        Doubt(
            "unfinished search",
            f"{sum(counts.values())} cells have {column} > 0 ({'; '.join(told)}):"
            " their search is unfinished, and their loss may still fall",
        )
    ]


def _of_cut_tokens(recipes: Iterable[Recipe]) -> list[Doubt]:
    """Doubt D where a column says what multiple of 20 N it is, and it is not."""
    worst = 0.0
    for recipe in recipes:
        table = recipe.runs
        if "chinchilla" in table.columns and table.has("N") and table.has("D"):
            whole = TOKENS_A_PARAMETER * table.variable("N") * table["chinchilla"]
            off = np.log(table.variable("D") / whole)
            worst = min((worst, float(off[np.argmax(np.abs(off))])), key=lambda x: -abs(x))
    if abs(worst) < CUT:
        return []
    return [
        Doubt(
            "cut off",
            f"D differs from 20 N x chinchilla by up to {percent(np.expm1(worst), signed=True)}, as a label"
            " such as '2B' that was cut off does: give the tokens themselves",
        )
    ]


def doubts_of_fits(fits: Sequence[RecipeFit]) -> list[Doubt]:
    """Return what the fits themselves cannot tell."""
    found: list[Doubt] = []
    few = [fit for fit in fits if fit.degrees_of_freedom <= FEW_FREEDOM]
    if few:
        fit = few[0]
        free = fit.n_rows - fit.degrees_of_freedom
        found.append(
            Doubt(
                "few points",
                f"{free} parameters on {fit.n_rows} points leave {fit.degrees_of_freedom}"
                f" degree{'s' if fit.degrees_of_freedom != 1 else ''} of freedom ({len(few)} of"
                f" {len(fits)} fits): they hardly determine the floor, nor anything that depends on it",
            )
        )
    missed = [
        f"{fit.recipe} by {percent(fit.misfit, 2)}"
        for fit in fits
        if fit.misfit is not None and (fit.misfit_chance or 0) > MISSES
    ]
    if missed:
        found.append(
            Doubt(
                "lack of fit",
                f"the law misses the runs by more than noise ({', '.join(missed[:SHOWN])}"
                " of the loss); the intervals include this misfit",
            )
        )
    found += [
        Doubt("lack of fit", f"{fit.recipe}: {fit.warning}; the intervals do not include this misfit")
        for fit in fits
        if fit.warning is not None
    ]
    return found


def doubts_of_points(baseline: str, recipes: Sequence[RecipeSpeedup], step: float) -> list[Doubt]:
    """Return which speed-ups are extrapolated, and how much they depend on the floor."""
    points = [(recipe, point) for recipe in recipes for point in recipe.points]
    beyond = [(recipe, point) for recipe, point in points if point.beyond > 1]
    found: list[Doubt] = []
    if beyond:
        recipe, point = max(beyond, key=lambda pair: pair[1].beyond)
        where = f"{recipe.name} at {words_of(point.at)}"
        farthest = "which no run reaches" if np.isinf(point.beyond) else f"by {point.beyond:.3g} times"
        found.append(
            Doubt(
                "beyond the runs",
                f"{len(beyond)} of {len(points)} speed-ups extrapolate the law of {baseline} beyond"
                f" its largest run (farthest for {where}, {farthest})",
            )
        )
    moved = [(recipe, point, _spread(point.floors, point.speedup.value)) for recipe, point in points]
    worst = max(moved, key=lambda item: item[2], default=None)
    if worst is not None and worst[2] > FLOOR_MATTERS:
        recipe, point, _ = worst
        ends = " and ".join("none" if x is None else spell_ratio(x) for x in point.floors or ())
        found.append(
            Doubt(
                "floor",
                f"with floors {step:g} lower and higher, the speed-up of"
                f" {spell_ratio(point.speedup.value)} ({recipe.name} at {words_of(point.at)}) becomes {ends}",
            )
        )
    return found


def _spread(floors: tuple[float | None, float | None] | None, value: float) -> float:
    if floors is None or not np.isfinite(value):
        return 0.0
    return max((abs(np.log(x / value)) for x in floors if x is not None), default=0.0)


def words_of(at: Mapping[str, float]) -> str:
    """Return a place in words, such as "N = 1.3e+08, D = 2e+09"."""
    return ", ".join(f"{name} = {value:.3g}" for name, value in at.items())


def doubts_of_devices(recipes: Sequence[Recipe]) -> list[Doubt]:
    """Return a doubt if seconds were measured on several devices."""
    devices = {device for recipe in recipes for device in recipe.settings.devices}
    if len(devices) < 2:
        return []
    return [Doubt("pace", f"seconds were measured on several devices ({_list(frozenset(devices))})")]


def notes_of(recipes: Sequence[Recipe]) -> tuple[str, ...]:
    """Return the notes of the tables, each once. One more says if the cooldown is not known."""
    lines = dict.fromkeys(line for recipe in recipes for line in recipe.runs.notes)
    if all(recipe.settings.cooled is None for recipe in recipes):
        lines["No table says whether its runs were cooled down: make sure that all were."] = None
    return tuple(lines)


def _list(words: frozenset[str]) -> str:
    return ", ".join(sorted(words)[:SHOWN])
