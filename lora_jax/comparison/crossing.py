"""From how many examples on fine-tuning is above the best prompt, by paired differences on one test set."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lora_jax.comparison.incontext_results import Crossing, Difference, Point, TaskComparison
from lora_jax.comparison.uncertainty import Array, holm, paired_difference

Rights = Mapping[str, Sequence[float]]  # by run id, 1 or 0 for each test example: right or wrong


def find_crossings(task: TaskComparison, rights: Rights) -> tuple[Crossing, ...]:
    """Compare every fine-tuned line of a task with the task's best prompt.

    A difference is marked `after_holm` if it stands after correcting for all differences of the task (Holm
    1979).

    Args:
        task: The task, with its lines and its best prompt.
        rights: By run id, which test examples were answered right.

    Returns:
        One crossing for each fine-tuned line. Empty if the task has no prompt.
    """
    best, best_line = task.best_prompt, task.best_line
    if best is None or best_line is None:
        return ()
    prompt = next(point for point in best_line.points if point.n == best.n)
    tuned = [(i, line) for i, line in enumerate(task.lines) if not line.is_prompt]
    differences = [[_compare(point, prompt, rights) for point in line.points] for _, line in tuned]
    stands = iter(holm([point.p for point in itertools.chain(*differences)]))
    crossings = []
    for (i, line), points in zip(tuned, differences, strict=True):
        counted = tuple(replace(p, after_holm=next(stands) and p.distinguishable) for p in points)
        crossings.append(Crossing(i, line.base == best_line.base, find_passing(counted), counted))
    return tuple(crossings)


def find_passing(points: Sequence[Difference]) -> int | None:
    """Return the smallest n from which on every point is distinguishably above.

    None if the last point is not.
    """
    passes = None
    for point in reversed(points):
        if not (point.distinguishable and point.is_above):
            break
        passes = point.n
    return passes


def _compare(point: Point, prompt: Point, rights: Rights) -> Difference:
    """Return the tuned accuracy less that of the prompt.

    The two are paired by draw if both have draws in common. Otherwise we take the mean over the prompt's
    draws. A prompt without examples has one draw, which is compared with every draw. `after_holm` is not
    known yet.
    """
    ours, theirs = _by_draw(point, rights), _by_draw(prompt, rights)
    shared = [draw for draw in ours if draw in theirs]
    if shared and len(theirs) > 1:
        difference_SN = np.array([ours[draw] - theirs[draw] for draw in shared])
    else:
        mean_N = np.mean(list(theirs.values()), axis=0)
        shared, difference_SN = list(ours), np.array([values - mean_N for values in ours.values()])
    found = paired_difference(difference_SN)
    return Difference(
        found.value,
        found.se,
        found.ci95,
        n=point.n,
        n_draws=len(shared),
        p=found.p,
        distinguishable=found.distinguishable,
        after_holm=False,
    )


def _by_draw(point: Point, rights: Rights) -> dict[int, Array]:
    pairs = zip(point.draws, point.run_ids, strict=True)
    return {draw: np.array(rights[run_id], float) for draw, run_id in pairs}
