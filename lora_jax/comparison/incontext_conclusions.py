"""The sentences of a comparison of in-context learning with fine-tuning: its verdict and its warnings."""

from collections.abc import Mapping, Sequence

from lora_jax.comparison.conclusions import FEWEST_SEEDS, show_score
from lora_jax.comparison.incontext_records import Attempt
from lora_jax.comparison.incontext_results import BestPrompt, Crossing, Difference, Line, TaskComparison


def say_incontext(tasks: Sequence[TaskComparison]) -> list[str]:
    """Return the verdict for each task: the best prompt, then where fine-tuning passes it.

    Lines with the same base as the prompt come first.
    """
    said: list[str] = []
    for task in tasks:
        if task.best_prompt is None:
            said.append(f"{task.task}: no prompt was scored, so that there is nothing to be passed.")
            continue
        said.append(_say_best(task, task.best_prompt))
        for same in (True, False):
            crossings = [c for c in task.crossings if c.same_base is same]
            said += [_say_crossing(task, crossing) for crossing in crossings]
        if not task.crossings:
            said.append(f"{task.task}: nothing was fine-tuned.")
    return said


def name_line(line: Line) -> str:
    """Return the name of a line of points, such as "smollm2, LoRA" or "smollm2, k-shot"."""
    if line.is_prompt:
        return f"{line.base}, {line.label}"
    return f"{line.base}{' with a head' if line.head else ''}, {line.label}"


def name_prompt(task: TaskComparison, best: BestPrompt) -> str:
    """Return the name of a task's best prompt, such as "smollm2, 16-shot, calibrated"."""
    line = task.lines[best.line]
    return f"{line.base}, {line.label.replace('k-shot', str(best.n) + '-shot')}"


def _say_best(task: TaskComparison, best: BestPrompt) -> str:
    return (
        f"{task.task}: the best prompt is {name_prompt(task, best)}, accuracy"
        f" {show_score(best.score)} on {task.n_test} test examples."
    )


def _say_crossing(task: TaskComparison, crossing: Crossing) -> str:
    line = task.lines[crossing.line]
    name = f"{task.task}, {name_line(line)}"
    points = {point.n: point for point in crossing.points}
    scores = {point.n: point.score for point in line.points}
    if crossing.passes_at is not None:
        n = crossing.passes_at
        said = f"{name}: passes the best prompt at n = {n} ({scores[n].value:.3f}; {_gain(points[n])})"
        below = [m for m in points if m < n]
        return said + (f"; {_describe_others(below, points)}." if below else ", the least n that was tried.")
    last = max(points)
    return (
        f"{name}: does not pass the best prompt up to n = {last} ({scores[last].value:.3f};"
        f" {_gain(points[last])}); {_describe_others(list(points), points)}."
    )


def _gain(point: Difference) -> str:
    low, high = point.interval
    return f"difference {_signed(point.value)}, 95 % interval {_signed(low)} to {_signed(high)}"


def _signed(x: float) -> str:
    return f"{x:+.3f}".replace("-", "\u2212")


def _describe_others(ns: Sequence[int], points: Mapping[int, Difference]) -> str:
    """Return, for example, "not told apart at 8 and 32; below it at 128"."""
    kinds: dict[str, list[str]] = {"not told apart": [], "below it": [], "above it": []}
    for n in sorted(ns):
        point = points[n]
        told = "above it" if point.is_above else "below it"
        kinds[told if point.distinguishable else "not told apart"].append(f"{n:,}")
    return "; ".join(f"{kind} at {_listed(found)}" for kind, found in kinds.items() if found)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


def warn_incontext(tasks: Sequence[TaskComparison], tunings: Sequence[Attempt]) -> list[str]:
    """Return what weakens the comparison, one sentence each."""
    lines = []
    for task in tasks:
        lines += _warn_of_draws(task) + _warn_of_rates(task) + _warn_of_cuts(task)
        fragile = [
            f"{name_line(task.lines[c.line])} at {p.n:,}"
            for c in task.crossings for p in c.points if p.distinguishable and not p.after_holm
        ]  # fmt: skip
        if fragile:
            n = sum(len(c.points) for c in task.crossings)
            lines.append(
                f"{task.task}: told apart alone, but not when all {n} differences are counted (Holm at"
                f" 5 %): {_listed(fragile)}."
            )
        if any(not c.same_base for c in task.crossings):
            lines.append(
                f"{task.task}: a head on another model is not the same model learned in another way; its"
                " line says what one would otherwise do with the same examples."
            )
    diverged = [run for run in tunings if not run.rights]
    if diverged:
        names = dict.fromkeys(f"{run.base}, {run.label} at n {run.n:,}" for run in diverged)
        lines.append(f"{len(diverged)} fine-tuning runs diverged and count nowhere: {_listed(list(names))}.")
    return lines


def _warn_of_draws(task: TaskComparison) -> list[str]:
    """Say which points have a single draw. Their intervals do not cover which examples were drawn."""
    alone, few = [], False
    for line in task.lines:
        ns = [
            f"{p.n:,}" for p in line.points
            if len(p.draws) == 1 and not (line.is_prompt and p.n == 0)
        ]  # fmt: skip
        few |= any(1 < len(p.draws) < FEWEST_SEEDS for p in line.points)
        if ns:
            alone.append(f"{name_line(line)} at {_listed(ns)}")
    said = []
    if alone:
        said.append(
            f"{task.task}: one draw of examples, so that the interval covers the test examples alone:"
            f" {'; '.join(alone)}."
        )
    if few:
        said.append(
            f"{task.task}: two draws of examples tell little about the spread between draws; the intervals"
            " know that, and are wide."
        )
    return said


def _warn_of_rates(task: TaskComparison) -> list[str]:
    single = [
        name_line(line) for line in task.lines
        if not line.is_prompt and all(p.at_edge == "only" for p in line.points)
    ]  # fmt: skip
    edges = [
        f"{name_line(line)} at {p.n:,} ({p.at_edge}, {p.rate:g})"
        for line in task.lines for p in line.points if p.at_edge in ("lowest", "highest")
    ]  # fmt: skip
    said = []
    if single:
        said.append(f"{task.task}: one learning rate for all n, another may be better: {'; '.join(single)}.")
    if edges:
        said.append(f"{task.task}: the best learning rate is at an edge of its grid: {'; '.join(edges)}.")
    return said


def _warn_of_cuts(task: TaskComparison) -> list[str]:
    """Say once for every number of shots what did not fit the context."""
    notes = {
        f"{p.n}-shot: {note}" for line in task.lines if line.is_prompt
        for p in line.points for note in p.notes
    }  # fmt: skip
    return [f"{task.task}, {note}." for note in sorted(notes)]
