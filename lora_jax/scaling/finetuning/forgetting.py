"""Forgetting beside learning: every run, its frontier, and a power law of what is forgotten by method."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import t as student

from lora_jax.estimate import Estimate
from lora_jax.percent import percent
from lora_jax.scaling.finetuning.forgetting_results import (
    Forgetting,
    ForgettingLaw,
    ForgottenRun,
    FrontierShare,
)
from lora_jax.scaling.finetuning.study_runs import MethodCell, StudyRun, cells_of, loss_of

LARGEST_SCATTER = 0.25  # sd of ln change around a law that is one
LEAST_FREEDOM = 2  # cells beyond the law's parameters


def measure_forgetting(runs: Sequence[StudyRun]) -> Forgetting | None:
    """Return what the runs of one task forgot; None where nothing was measured."""
    cells = cells_of(runs)
    measured = [_make_run(run, cell) for cell in cells for run in cell.runs if run.finetuning.study.source]
    if not measured:
        return None
    placed = mark_frontier(measured)
    methods = list(dict.fromkeys(run.method for run in placed))
    sources = {run.finetuning.study.source.source for run in runs if run.finetuning.study.source}
    return Forgetting(
        ", ".join(sorted(sources)),
        tuple(placed),
        tuple(fit_forgetting(name, [run for run in placed if run.method == name]) for name in methods),
        tuple(_share(name, placed) for name in methods),
    )


def _make_run(run: StudyRun, cell: MethodCell) -> ForgottenRun:
    source, place = run.finetuning.study.source, run.place
    assert source is not None  # asked before
    return ForgottenRun(
        run.run_id,
        run.label,
        place.base,
        place.n_params,
        place.n_train,
        place.finetune_tokens,
        place.batch_size,
        run.finetuning.method.rank,
        run.learning_rate,
        run.seed,
        loss_of(run),
        source.change,
        run.learning_rate == cell.best_rate,
        False,
    )


def _place(run: ForgottenRun) -> tuple[str, int, int]:
    return run.base, run.n_train, run.batch_size


def mark_frontier(runs: Sequence[ForgottenRun]) -> list[ForgottenRun]:
    """Return the runs with those marked that no run of their place beats in both losses."""
    groups: dict[tuple[str, int, int], list[ForgottenRun]] = {}
    for run in runs:
        groups.setdefault(_place(run), []).append(run)
    on: set[str] = set()
    for group in groups.values():
        least = math.inf
        for run in sorted(group, key=lambda run: (run.loss, run.change.value)):
            if run.change.value < least:
                least = run.change.value
                on.add(run.run_id)
    return [replace(run, on_frontier=run.run_id in on) for run in runs]


def _share(name: str, runs: Sequence[ForgottenRun]) -> FrontierShare:
    """Count the places in which a method is ahead, by one or both of the losses."""
    n_places = n_on = n_loss = n_forgotten = 0
    for place in dict.fromkeys(_place(run) for run in runs if run.method == name):
        group = [run for run in runs if _place(run) == place]
        methods = list(dict.fromkeys(run.method for run in group))
        if len(methods) < 2:
            continue
        means = {
            method: np.mean([(r.loss, r.change.value) for r in group if r.method == method and r.best], 0)
            for method in methods
        }
        n_places += 1
        n_on += any(run.on_frontier for run in group if run.method == name)
        n_loss += bool(means[name][0] == min(mean[0] for mean in means.values()))
        n_forgotten += bool(means[name][1] == min(mean[1] for mean in means.values()))
    return FrontierShare(name, n_places, n_on, n_loss, n_forgotten)


def fit_forgetting(name: str, runs: Sequence[ForgottenRun]) -> ForgettingLaw:
    """Fit change = A F^a N^b to a method's cells at their best rates, by least squares of ln change.

    A cell is the mean over its seeds. It has the batch size that most cells have. There is no law if few
    cells are left, if a change is not above 0, or if the cells scatter far around the law.

    Args:
        name: The method.
        runs: Its runs.
    """
    cells: dict[tuple[str, int, int], list[ForgottenRun]] = {}
    batches = [run.batch_size for run in runs]
    batch = max(dict.fromkeys(batches), key=batches.count)
    for run in runs:
        if run.best and run.batch_size == batch:
            cells.setdefault(_place(run), []).append(run)
    groups = list(cells.values())
    changes = np.array([np.mean([run.change.value for run in group]) for group in groups])
    n_kept = int((changes <= 0).sum())
    if n_kept:
        words = f"In {n_kept} of {len(groups)} cells nothing was forgotten, so that there is no power law."
        return ForgettingLaw(name, {}, None, None, len(groups), False, words)
    logs = {
        "F": np.log([group[0].finetune_tokens for group in groups]),
        "N": np.log([group[0].n_params for group in groups]),
    }
    columns = {letter: x - x.mean() for letter, x in logs.items() if np.ptp(x) > 0}
    freedom = len(groups) - 1 - len(columns)
    if not columns or freedom < LEAST_FREEDOM:
        words = f"{len(groups)} cells are too few for a power law."
        return ForgettingLaw(name, {}, None, None, len(groups), False, words)
    design = np.column_stack([np.ones(len(groups)), *columns.values()])
    inverse = np.linalg.pinv(design.T @ design)
    y = np.log(changes)
    coefficients = inverse @ design.T @ y
    residuals = y - design @ coefficients
    scatter = math.sqrt(float(residuals @ residuals) / freedom)
    times = float(student.ppf(0.975, freedom))
    found = [
        Estimate(float(c), se, (float(c) - times * se, float(c) + times * se))
        for c, se in zip(coefficients, scatter * np.sqrt(np.diag(inverse)), strict=True)
    ]
    level = found[0]
    at = Estimate(math.exp(level.value), level.se, (math.exp(level.low), math.exp(level.high)))
    exponents = dict(zip(columns, found[1:], strict=True))
    return ForgettingLaw(name, exponents, at, scatter, len(groups), *_judge(exponents, scatter))


def _judge(exponents: dict[str, Estimate], scatter: float) -> tuple[bool, str]:
    if scatter > LARGEST_SCATTER:
        return (
            False,
            f"It does not follow a power law: cells scatter around the best one by {percent(scatter)}.",
        )
    flat = [letter for letter, e in exponents.items() if e.low <= 0 <= e.high]
    if flat:
        return True, f"It follows a power law, whose exponent of {' and of '.join(flat)} may be 0."
    return True, "It follows a power law."
