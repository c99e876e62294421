"""What a comparison of recipes found, in sentences."""

from lora_jax.estimate import Estimate
from lora_jax.report.kit.numbers import format_count, format_percent
from lora_jax.scaling.fitting.lack_of_fit import LackOfFit
from lora_jax.scaling.recipes.results import CUTS_OF, VARIABLES, AblationReport, Cut, CutFit, RecipeFit
from lora_jax.scaling.verdict import Level

TWICE = 2.0  # times the noise between seeds: what the runs may lie off a law that is theirs


def headline(report: AblationReport) -> str:
    """Return the answer in one line."""
    fitted = [recipe for recipe in report.recipes if recipe.verdict is not None]
    if not fitted:
        return "No recipe has enough runs for this law."
    believed = [r.label for r in fitted if r.verdict is not None and r.verdict.level is Level.BELIEVE]
    close = [r.label for r in fitted if r.misfit is not None and _is_close(r.misfit)]
    said = f"{len(believed)} of {len(fitted)} recipes give a fit that you can believe"
    said += f", and {len(close)} lie off {report.formula} by less than twice the noise between seeds."
    if len(close) == len(fitted):
        return said
    parts = []
    for cut, what in CUTS_OF.items():
        n = sum(any(fit.cut == cut and _is_close(fit.misfit) for fit in recipe.cuts) for recipe in fitted)
        if any(fit.cut == cut for recipe in fitted for fit in recipe.cuts):
            parts.append(f"{n} {'does' if n == 1 else 'do'} without the {what}")
    return f"{said} {' and '.join(parts)}." if parts else said


def _is_close(misfit: LackOfFit) -> bool:
    """Whether runs lie off their law by less than twice the noise between seeds."""
    return misfit.times is not None and misfit.times.value < TWICE


def summarise(report: AblationReport) -> list[str]:
    """Return a sentence for each recipe, and one for each range on which its runs lie closer to the law."""
    lines = []
    for recipe in report.recipes:
        lines.append(say_recipe(recipe))
        lines += [line for cut in CUTS_OF if (line := say_cut(recipe, cut)) is not None]
    return lines


def doubts_of(report: AblationReport) -> list[str]:
    """Return every doubt about a recipe's fit, with the recipe's name."""
    return [
        f"{recipe.label}: {doubt}"
        for recipe in report.recipes
        for doubt in (recipe.verdict.doubts if recipe.verdict else ())
    ]


def say_recipe(recipe: RecipeFit) -> str:
    """Return what a recipe's fit says."""
    if recipe.misfit is None:
        return f"{recipe.label}: no fit, because it has {recipe.missing}."
    off, times = recipe.misfit.off, recipe.misfit.times
    value, between = spell_off(off)
    said = f"the runs lie {value} ({between}) off the law"
    if times is not None:
        said += f", {times.value:.1f} ({times.low:.1f} to {times.high:.1f}) times the noise between seeds"
    return f"{recipe.label}: {said}."


def say_cut(recipe: RecipeFit, cut: Cut) -> str | None:
    """Return from where the runs follow the law: the largest range on which they lie off it by less than
    twice the noise; else the one on which the misfit is least. None where no range is better than chance.
    """
    fits = [fit for fit in recipe.cuts if fit.cut == cut]
    closer = [fit for fit in fits if fit.misfit.off.value < fits[0].misfit.off.low]
    if not closer:
        return None
    close = [fit for fit in closer if _is_close(fit.misfit)]
    fit = close[0] if close else min(closer, key=lambda fit: fit.misfit.off.value)
    times = fit.misfit.times
    beside = "" if times is None else f", {times.value:.1f} times the noise between seeds"
    return (
        f"{recipe.label}: without the {CUTS_OF[cut]}, from {name_least(fit)}, they lie"
        f" {spell_off(fit.misfit.off)[0]} off it{beside}."
    )


def spell_off(off: Estimate) -> tuple[str, str]:
    """Return how far runs lie off their law in percent, and the 95 % interval of that."""
    value, low, high = (format_percent(x, signed=False) for x in (off.value, off.low, off.high))
    return value, f"{low} to {high}"


def name_least(fit: CutFit) -> str:
    """Return from where a range begins, such as "D = 307k"."""
    return f"{VARIABLES[fit.cut]} = {format_count(fit.least)}"
