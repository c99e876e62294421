"""Recipes against a baseline: what each saves at equal loss, as a function of scale."""

from collections.abc import Sequence

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.speedups import doubts as doubting
from lora_jax.scaling.speedups.by_laws import compare_by_laws
from lora_jax.scaling.speedups.by_runs import compare_by_group, compare_measured
from lora_jax.scaling.speedups.floors import refuse_floor_above
from lora_jax.scaling.speedups.question import Question, how_to_fit
from lora_jax.scaling.speedups.recipes import Recipe, refuse_unlike
from lora_jax.scaling.speedups.results import FORMAT, SpeedupReport


def compare_recipes(
    baseline: Recipe, rivals: Sequence[Recipe], question: Question, command: str = ""
) -> SpeedupReport:
    """Return what each recipe saves over the baseline at equal loss.

    Args:
        baseline: The recipe that the others are compared with.
        rivals: The others.
        question: How.
        command: The command that asked, for the report.

    Raises:
        LoraJaxError: The recipes cannot be compared, or a law cannot be fitted.
    """
    if not rivals:
        raise LoraJaxError(
            f"There is only {baseline.name}, and nothing to compare it with: give two recipes."
        )
    everybody = (baseline, *rivals)
    for rival in rivals:
        refuse_unlike(baseline, rival)
    refuse_floor_above([recipe.table for recipe in everybody], question.fixed)
    how = how_to_fit(everybody, question)
    if question.each is not None:
        fits, found = compare_by_group(baseline, rivals, how, question)
    elif question.measured:
        fits, found = compare_measured(baseline, rivals, how, question)
    else:
        fits, found = compare_by_laws(baseline, rivals, how, question)
    all_fits = [*fits, *(fit for recipe in found for fit in recipe.fits)]
    said = [
        *dict.fromkeys(d for rival in rivals for d in doubting.doubts_of_pair(baseline, rival)),
        *doubting.doubts_of_recipes(everybody, question.unfinished),
        *doubting.doubts_of_fits(all_fits),
        *doubting.doubts_of_points(baseline.name, found, question.floor_step),
        *(doubting.doubts_of_devices(everybody) if question.seconds is not None else []),
    ]
    return SpeedupReport(
        source=" and ".join(dict.fromkeys(r.runs.source for r in everybody)),
        command=command,
        baseline=baseline.name,
        formula=how.law.formula,
        loss_unit=baseline.runs.loss_unit,
        shared=question.shared,
        fixed=dict(question.fixed),
        floor_step=question.floor_step,
        baseline_fits=tuple(fits),
        recipes=tuple(found),
        doubts=tuple(said),
        notes=doubting.notes_of(everybody),
        kind="speedup",
        format=FORMAT,
    )
