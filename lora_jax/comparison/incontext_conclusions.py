"""The sentences of a comparison of in-context learning with fine-tuning: its verdict and its warnings."""

from collections.abc import Mapping, Sequence

from lora_jax.comparison.conclusions import FEWEST_SEEDS, show_score
from lora_jax.comparison.incontext_records import Attempt
from lora_jax.comparison.incontext_results import BestPrompt, Crossing, Difference, Line, TaskComparison

ALIKE, BETTER, WORSE = "not distinguishable from", "better than", "worse than"


def say_incontext(tasks: Sequence[TaskComparison]) -> list[str]:
    """Return the verdict for each task: the best prompt, then where fine-tuning passes it.

    Lines with the same base as the prompt come first.
    """
    said: list[str] = []
    for task in tasks:
        if task.best_prompt is None:
            said.append(f"{task.task}: no prompt was scored, so we cannot compare fine-tuning with one.")
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
        f"{task.task}: the best prompt is {name_prompt(task, best)}. Its accuracy is"
        f" {show_score(best.score)} on {task.n_test} test examples."
    )


def _say_crossing(task: TaskComparison, crossing: Crossing) -> str:
    """Say how a fine-tuned line compares with the best prompt at one number of examples, then at the others.

    The one is the number from which on the line is better, or else the most examples that were tried.
    """
    name = f"{task.task}, {name_line(task.lines[crossing.line])}"
    points = {point.n: point for point in crossing.points}
    scores = {point.n: point.score for point in task.lines[crossing.line].points}
    most, n = max(points), crossing.passes_at
    if n is None:
        n = most
    found = f"accuracy {scores[n].value:.3f}, {_gain(points[n])}"
    said = f"{name}: with {n:,} examples it is {_compare(points[n])} the best prompt ({found})."
    if crossing.passes_at is not None and n < most:
        said += f" It stays better up to {most:,} examples, the most that we tried."
    others = {m: point for m, point in points.items() if m < n}
    return " ".join([said, *_correct(task, points[n]), *_describe_others(others, _compare(points[n]))])


def _compare(point: Difference) -> str:
    if not point.distinguishable:
        return ALIKE
    return BETTER if point.is_above else WORSE


def _correct(task: TaskComparison, point: Difference) -> list[str]:
    """Say if a difference does not stand after correcting for all differences of its task."""
    if not point.distinguishable or point.after_holm:
        return []
    return [
        f"After correcting for {_count_differences(task)} comparisons (Holm at 5 %), the two are no longer"
        " distinguishable."
    ]


def _count_differences(task: TaskComparison) -> int:
    return sum(len(crossing.points) for crossing in task.crossings)


def _gain(point: Difference) -> str:
    low, high = point.interval
    return f"difference {_signed(point.value)} with 95 % interval {_signed(low)} to {_signed(high)}"


def _signed(x: float) -> str:
    return f"{x:+.3f}".replace("-", "\u2212")


def _describe_others(points: Mapping[int, Difference], main: str) -> list[str]:
    """Return, for example, "With 8 and 32 examples it is worse than that prompt."

    Args:
        points: The other points of a line, by number of examples.
        main: What was said of the line already.
    """
    kinds: dict[str, list[str]] = {main: [], ALIKE: [], WORSE: [], BETTER: []}
    for n in sorted(points):
        kinds[_compare(points[n])].append(f"{n:,}")
    return [
        f"The same holds with {_listed(found)} examples."
        if kind == main
        else f"With {_listed(found)} examples it is {kind} that prompt."
        for kind, found in kinds.items()
        if found
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


def warn_incontext(tasks: Sequence[TaskComparison], tunings: Sequence[Attempt]) -> list[str]:
    """Return what weakens the comparison, one sentence each."""
    lines = []
    for task in tasks:
        lines += _warn_of_draws(task) + _warn_of_rates(task) + _warn_of_cuts(task)
        fragile = [
            f"{name_line(task.lines[c.line])} with {p.n:,} examples"
            for c in task.crossings
            for p in c.points
            if p.distinguishable and not p.after_holm
        ]
        if fragile:
            lines.append(
                f"{task.task}: after correcting for {_count_differences(task)} comparisons (Holm at 5 %), we"
                f" can no longer distinguish these from the best prompt: {'; '.join(fragile)}."
            )
        if any(not c.same_base for c in task.crossings):
            lines.append(
                f"{task.task}: some lines have another base than the best prompt. They show what else you"
                " could do with the same examples. They do not compare two ways to teach one model."
            )
    diverged = [run for run in tunings if not run.rights]
    if diverged:
        names = dict.fromkeys(f"{run.base}, {run.label} with {run.n:,} examples" for run in diverged)
        runs = "1 fine-tuning run" if len(diverged) == 1 else f"{len(diverged)} fine-tuning runs"
        lines.append(f"We left out {runs} that diverged: {'; '.join(names)}.")
    return lines


def _warn_of_draws(task: TaskComparison) -> list[str]:
    """Say which points have a single draw. Their intervals do not cover which examples were drawn."""
    alone, few = [], False
    for line in task.lines:
        ns = [f"{p.n:,}" for p in line.points if len(p.draws) == 1 and not (line.is_prompt and p.n == 0)]
        few |= any(1 < len(p.draws) < FEWEST_SEEDS for p in line.points)
        if ns:
            alone.append(f"{name_line(line)} with {_listed(ns)} examples")
    said = []
    if alone:
        said.append(
            f"{task.task}: these have one draw of examples, so their intervals do not cover which examples"
            f" were drawn: {'; '.join(alone)}."
        )
    if few:
        said.append(
            f"{task.task}: two draws of examples tell little about the spread between draws, so those"
            " intervals are wide."
        )
    return said


def _warn_of_rates(task: TaskComparison) -> list[str]:
    single = [
        name_line(line)
        for line in task.lines
        if not line.is_prompt and all(p.at_edge == "only" for p in line.points)
    ]
    edges = [
        f"{name_line(line)} with {p.n:,} examples ({p.at_edge}, {p.rate:g})"
        for line in task.lines
        for p in line.points
        if p.at_edge in ("lowest", "highest")
    ]
    said = []
    if single:
        said.append(
            f"{task.task}: only one learning rate was tried for these, and another may be better:"
            f" {'; '.join(single)}."
        )
    if edges:
        said.append(
            f"{task.task}: the best learning rate is at an edge of its grid, and one beyond may be better:"
            f" {'; '.join(edges)}."
        )
    return said


def _warn_of_cuts(task: TaskComparison) -> list[str]:
    """Say once for every number of shots what did not fit the context."""
    notes = {
        f"{p.n}-shot: {note}"
        for line in task.lines
        if line.is_prompt
        for p in line.points
        for note in p.notes
    }
    return [f"{task.task}, {note}." for note in sorted(notes)]
