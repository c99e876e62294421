"""Claim 4: the training curves of different ranks in the first part of training."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.names import inside
from lora_jax.percent import percent
from lora_jax.scaling.finetuning.claim_results import Band, Claim, judge
from lora_jax.scaling.finetuning.study_runs import MethodCell, Place, StudyRun
from lora_jax.scaling.rates.drifts import LEAST_ERROR, fit_line

Array = NDArray[np.float64]
FIRST_PART = 0.1  # of the steps
LEAST_ROWS = 5  # of a curve in that part
MARGIN = 0.01  # of ln loss
TEXT = "Early in training the curves of all ranks are one."
BAND = Band(-MARGIN, MARGIN)


def claim_early(cells: Sequence[MethodCell], folder: Path | None) -> Claim:
    """Return claim 4: the lowest against the highest rank, at equal rate and seed.

    Rates above the best of the two take no part, because training may be unstable there. If the loss has not
    fallen by more than the margin, equal curves would say nothing.

    Args:
        cells: The cells.
        folder: The results folder with the curves. None without curves.
    """
    pairs = [] if folder is None else find_pairs(cells)
    found = [both for pair in pairs if folder is not None and (both := _compare(folder, *pair)) is not None]
    first = f"the first {percent(FIRST_PART)}"
    measured = f"training loss of the lowest rank over the highest, in {first} of the steps"
    if not found:
        why = (
            "No two runs of different rank share a rate and a seed."
            if not pairs
            else f"No run has {LEAST_ROWS} rows of its curve in {first} of its steps."
        )
        return _missing(measured, why)
    fall = float(np.mean([fell for _, _, fell in found]))
    told = f"By then the loss has fallen by {percent(fall, 1)}."
    if fall < 2 * MARGIN:
        return _missing(measured, f"{told} That leaves nothing to compare.")
    places = list(dict.fromkeys(place for place, _, _ in found))
    by_place = [[diff for place, diff, _ in found if place == one] for one in places]
    units = [float(np.mean(diffs)) for diffs in by_place] if len(places) > 1 else by_place[0]
    if len(units) < 2:
        return _missing(measured, "Only one pair of runs can be compared.")
    errors = np.full(len(units), LEAST_ERROR)
    value: Estimate = fit_line(np.ones((len(units), 1)), np.array(units), errors, 1_000_000).estimate(
        np.ones(1)
    )
    by = "scatter between cells" if len(places) > 1 else "scatter between rates and seeds of the one cell"
    return Claim(4, TEXT, measured, "percent", value, BAND, judge(value, BAND), told, by, len(found), 0)


def find_pairs(cells: Sequence[MethodCell]) -> list[tuple[StudyRun, StudyRun]]:
    """Return runs of the lowest and the highest rank of a place, at equal rate and seed."""
    places: dict[Place, list[MethodCell]] = {}
    for cell in cells:
        if cell.first.is_lora and cell.first.adapts == "all":
            places.setdefault(cell.place, []).append(cell)
    pairs = []
    for group in places.values():
        low, high = (f(group, key=lambda cell: cell.first.rank) for f in (min, max))
        if low.first.rank == high.first.rank:
            continue
        most = max(low.best_rate, high.best_rate)
        others = {(run.learning_rate, run.seed): run for run in high.runs}
        pairs += [
            (run, others[run.learning_rate, run.seed])
            for run in low.runs
            if run.learning_rate <= most and (run.learning_rate, run.seed) in others
        ]
    return pairs


def _compare(folder: Path, low: StudyRun, high: StudyRun) -> tuple[Place, float, float] | None:
    """Return the place, the mean of ln (loss / other loss) and the fall of ln loss; None for short curves."""
    (step, one), (other_step, other) = (read_losses(folder, run.run_id) for run in (low, high))
    if len(step) != len(other_step) or (step != other_step).any():
        return None
    part = step <= FIRST_PART * low.n_steps
    if part.sum() < LEAST_ROWS:
        return None
    both = np.log(one[part]) - np.log(other[part])
    mean = (np.log(one[part]) + np.log(other[part])) / 2
    third = max(1, len(mean) // 3)
    fall = float(mean[:third].mean() - mean[-third:].mean())
    return low.place, float(both.mean()), fall


def read_losses(folder: Path, run_id: str) -> tuple[Array, Array]:
    """Return the steps and the losses of a run's curve."""
    path = inside(folder / "curves", f"{run_id}.csv", f"the record of {run_id}")
    again = "restore it, or delete the run's record and run the study again"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(row["step"], row["loss"]) for row in csv.DictReader(file)]
        step, loss = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    except FileNotFoundError:
        raise LoraJaxError(f"{path} is missing: {again}.") from None
    except (OSError, KeyError, ValueError, UnicodeDecodeError) as problem:
        raise LoraJaxError(f"{path} cannot be read ({problem}): {again}.") from problem
    whole = np.isfinite(loss) & (loss > 0)
    return step[whole], loss[whole]


def _missing(measured: str, why: str) -> Claim:
    return Claim(4, TEXT, measured, "percent", None, BAND, "not reachable at this scale", why, "", 0, 0)
