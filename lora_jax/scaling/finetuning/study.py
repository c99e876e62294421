"""Laws of fine-tuning by method, from any table of runs: the laws, the forms, crossovers, capacity, needs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.estimate import Estimate
from lora_jax.percent import percent
from lora_jax.scaling.finetuning.capacities import RANK, find_capacities
from lora_jax.scaling.finetuning.crossings import Rival, cross_all
from lora_jax.scaling.finetuning.forms import Form, forms_for
from lora_jax.scaling.finetuning.heldout import What, score_forms, splits_of
from lora_jax.scaling.finetuning.method_laws import FittedLaw, fit_methods, log_fitted
from lora_jax.scaling.finetuning.methods import MethodRuns, split_methods
from lora_jax.scaling.finetuning.needs import find_needs
from lora_jax.scaling.finetuning.preparing import Prepared, prepare
from lora_jax.scaling.finetuning.results import (
    FORMAT,
    KIND,
    FinetuningReport,
    FormScore,
    LawFit,
    MethodResult,
)
from lora_jax.scaling.intervals.uncertainty import mark_bound
from lora_jax.scaling.joint.group_laws import GroupLaw
from lora_jax.scaling.results import LeftOutRun
from lora_jax.scaling.tables.cells import levels
from lora_jax.scaling.tables.run_table import RunTable
from lora_jax.scaling.verdict import verdict_of

REPLICATES = 2000
MISSES = 0.5  # probability from which a law is said to miss its runs
EACH_BETTER = "A law in F at each X predicts the largest F better than the chosen form"


@dataclass(frozen=True)
class Inquiry:
    """What is asked of a table of fine-tuning runs.

    Attributes:
        law: "finetuning-n", "finetuning-d" or "finetuning-p".
        by: The columns that make a method.
        names: The methods to compare. Empty for all.
        targets: Losses to reach. Empty for one that every method reaches.
        n_bootstrap: Bootstrap replicates.
        seed: Seed of the bootstrap.
        command: The command that asked, for the report.
    """

    law: str = "finetuning-n"
    by: tuple[str, ...] = ("method",)
    names: tuple[str, ...] = ()
    targets: tuple[float, ...] = ()
    n_bootstrap: int = REPLICATES
    seed: int = 0
    command: str = ""


def analyse(table: RunTable, asked: Inquiry) -> FinetuningReport:
    """Fit a law of fine-tuning to each method of a table, and say where methods cross and what they need.

    A method whose best learning rate is at an edge of its grid has a law, and takes part in no crossover. A
    table with one size has no law in N and laws in F alone.

    Raises:
        LoraJaxError: A column of `by` or a method in `names` does not exist, or the losses are not of one
            thing, as with two tasks or tokenizers.
    """
    prepared = prepare(table, asked.law)
    methods = split_methods(prepared.table, asked.by, prepared.letters)
    _check_names(asked.names, [method.name for method in methods])
    why_not = {m.name: _why_no_law(m, prepared.variables) for m in methods}
    fitted = [m for m in methods if why_not[m.name] is None]
    scores, why, laws = _fit_best(fitted, prepared, asked)
    edge = {m.name: _why_apart(m, why_not[m.name]) for m in methods}
    rivals = [
        Rival(m.name, laws[m.name].law, m.cells)
        for m in fitted
        if edge[m.name] is None and (not asked.names or m.name in asked.names)
    ]
    x = prepared.x if prepared.x in prepared.variables else None
    form = next((score.name for score in scores if score.chosen), None)
    return FinetuningReport(
        source=table.source,
        command=asked.command,
        law=asked.law,
        by=asked.by,
        x=prepared.x,
        x_column=_column(prepared.table, prepared.x),
        f_column=_column(prepared.table, "F"),
        loss_unit=table.loss_unit,
        task=prepared.task,
        methods=tuple(_describe(m, prepared, laws.get(m.name), form, why_not, edge) for m in methods),
        forms=scores,
        form=form,
        form_why=why,
        crossovers=cross_all(rivals, x, asked.seed) if "F" in prepared.variables else (),
        needs=()
        if x is None or not rivals
        else find_needs(rivals, x, asked.targets, {m.name: m.runs for m in methods}),
        capacities=find_capacities(prepared, asked.by, asked.seed),
        left_out=tuple(LeftOutRun(gone.run_id, gone.reason) for gone in table.left_out),
        doubts=(*table.doubts, *prepared.doubts, *_doubts(methods, prepared.table, scores)),
        notes=(*table.notes, *prepared.notes),
        kind=KIND,
        format=FORMAT,
    )


def _column(table: RunTable, letter: str) -> str:
    column = table.column_of(letter)
    return table.sources.get(column, column) if table.has(letter) else ""


def _check_names(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise LoraJaxError(
                f"--crossover names {name!r}, which is no method of the table{nearest(name, known)}: take"
                f" some of {', '.join(known)}."
            )
    if len(set(names)) == 1:
        raise LoraJaxError(f"--crossover names one method, {names[0]}: name two or more, or none for all.")


def _why_no_law(method: MethodRuns, variables: Sequence[str]) -> str | None:
    """Return why the cells of a method carry no law, or None where they do."""
    if not variables:
        return "nothing that a law could be in varies"
    for v in variables:
        if levels(method.cells.variable(v)).max() == 0:
            return f"all its runs have {v} = {method.cells.variable(v)[0]:.4g}"
    needed = len(forms_for(variables, 1)[0].law.names)
    if len(method.cells) <= needed:
        return f"it has {len(method.cells)} cells, and the law has {needed} parameters: add sizes or sets"
    return None


def _why_apart(method: MethodRuns, no_law: str | None) -> str | None:
    """Return why a method takes no part in comparisons, or None where it does."""
    if method.n_at_edge:
        return (
            f"in {method.n_at_edge} of its {len(method.cells)} cells the best learning rate is at an edge of"
            " those tried: what is not tuned looks worse than it is"
        )
    return None if no_law is None else f"it has no law: {no_law}"


def _fit_best(
    methods: Sequence[MethodRuns], prepared: Prepared, asked: Inquiry
) -> tuple[tuple[FormScore, ...], str, dict[str, FittedLaw]]:
    """Return the scores of all forms, why one was chosen, and the law of each method by it."""
    if not methods:
        return (), "No method has a law.", {}
    forms = forms_for(prepared.variables, len(methods))
    letters: dict[What, str] = {("F" if v == "F" else "X"): v for v in prepared.variables}
    scores, why = score_forms(forms, methods, splits_of(methods, letters), asked.seed)
    form: Form = next(f for f, score in zip(forms, scores, strict=True) if score.chosen)
    laws = fit_methods(form, methods, asked.n_bootstrap, asked.seed)
    return scores, why, {m.name: law for m, law in zip(methods, laws, strict=True)}


def _describe(
    method: MethodRuns,
    prepared: Prepared,
    fitted: FittedLaw | None,
    form: str | None,
    why_not: dict[str, str | None],
    apart: dict[str, str | None],
) -> MethodResult:
    logs = None if fitted is None else log_fitted(fitted.law, method.cells)
    law = None if fitted is None or logs is None else _law_of(method, fitted, logs, form or "")
    return MethodResult(
        method.name,
        method.n_all,
        method.n_failed,
        method.describe(prepared.letters, None if logs is None else np.exp(logs)),
        method.n_grids,
        method.n_at_edge,
        law,
        why_not[method.name],
        apart[method.name],
    )


def _law_of(method: MethodRuns, fitted: FittedLaw, logs: np.ndarray, form: str) -> LawFit:
    known, missed = fitted.law.misfits, logs - np.log(method.cells["loss"])
    doubts = [*fitted.certificate.warnings]
    if known is not None and known.chance > MISSES:
        doubts.append(
            f"the law misses the cells by more than noise ({percent(known.typical, 2)} of the loss)"
        )
    if method.n_at_edge:
        doubts.append(f"{method.n_at_edge} best learning rates are at an edge of those tried")
    return LawFit(
        form,
        fitted.law.problem.law.formula,
        _params(fitted.law),
        len(method.cells) - len(fitted.law.problem.law.names),
        float(np.sqrt((missed**2).mean())),
        float(np.median(fitted.law.noise)),
        None if known is None else known.typical,
        None if known is None else known.chance,
        verdict_of(doubts, fitted.certificate.converged),
    )


def _params(law: GroupLaw) -> dict[str, Estimate]:
    """Return the parameters with intervals, marked where they end at a bound, as a floor of 0."""
    return {
        name: mark_bound(row, law.problem, i, law.theta, law.samples)
        for i, (name, row) in enumerate(law.intervals.items())
    }


def _doubts(methods: Sequence[MethodRuns], table: RunTable, scores: Sequence[FormScore]) -> tuple[str, ...]:
    found: list[str] = []
    failed = [f"{m.n_failed} of {m.name}" for m in methods if m.n_failed]
    if failed:
        found.append(f"runs diverged and are left out: {', '.join(failed)}")
    single = [m.name for m in methods if m.n_grids < len(m.cells) and any(c is not None for c in m.choices)]
    if single:
        found.append(
            f"cells of {', '.join(single)} have one learning rate, and nothing says that it is the best"
        )
    if "seed" not in table.columns:
        found.append("the table has no seeds, so noise is known from the residuals alone")
    found += _mixed_ranks(methods)
    each, best = (
        next((s for s in scores if test(s) and "F" in s.rms_by), None)
        for test in (lambda s: s.name.startswith("rectified at"), lambda s: s.chosen)
    )
    if each is not None and best is not None and each.rms_by["F"] < best.rms_by["F"]:
        found.append(
            f"{EACH_BETTER}: {each.name}, {percent(each.rms_by['F'], 2)} off, and"
            f" {percent(best.rms_by['F'], 2)}"
        )
    return tuple(found)


def _mixed_ranks(methods: Sequence[MethodRuns]) -> list[str]:
    found = []
    for method in methods:
        runs = method.runs
        ranks = set(runs.labels.get(RANK, ())) | set(runs.columns.get(RANK, np.empty(0)).tolist())
        if len(ranks) > 1:
            found.append(
                f"{method.name} has runs of {len(ranks)} ranks, which one law mixes: divide by the rank too,"
                " as --by method rank"
            )
    return found
