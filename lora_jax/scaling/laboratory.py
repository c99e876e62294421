"""The laboratory: one law fitted to one table, and everything that a reader may ask of the answer.

`examine` gives the document that `lora-jax fit --law` prints and that its page shows (docs/architecture.md,
"fit.json").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy

from lora_jax import __version__
from lora_jax.errors import LoraJaxError
from lora_jax.scaling.comparing.comparison import compare
from lora_jax.scaling.fitting.certificate import verdict_of
from lora_jax.scaling.fitting.fit import Fit, fit, judge
from lora_jax.scaling.fitting.influence import Influence, shifts_without
from lora_jax.scaling.fitting.lack_of_fit import lack_of_fit
from lora_jax.scaling.fitting.objectives import WORDS
from lora_jax.scaling.fitting.profile import Profile, profile
from lora_jax.scaling.intervals.difference import difference
from lora_jax.scaling.intervals.interval_check import interval_warning
from lora_jax.scaling.intervals.uncertainty import Bootstrap, bootstrap
from lora_jax.scaling.laws.law import Law
from lora_jax.scaling.prediction.forecasts import (
    predict_budget,
    predict_crossing,
    predict_loss,
    predict_serving,
)
from lora_jax.scaling.tables.cells import seed_noise, settle_learning_rates
from lora_jax.scaling.tables.conventions import convention_tables
from lora_jax.scaling.tables.table import VARIABLES, RunTable

MOST_SAMPLES = 500  # of replicates in the document, for contours
MOST_ROWS = 500  # of a table whose rows are left out one by one
CONVENTION_REPLICATES = 200
BAND_POINTS = 60
JUDGED = ("The parameters were given, not fitted; the intervals are those of the law fitted to these runs.",)
BUDGETS = 9  # of the frontier, up to ten times the largest compute of the runs


@dataclass(frozen=True)
class Questions:
    """How to fit, and what to ask of the answer.

    weights: a column of standard errors of the response. given: somebody's parameters to judge instead of
    fitting. predict: values of the variables to predict the response at. budgets: FLOPs to split into N* and
    D*. serve: (loss, inference tokens). versus: published fits to test against. rival: a second table for the
    same law, and the values of all variables but the one in which they cross. compare: other laws, out of
    sample.
    """

    objective: str = "huber"
    delta: float | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)
    weights: str | None = None
    given: Mapping[str, float] | None = None
    n_bootstrap: int = 1000
    seed: int = 0
    predict: Sequence[Mapping[str, float]] = ()
    budgets: Sequence[float] = ()
    serve: Sequence[tuple[float, float]] = ()
    versus: Sequence[str] = ()
    rival: RunTable | None = None
    rival_at: Mapping[str, float] = field(default_factory=dict)
    compare: bool = False
    figures: bool = False  # also profiles and the influence of every row, which only figures show


def examine(table: RunTable, law: Law, questions: Questions, command: str = "") -> dict[str, Any]:
    """Fit `law` to the table and return the document.

    Raises LoraJaxError for a column that the law needs and the table lacks, too few rows, unknown names.
    """
    if law.response == "loss":
        table, rates = settle_learning_rates(table) if _has_cells(table) else (table, {"warnings": []})
    else:
        rates = {"warnings": []}
    if not questions.fixed:
        _refuse_constant_columns(table, law)
    found = _fit(table, law, questions)
    replicates = bootstrap(found, questions.n_bootstrap, seed=questions.seed)
    profiles = _profiles(found, replicates, questions.figures)
    warnings = [*found.certificate.warnings, *_more_warnings(found, replicates), *rates["warnings"]]
    name, value = law.leading(found.theta)
    return {
        "law": law.key, "name": law.name, "formula": law.formula, "reference": law.reference,
        "variables": list(law.variables), "response": law.response,
        "table": table.source, "n": len(table), "n_clusters": replicates.n_clusters,
        "loss_unit": table.loss_unit, "n_column": table.n_column, "flops_column": table.flops_column,
        "notes": [*table.notes, *(JUDGED if questions.given is not None else ())],
        "left_out": [{"run_id": gone.run_id, "reason": gone.reason} for gone in table.left_out],
        "objective": {
            "name": questions.objective, "words": WORDS[questions.objective], "value": found.objective,
        },
        "params": _params(found, replicates, profiles),
        "derived": {k: replicates.interval_of(function) for k, function in law.derived.items()},
        "leading": {"name": name, "value": float(value)},
        "bootstrap": {
            "kind": replicates.kind, "n": replicates.n, "n_failed": replicates.n_failed,
            "reason": replicates.reason,
        },
        "certificate": _certificate(found, warnings),
        "predictions": [*_predictions(replicates, questions), *_crossover(replicates, questions)],
        "differences": [_difference(replicates, name) for name in questions.versus],
        "runs": _runs(found, questions.figures),
        "profiles": {p.name: _show_profile(p) for p in profiles},
        "samples": {k: v[:MOST_SAMPLES].tolist() for k, v in replicates.params.items()},
        "band": _band(replicates) if len(law.variables) == 1 else None,
        "frontier": _frontier(replicates),
        "conventions": _conventions(table, law, questions),
        "comparison": compare(table, objective=questions.objective).to_dict() if questions.compare else None,
        "command": command,
        "versions": {"lora-jax": __version__, "numpy": np.__version__, "scipy": scipy.__version__},
    }  # fmt: skip


def _refuse_constant_columns(table: RunTable, law: Law) -> None:
    """Raise where a variable of the law is the same in every row: no fit can say what it does."""
    for v in law.variables:
        x = table.variable(v)
        if len(x) and x.max() <= x.min() * (1 + 1e-9):
            raise LoraJaxError(
                f"{table.source} has {v} = {x[0]:.4g} in every row, which says nothing of how {law.key}"
                f" depends on it: fit a law without {v}, or fix its parameters by --fix."
            )


def _fit(table: RunTable, law: Law, questions: Questions) -> Fit:
    if questions.given is not None:
        return judge(law, table, questions.given, objective=questions.objective)
    weights = None
    if questions.weights is not None:
        relative = table[questions.weights] / table[law.response]
        if not (relative > 0).all():
            raise LoraJaxError(
                f"{table.source}, column {questions.weights!r} has standard errors that are not above 0:"
                " mend them, or fit without weights."
            )
        # the variance counts in a sum of squares, the standard deviation in one of absolute values
        weights = relative**-2 if questions.objective in ("squared", "least-squares") else relative**-1
    return fit(law, table, questions.objective, weights, fixed=questions.fixed, delta=questions.delta)


def _has_cells(table: RunTable) -> bool:
    return table.has("N") and table.has("D")


def _more_warnings(found: Fit, replicates: Bootstrap) -> list[str]:
    warnings = []
    doubt = interval_warning(replicates)
    if doubt is not None:
        warnings.append(doubt)
    table = found.problem.table
    # without seeds, rows of one cell may be one run read twice: they do not say what the noise is
    if found.law.response == "loss" and _has_cells(table) and "seed" in table.columns:
        misfit = lack_of_fit(table, found.residuals, found.problem.n_free, seed_noise(table))
        if misfit is not None:
            warnings.append(misfit)
    return warnings


def _params(found: Fit, replicates: Bootstrap, profiles: Sequence[Profile]) -> dict[str, Any]:
    """Return every parameter with its interval: by the profile where replicates end at a bound."""
    unit = found.problem.table.loss_unit if found.law.response == "loss" else found.law.response
    by_profile = {p.name: p for p in profiles if p.name in replicates.at_bound}
    intervals = replicates.intervals()
    rows: dict[str, Any] = {}
    for p in found.law.parameters:
        row: dict[str, Any] = intervals[p.name]
        fixed = p.name in found.problem.fixed
        row |= {"unit": p.unit.replace("response", unit), "fixed": fixed, "by": "bootstrap"}
        if fixed:
            row |= {"se": None, "ci95": None, "by": "fixed"}
        elif p.name in by_profile:
            ends = [by_profile[p.name].low, by_profile[p.name].high]
            # open on a side: the runs do not bound it there, and no number may pretend that they do
            row |= {"ci95": ends if None not in ends else None, "profile95": ends, "by": "profile"}
        rows[p.name] = row
    return rows


def _profiles(found: Fit, replicates: Bootstrap, every: bool) -> list[Profile]:
    problem = found.problem
    if problem.degrees_of_freedom < 1 or not found.certificate.converged:
        return []
    free = [n for n in found.law.names if n not in problem.fixed]
    chosen = free if every else [n for n in free if n in replicates.at_bound]
    return [profile(problem, found.theta, found.objective, name) for name in chosen]


def _show_profile(p: Profile) -> dict[str, Any]:
    return {
        "value": p.value.tolist(), "objective": p.objective.tolist(), "best": p.best,
        "threshold": p.best + p.rise, "ci95": [p.low, p.high],
    }  # fmt: skip


def _certificate(found: Fit, warnings: Sequence[str]) -> dict[str, Any]:
    c = found.certificate

    def show(influence: Influence | None) -> dict[str, Any] | None:
        if influence is None:
            return None
        return {
            "exponent": influence.exponent, "shift": influence.shift, "run_ids": list(influence.run_ids),
        }  # fmt: skip

    return {
        "converged": c.converged, "grad_norm": c.grad_norm, "polish_gain": c.polish_gain,
        "n_minima": c.n_minima, "condition_number": c.condition_number, "at_bound": list(c.at_bound),
        "weakly_identified": list(c.weakly_identified), "start_equals_answer": c.start_equals_answer,
        "influence": show(c.influence), "outliers": show(c.outliers),
        "verdict": verdict_of(warnings), "warnings": list(warnings),
    }  # fmt: skip


def _predictions(replicates: Bootstrap, questions: Questions) -> list[dict[str, Any]]:
    rows = [row for values in questions.predict for row in predict_loss(replicates, values)]
    rows += [row for flops in questions.budgets for row in predict_budget(replicates, flops)]
    rows += [row for loss, tokens in questions.serve for row in predict_serving(replicates, loss, tokens)]
    return rows


def _crossover(replicates: Bootstrap, questions: Questions) -> list[dict[str, Any]]:
    """Return where the law of the second table crosses the first's, both bootstrapped."""
    if questions.rival is None:
        return []
    found = _fit(questions.rival, replicates.fit.law, replace(questions, given=None))
    rival = bootstrap(found, questions.n_bootstrap, seed=questions.seed + 1)
    return [predict_crossing(replicates, rival, questions.rival_at)]


def _difference(replicates: Bootstrap, name: str) -> dict[str, Any]:
    found = difference(replicates, name)
    return {
        "name": name, "p": found["p"], "objective_ratio": found["objective_ratio"],
        "params": {
            k: {"theirs": row["published"], "inside": row["inside"]} for k, row in found["params"].items()
        },
        "words": found["sentence"],
    }  # fmt: skip


def _runs(found: Fit, every: bool) -> list[dict[str, Any]]:
    problem, table = found.problem, found.problem.table
    measured = table[found.law.response]
    fitted = measured * np.exp(problem.residuals(found.theta))
    letters = [v for v in VARIABLES if v in found.law.variables or (v == "C" and table.has("C"))]
    columns = {v: table.variable(v) for v in letters}
    shifts: Sequence[float | None] = [None] * len(table)
    if every and problem.degrees_of_freedom > 0 and len(table) <= MOST_ROWS:
        shifts = shifts_without(problem, found.theta, np.arange(len(table))).tolist()
    return [
        {
            "run_id": table.run_ids[i], **{v: float(x[i]) for v, x in columns.items()},
            "measured": float(measured[i]), "fitted": float(fitted[i]), "influence": shifts[i],
        }
        for i in range(len(table))
    ]  # fmt: skip


def _band(replicates: Bootstrap) -> dict[str, list[float]]:
    """Return the response with its 95 % interval over the one variable, to three times beyond the runs."""
    (variable,) = replicates.fit.law.variables
    seen = replicates.fit.problem.table.variable(variable)
    x = np.geomspace(seen.min(), seen.max() * (3 if variable != "L" else 1), BAND_POINTS)
    low, high = np.quantile(replicates.losses(**{variable: x}), [0.025, 0.975], axis=0)
    loss = replicates.fit.predict(**{variable: x})
    return {"x": x.tolist(), "loss": loss.tolist(), "lo": low.tolist(), "hi": high.tolist()}


def _frontier(replicates: Bootstrap) -> dict[str, Any] | None:
    problem = replicates.fit.problem
    if set(problem.law.variables) != {"N", "D"} or problem.law.response != "loss":
        return None
    six_nd = 6 * problem.table.variable("N") * problem.table.variable("D")
    rows = []
    for flops in np.geomspace(six_nd.min(), 10 * six_nd.max(), BUDGETS):
        found = {row["quantity"]: row for row in predict_budget(replicates, float(flops))}
        names = {"n_params": "N*", "n_tokens": "D*", "loss": "loss"}
        rows.append(
            {
                "flops": float(flops),
                **{k: {f: found[v][f] for f in ("value", "se", "ci95")} for k, v in names.items()},
            }
        )
    return {"rows": rows}


def _conventions(table: RunTable, law: Law, questions: Questions) -> dict[str, Any]:
    """Return the leading number under every convention of N and C that the table allows and the law reads."""
    if not ({"N", "C"} & set(law.variables)) or not _has_cells(table):
        return {}
    rows: dict[str, Any] = {}
    seen: set[tuple[str, ...]] = set()
    for name, other in convention_tables(table).items():
        read = {"N": other.n_column, "C": other.flops_column}
        key = tuple(read[v] for v in law.variables if v in read)
        if key in seen:
            continue
        seen.add(key)
        found = fit(law, other, questions.objective, fixed=questions.fixed, delta=questions.delta)
        replicates = bootstrap(found, CONVENTION_REPLICATES, seed=questions.seed)
        value, samples = law.leading(found.theta)[1], law.leading(replicates.theta)[1]
        rows[name] = {
            "n_column": other.n_column, "flops_column": other.flops_column,
            "exponent": replicates.summarise(float(value), samples),
        }  # fmt: skip
    return rows if len(rows) > 1 else {}
