"""In-context learning beside fine-tuning: scores by number of examples, and where one passes the other.

It reads plain records (`incontext_records.py`) and never imports jax.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lora_jax.comparison.crossing import find_crossings
from lora_jax.comparison.estimates import Estimators
from lora_jax.comparison.incontext_conclusions import say_incontext, warn_incontext
from lora_jax.comparison.incontext_records import (
    Attempt,
    DealtRun,
    ScoredPrompt,
    list_shots,
    read_tuned,
)
from lora_jax.comparison.incontext_results import (
    FORMAT,
    KIND,
    BestPrompt,
    Cost,
    InContextComparison,
    Line,
    Point,
    PublishedScores,
    TaskComparison,
)
from lora_jax.comparison.uncertainty import CROSSED, PAIRED, crossed_mean
from lora_jax.errors import LoraJaxError

# Accuracy of GPT-3 in percent, few-shot and fine-tuned, from Hu et al. 2021 (arXiv 2106.09685) and Brown et
# al. 2020 (arXiv 2005.14165). We measure the same two things, on a model 1,300 times smaller.
PUBLISHED = (PublishedScores("MNLI-m", 40.6, 89.5), PublishedScores("RTE", 69.0, 85.4))


def compare_incontext(prompts: Sequence[ScoredPrompt], runs: Sequence[DealtRun]) -> InContextComparison:
    """Compare prompts with fine-tuning, task by task.

    The interval of a point's score covers draws and test examples. A crossing compares a line's accuracy with
    the best prompt's, paired by test example and draw.

    Args:
        prompts: The scored prompts.
        runs: The fine-tuning runs.

    Raises:
        LoraJaxError: There is nothing to compare, or not all were tested on the same examples.
    """
    shots = [shot for record in prompts for shot in list_shots(record)]
    tunings = [read_tuned(record) for record in runs]
    finished = [run for run in tunings if run.rights]
    if not shots and not finished:
        raise LoraJaxError("there is no finished run to compare: run `lora-jax incontext` first.")
    rights = {run.run_id: run.rights for run in (*shots, *finished)}
    tasks = []
    for label in dict.fromkeys(run.task for run in (*shots, *finished)):
        task = _compare_task(label, [run for run in (*shots, *tunings) if run.task == label])
        tasks.append(replace(task, crossings=find_crossings(task, rights)))
    return InContextComparison(
        kind=KIND,
        n_prompts=len(prompts),
        n_runs=len(runs),
        n_diverged=len(tunings) - len(finished),
        published=PUBLISHED,
        estimator=Estimators(CROSSED, PAIRED),
        tasks=tuple(tasks),
        verdict=tuple(say_incontext(tasks)),
        warnings=tuple(warn_incontext(tasks, tunings)),
        format=FORMAT,
    )


def _compare_task(label: str, runs: Sequence[Attempt]) -> TaskComparison:
    """Return every way to learn one task. Its crossings are not known yet."""
    sizes = {len(run.rights) for run in runs if run.rights}
    if len(sizes) > 1 or min(sizes) < 2:
        raise LoraJaxError(
            f"the runs of {label} were tested on {' and '.join(map(str, sorted(sizes)))} examples, but all"
            " must be tested on the same ones, and on two at least: run them again into a folder of their"
            " own."
        )
    by_line: dict[tuple[Any, ...], list[Attempt]] = {}
    for run in runs:
        by_line.setdefault((run.way, run.base, run.label, run.head), []).append(run)
    lines = tuple(line for members in by_line.values() if (line := _make_line(members)).points)
    prompts = [
        BestPrompt(i, point.n, point.score)
        for i, line in enumerate(lines)
        if line.is_prompt
        for point in line.points
    ]
    best = max(prompts, key=lambda one: (one.score.value, -one.n), default=None)
    return TaskComparison(label, min(sizes), 1 / runs[0].n_labels, lines, (), best)


def _make_line(members: Sequence[Attempt]) -> Line:
    first = members[0]
    by_n: dict[int, list[Attempt]] = {}
    for run in members:
        by_n.setdefault(run.n, []).append(run)
    points = [point for n in sorted(by_n) if (point := _make_point(n, by_n[n])) is not None]
    return Line(first.way, first.base, first.label, first.head, tuple(points))


def _make_point(n: int, runs: Sequence[Attempt]) -> Point | None:
    """Return the point at one number of examples.

    The rate with the best dev score of the first draw is taken.
    """
    rate, at_edge = _choose_rate(runs)
    chosen = sorted((run for run in runs if run.rate == rate and run.rights), key=lambda run: run.draw)
    if not chosen:
        return None
    rights_SN = np.array([run.rights for run in chosen], float)
    held = [run.n_shots for run in chosen if run.n_shots is not None]
    return Point(
        n=n,
        is_all=chosen[0].is_all,
        run_ids=tuple(run.run_id for run in chosen),
        draws=tuple(run.draw for run in chosen),
        score=crossed_mean(rights_SN, (0.0, 1.0)),
        by_draw=tuple(rights_SN.mean(axis=1).tolist()),
        rate=rate,
        at_edge=at_edge,
        n_steps=chosen[0].n_steps,
        n_shots=_mean(held) if held else None,
        learn=_typical_cost([run.learn for run in chosen]),
        answer=_typical_cost([run.answer for run in chosen]),
        notes=tuple(dict.fromkeys(note for run in chosen for note in run.notes)),
    )


def _choose_rate(runs: Sequence[Attempt]) -> tuple[float | None, str | None]:
    if runs[0].is_prompt:
        return None, None
    first = min(run.draw for run in runs)
    tried = sorted(
        ((run.rate, run) for run in runs if run.draw == first and run.rate is not None),
        key=lambda pair: pair[0],
    )
    scored = [(rate, run.dev) for rate, run in tried if run.dev is not None and run.rights]
    if not scored:
        return None, None
    sign = -1 if runs[0].head else 1  # the score is a head's accuracy, or the loss of the answers
    best, _ = min(scored, key=lambda one: (sign * one[1], one[0]))
    if len(tried) == 1:
        return best, "only"
    return best, {tried[0][0]: "lowest", tried[-1][0]: "highest"}.get(best)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _typical_cost(costs: Sequence[Cost]) -> Cost:
    """Return mean tokens and median seconds.

    The first draw may have compiled programs that the others found.
    """
    timed = [cost.seconds for cost in costs if cost.seconds is not None]
    return Cost(_mean(cost.tokens for cost in costs), float(np.median(timed)) if timed else None)
