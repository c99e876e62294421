"""Runs by recipe. Runs of a recipe share every setting but the model's size, tokens, rate and seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.rates.grids import AXES, DEFAULT, KIND, PARAMETRISATION, RateRun, say_setting, setting

SIZE = ("width", "depth", "tokens")  # the batch is a part of the recipe
BATCH = AXES["batch"]
LEADING = (KIND, PARAMETRISATION)
OF_OPTIMIZER = "optim.optimizer."  # its numbers differ wherever its kind does
MOST_SHOWN = 4


@dataclass(frozen=True)
class Recipe:
    """A way of training.

    Attributes:
        label: What sets it apart from the others, in words.
        settings: Every setting that differs between the recipes.
        run_ids: Its runs.
    """

    label: str
    settings: Mapping[str, str]
    run_ids: tuple[str, ...]


def sort_recipes(runs: Sequence[RateRun], source: str) -> tuple[Recipe, ...]:
    """Sort runs into recipes, first the one with the most runs.

    If several have as many runs, the one that is most like the others comes first. A setting that has one
    value for each size, such as the number of heads, belongs to the size.

    Args:
        runs: Runs of one sweep.
        source: What messages call the runs.

    Raises:
        LoraJaxError: There is only one recipe.
    """
    recipes = _sort(runs)
    if len(recipes) < 2:
        raise LoraJaxError(
            f"{source} has one recipe, for its runs differ in size, length, rate and seed alone: give runs"
            " that differ in another setting, or fit a law with `lora-jax fit`."
        )
    return recipes


def doubt_mixture(runs: Sequence[RateRun]) -> str | None:
    """Return a doubt about one law for all of these runs, if they come from several recipes. Else None.

    Only settings of the optimizer and of the model count. Data are what a law may be about.
    """
    trained = [
        replace(run, settings={n: v for n, v in run.settings.items() if n.startswith(("optim.", "model."))})
        for run in runs
    ]
    recipes = _sort(trained) if trained else ()
    if len(recipes) < 2:
        return None
    shown = [recipe.label for recipe in recipes[:MOST_SHOWN]]
    more = f" and {len(recipes) - MOST_SHOWN} more" if len(recipes) > MOST_SHOWN else ""
    return (
        f"the runs come from {len(recipes)} recipes ({'; '.join(shown)}{more}), and one law for all of them"
        " is the law of none: `lora-jax ablation FOLDER` fits each by itself"
    )


def _sort(runs: Sequence[RateRun]) -> tuple[Recipe, ...]:
    runs = [_with_batch(run) for run in runs]
    names = sorted({name for run in runs for name in run.settings})
    differing = [n for n in names if len({setting(run, n) for run in runs}) > 1]
    apart = [n for n in differing if not _belongs_to_size(runs, n)]
    groups: dict[tuple[str, ...], list[RateRun]] = {}
    for run in runs:
        groups.setdefault(tuple(setting(run, n) for n in apart), []).append(run)
    leading = [i for i, n in enumerate(apart) if n == KIND or not n.startswith(OF_OPTIMIZER)]
    order = sorted(
        groups, key=lambda v: (-len(groups[v]), _distance(v, groups, leading), -v.count(DEFAULT), v)
    )  # a default is what one would call the base
    settings = {values: dict(zip(apart, values, strict=True)) for values in order}
    labels = {
        values: _label(settings[values], settings[order[0]], list(settings.values())) for values in order
    }
    recipes = [
        Recipe(labels[values], settings[values], tuple(run.name for run in groups[values]))
        for values in order
    ]
    return (*recipes[:1], *sorted(recipes[1:], key=lambda recipe: recipe.label))


def _distance(values: Sequence[str], groups: Mapping[tuple[str, ...], object], places: Sequence[int]) -> int:
    """Return in how many settings a recipe differs from all others together; an optimizer counts once."""
    return sum(values[i] != other[i] for other in groups for i in places)


def _label(settings: Mapping[str, str], base: Mapping[str, str], every: Sequence[Mapping[str, str]]) -> str:
    """Return in words what a recipe does otherwise than the base: the fewest settings that tell it.

    The optimizer and the parametrisation are always told where they differ; the base is named by them.
    """
    leading = [n for n in LEADING if len({s.get(n) for s in every}) > 1]
    changed = [n for n in settings if settings[n] != base[n] and n not in leading]
    told = [n for n in leading if settings[n] != base[n]]
    if not told and not changed:
        return ", ".join(say_setting(n, settings[n]) for n in leading) or "base"
    while changed:
        left = {n: _count_alike(settings, [*told, n], every) for n in changed}
        best = min(changed, key=lambda n: left[n])
        if left[best] >= _count_alike(settings, told, every):
            break
        told.append(best)
        changed.remove(best)
    return ", ".join(say_setting(n, settings[n]) for n in told)


def _count_alike(settings: Mapping[str, str], told: Sequence[str], every: Sequence[Mapping[str, str]]) -> int:
    return sum(all(other[n] == settings[n] for n in told) for other in every)


def _with_batch(run: RateRun) -> RateRun:
    return replace(run, settings={**run.settings, BATCH: f"{run.sizes['batch']:g}"})


def _belongs_to_size(runs: Sequence[RateRun], name: str) -> bool:
    values: dict[tuple[float, ...], set[str]] = {}
    for run in runs:
        values.setdefault(tuple(run.sizes[axis] for axis in SIZE), set()).add(setting(run, name))
    return all(len(found) == 1 for found in values.values())
