"""Which form of the law predicts what it has not seen? We hold out the largest F, and the largest X."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.percent import percent
from lora_jax.scaling.comparing.error_resampling import bounds_of, draw
from lora_jax.scaling.finetuning.forms import Form
from lora_jax.scaling.finetuning.method_laws import fit_quickly, predict_cells, residuals_of
from lora_jax.scaling.finetuning.methods import MethodRuns
from lora_jax.scaling.finetuning.results import FormScore, HeldOut
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.tables.cells import levels

What = Literal["F", "X"]
REPLICATES = 400  # behind the interval of a prediction
FEWEST_LEVELS = 3  # of a variable: with two, the largest is no test of a law


@dataclass(frozen=True)
class Split:
    """What is held out of every method.

    Attributes:
        what: What is held out.
        train: The rows of each method's cells to fit.
        test: The rows of each method's cells to predict.
    """

    what: What
    train: tuple[np.ndarray, ...]
    test: tuple[np.ndarray, ...]


def splits_of(methods: Sequence[MethodRuns], letters: Mapping[What, str]) -> list[Split]:
    """Return the splits that hold out the cells of each method's largest F, and those of its largest X.

    Args:
        methods: The methods.
        letters: The variable behind each of "F" and "X". There is no split of one with few levels in a
            method.
    """
    found = []
    for what, letter in letters.items():
        level = [levels(method.cells.variable(letter)) for method in methods]
        if min(k.max() for k in level) + 1 >= FEWEST_LEVELS:
            largest = [k == k.max() for k in level]
            found.append(
                Split(
                    what,
                    tuple(np.flatnonzero(~k) for k in largest),
                    tuple(np.flatnonzero(k) for k in largest),
                )
            )
    return found


def score_forms(
    forms: Sequence[Form], methods: Sequence[MethodRuns], splits: Sequence[Split], seed: int = 0
) -> tuple[tuple[FormScore, ...], str]:
    """Score every form by what it predicts unseen, and choose one.

    The first form is the law as published. Another takes its place only if its errors are smaller by more
    than chance explains, over all that was held out (`comparing/error_resampling.py`). Of several such forms
    it is the one with the least error. So a true law is rarely given up, and its intervals stay what they
    are.

    Args:
        forms: The forms.
        methods: The runs of each method.
        splits: What is held out.
        seed: Seed of the intervals.

    Returns:
        The scores, and why the form was chosen.
    """
    scores = [_score(form, methods, splits, seed) for form in forms]
    if not splits or not scores[0].heldout:
        why = "Nothing was held out: F and X have fewer than three levels each, or too few cells."
        return (replace(scores[0], chosen=True), *scores[1:]), why
    n_rivals = sum(len(score.heldout) == len(scores[0].heldout) for score in scores) - 1
    scores = [scores[0], *(_compare(score, scores[0], n_rivals) for score in scores[1:])]
    fit_all_x = {form.name for form in forms if form.each is None}
    better = [
        s
        for s in scores
        if s.name in fit_all_x and s.better is not None and s.better.ci95 is not None and s.better.high < 0
    ]
    chosen = min(better, key=lambda s: s.rms or np.inf) if better else scores[0]
    if better:
        why = (
            f"The form {chosen.name!r} predicts the cells that were held out better than the law as published"
            f" ({_percent_off(chosen)} off, and {_percent_off(scores[0])}), by more than chance explains."
        )
    else:
        why = (
            "No form predicts the cells that were held out better than the law as published, by more than"
            f" chance explains ({_percent_off(scores[0])} off)."
        )
    return tuple(replace(score, chosen=score is chosen) for score in scores), why


def _percent_off(score: FormScore) -> str:
    assert score.rms is not None, "something was held out"
    return percent(score.rms, 2)


def _score(form: Form, methods: Sequence[MethodRuns], splits: Sequence[Split], seed: int) -> FormScore:
    heldout: list[HeldOut] = []
    missing: list[str] = []
    for split in splits:
        if form.each is not None and split.what == "X":
            missing.append("it says nothing of an X without runs")
            continue
        try:
            heldout += _predict(form, methods, split, seed)
        except LoraJaxError as reason:
            missing.append(f"without the largest {split.what}: {str(reason).rstrip('.')}")
    rms_fitted, n_params = None, 0
    try:
        rms_fitted, n_params = _fit_all(form, methods)
    except LoraJaxError as reason:
        missing.append(str(reason).rstrip("."))
    errors = {what: [h.error for h in heldout if h.what == what] for what in ("F", "X")}
    return FormScore(
        form.name,
        form.law.formula,
        form.shared,
        n_params,
        tuple(heldout),
        _rms([h.error for h in heldout]) if heldout else None,
        {what: _rms(some) for what, some in errors.items() if some},
        rms_fitted,
        None,
        False,
        "; ".join(dict.fromkeys(missing)) or None,
    )


def _rms(errors: Sequence[float] | Array) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


def _parts(form: Form, methods: Sequence[MethodRuns], rows: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Return the rows of each method that one law is fitted to: all, or those of each X."""
    if form.each is None:
        return [list(rows)]
    of_x = [levels(method.cells.variable(form.each)) for method in methods]
    n_levels = max(int(level.max()) for level in of_x) + 1
    return [[some[level[some] == k] for some, level in zip(rows, of_x, strict=True)] for k in range(n_levels)]


def _predict(form: Form, methods: Sequence[MethodRuns], split: Split, seed: int) -> list[HeldOut]:
    found: list[HeldOut] = []
    trains, tests = _parts(form, methods, split.train), _parts(form, methods, split.test)
    for train, test in zip(trains, tests, strict=True):
        own = [k for k in range(len(methods)) if len(test[k])]
        laws = fit_quickly(form, [methods[k] for k in own], [train[k] for k in own], REPLICATES, seed)
        for k, law in zip(own, laws, strict=True):
            table = methods[k].cells.take(test[k])
            letters = [v for v in "NDPF" if table.has(v)]
            for i, (value, (low, high)) in enumerate(predict_cells(law, table, seed)):
                measured = float(np.log(table["loss"][i]))
                found.append(
                    HeldOut(
                        methods[k].name,
                        split.what,
                        {v: float(table.variable(v)[i]) for v in letters},
                        Estimate(float(np.exp(value)), None, (float(np.exp(low)), float(np.exp(high)))),
                        float(np.exp(measured)),
                        value - measured,
                        low <= measured <= high,
                    )
                )
    return found


def _fit_all(form: Form, methods: Sequence[MethodRuns]) -> tuple[float, int]:
    """Return the residuals' root mean square over all cells, and the number of parameters."""
    errors: list[float] = []
    n_params = 0
    every = [np.arange(len(method.cells)) for method in methods]
    for rows in _parts(form, methods, every):
        own = [k for k in range(len(methods)) if len(rows[k])]
        n_params += len(own) * len(form.law.names) - (len(own) - 1) * len(form.shared)
        errors += residuals_of(form, [methods[k] for k in own], [rows[k] for k in own]).tolist()
    return _rms(errors), n_params


def _compare(score: FormScore, first: FormScore, n_rivals: int) -> FormScore:
    """Return a score with how much better it is than the first, where both predict the same cells."""
    if len(score.heldout) != len(first.heldout):
        return score
    fits: dict[tuple[str, str], int] = {}
    cells: dict[tuple[str, tuple[float, ...]], int] = {}
    origin = [fits.setdefault((h.what, h.method), len(fits)) for h in first.heldout]
    unit = [cells.setdefault((h.method, tuple(h.at.values())), len(cells)) for h in first.heldout]
    draws = draw(np.array(origin), np.array(unit))
    mine, other = (np.array([h.error**2 for h in one.heldout]) for one in (score, first))
    value = float((mine.mean() - other.mean()) / other.mean())
    if draws is None:
        return replace(score, better=Estimate(value, None, None))
    ends = bounds_of(draws.mean(mine - other) / other.mean(), n_rivals)
    return replace(score, better=Estimate(value, None, ends, by="bootstrap"))
