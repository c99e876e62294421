"""One law fitted to one table, and everything that a reader may ask of the answer.

`fit_law` gives the report that `lora-jax fit --law` prints and that its page shows (docs/architecture.md,
"fit.json").
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import scipy

from lora_jax import __version__
from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.scaling.appraisal import Appraisal, appraise
from lora_jax.scaling.comparing.comparison import compare
from lora_jax.scaling.comparing.comparison_report import ComparisonReport
from lora_jax.scaling.estimate import Prediction
from lora_jax.scaling.fitting.fit import Fit
from lora_jax.scaling.fitting.influence import Influence, shifts_without
from lora_jax.scaling.fitting.profile import Profile
from lora_jax.scaling.given_params import given_number, given_params, lower_minimum, without_intervals
from lora_jax.scaling.intervals.difference import difference
from lora_jax.scaling.intervals.uncertainty import Bootstrap, bootstrap
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.prediction.forecasts import (
    predict_budget,
    predict_crossing,
    predict_loss,
    predict_serving,
)
from lora_jax.scaling.prediction.reach import falling, predictions_out_of_reach
from lora_jax.scaling.questions import (
    Questions,
    evaluate_as_asked,
    fit_as_asked,
    has_cells,
    refuse_constant_columns,
    settle,
    weights_of,
)
from lora_jax.scaling.reporting import band_of, left_out_of
from lora_jax.scaling.results import (
    FORMAT,
    Band,
    BudgetRow,
    Convention,
    Difference,
    FitCertificate,
    FitFrontier,
    FitReport,
    FittedRun,
    LargestPredicted,
    Leading,
    Moved,
    Objective,
    ProfileCurve,
    PublishedValue,
    Resampling,
    ResidualStructure,
)
from lora_jax.scaling.tables.conventions import convention_tables
from lora_jax.scaling.tables.provenance import describe_columns
from lora_jax.scaling.tables.table import VARIABLES, RunTable

MOST_SAMPLES = 500  # of replicates in the document, for contours
MOST_ROWS = 500  # of a table whose rows are left out one by one
CONVENTION_REPLICATES = 200
BAND_POINTS = 60
GIVEN = (
    "The parameters were given, not fitted: they have no intervals. Those beside are of the law fitted to"
    " these runs.",
)
BUDGETS = 9  # of the frontier, up to ten times the largest compute of the runs


def fit_law(table: RunTable, law: Law, questions: Questions, command: str = "") -> FitReport:
    """Fit `law` to the table and return the report.

    Raises LoraJaxError for a column that the law needs and the table lacks, too few rows, unknown names.
    """
    if questions.compare and law.response != "loss":
        raise LoraJaxError(
            f"{law.key} predicts {law.response}, and laws of the loss are what is compared: leave"
            " --compare out."
        )
    return report_of(appraise_as_asked(table, law, questions), questions, command)


def appraise_as_asked(table: RunTable, law: Law, questions: Questions) -> Appraisal:
    """Fit `law` to the table, and return the fit with its intervals and doubts; raises as `fit_law` does."""
    table, rates = settle(table, law)
    if not questions.fixed:
        refuse_constant_columns(table, law)
    return appraise(
        fit_as_asked(table, law, questions), n_bootstrap=questions.n_bootstrap, seed=questions.seed,
        rates=rates, every_profile=questions.figures,
    )  # fmt: skip


def report_of(own: Appraisal, questions: Questions, command: str = "") -> FitReport:
    """Return the report of a law's own fit, or of the parameters that were given to be judged."""
    table, law, is_given = own.fit.problem.table, own.fit.law, questions.given is not None
    found = evaluate_as_asked(table, law, questions) if is_given else own.fit
    replicates = replace(own.replicates, fit=found)
    predictions = [*_predictions(replicates, questions), *_crossover(replicates, questions)]
    derived = {k: replicates.interval_of(function) for k, function in law.derived.items()}
    asked = [*falling(derived), *predictions_out_of_reach(table, predictions)]
    warnings = [*own.warnings, *asked]
    if is_given:
        warnings = [*found.certificate.warnings, *lower_minimum(found, own.fit), *own.doubts, *asked]
        predictions = without_intervals(predictions)
        fitted = {k: own.replicates.interval_of(function) for k, function in law.derived.items()}
        derived = {k: given_number(row.value, fitted[k]) for k, row in derived.items()}
    name, value = law.leading(found.theta)
    goal = found.problem.goal
    return FitReport(
        law=law.key, name=law.name, formula=law.formula, reference=law.reference,
        variables=tuple(law.variables), response=law.response,
        table=table.source, n=len(table), n_clusters=replicates.n_clusters, clusters=replicates.units,
        columns=describe_columns(table), unit_told=table.unit_told, loss_unit=table.loss_unit,
        response_unit=table.unit_of(law.response), n_column=table.n_column, flops_column=table.flops_column,
        notes=(*found.problem.table.notes, *own.notes, *(GIVEN if is_given else ())),
        left_out=left_out_of(table),
        objective=Objective(goal.name, found.objective, goal.words),
        params=given_params(found, own) if is_given else own.params,
        derived=derived,
        leading=Leading(name, float(value)),
        bootstrap=Resampling(replicates.kind, replicates.n, replicates.n_failed, replicates.reason),
        certificate=_certificate(found, own, warnings),
        predictions=tuple(predictions),
        differences=tuple(_difference(own.replicates, i, name) for i, name in enumerate(questions.versus, 1)),
        runs=_runs(found, own.fit.theta, questions.figures),
        profiles={} if is_given else {p.name: _show_profile(p) for p in own.profiles},
        samples={} if is_given else _samples(replicates),
        band=_band(replicates) if len(law.variables) == 1 and not is_given else None,
        frontier=None if is_given else _frontier(replicates),
        conventions={} if is_given else _conventions(table, law, questions),
        comparison=_comparison(table, found, questions),
        command=command,
        versions={"lora-jax": __version__, "numpy": np.__version__, "scipy": scipy.__version__},
        format=FORMAT,
    )  # fmt: skip


def _comparison(table: RunTable, found: Fit, questions: Questions) -> ComparisonReport | None:
    if not questions.compare:
        return None
    goal, weights = found.problem.goal, weights_of(table, found.law, questions)
    return compare(table, objective=goal.name, delta=goal.width, weights=weights).report()


def _samples(replicates: Bootstrap) -> dict[str, tuple[float, ...]]:
    return {k: tuple(v[:MOST_SAMPLES].tolist()) for k, v in replicates.params.items()}


def _show_profile(p: Profile) -> ProfileCurve:
    return ProfileCurve(
        tuple(p.value.tolist()), tuple(p.objective.tolist()), p.best, p.best + p.rise, (p.low, p.high)
    )


def _certificate(found: Fit, own: Appraisal, warnings: Sequence[str]) -> FitCertificate:
    c, waves, largest = found.certificate, own.structure, own.largest

    def show(influence: Influence | None) -> Moved | None:
        return None if influence is None else Moved(influence.exponent, influence.shift, influence.run_ids)

    return FitCertificate(
        converged=c.converged, grad_norm=c.grad_norm, polish_gain=c.polish_gain, n_minima=c.n_minima,
        condition_number=c.condition_number, at_bound=c.at_bound, weakly_identified=c.weakly_identified,
        start_equals_answer=c.start_equals_answer,
        influence=show(c.influence), outliers=show(c.outliers),
        structure=None if waves is None else ResidualStructure(**vars(waves)),
        largest_runs=None if largest is None else LargestPredicted(
            largest.share, largest.n_runs, largest.n_inside,
            (float(largest.errors.min()), float(largest.errors.max())), largest.p_inside, largest.p_side,
        ),
        warnings=tuple(warnings),
    )  # fmt: skip


def _predictions(replicates: Bootstrap, questions: Questions) -> list[Prediction]:
    rows = [row for values in questions.predict for row in predict_loss(replicates, values)]
    rows += [row for flops in questions.budgets for row in predict_budget(replicates, flops)]
    rows += [row for loss, tokens in questions.serve for row in predict_serving(replicates, loss, tokens)]
    return rows


def _crossover(replicates: Bootstrap, questions: Questions) -> list[Prediction]:
    """Return where the law of the second table crosses the first's, both bootstrapped."""
    if questions.rival is None:
        return []
    found = fit_as_asked(questions.rival, replicates.fit.law, questions)
    rival = bootstrap(found, questions.n_bootstrap, seed=questions.seed + 1)
    return [predict_crossing(replicates, rival, questions.rival_at)]


def _difference(replicates: Bootstrap, number: int, published: str | Mapping[str, float]) -> Difference:
    found = difference(replicates, published)
    return Difference(
        name=published if isinstance(published, str) else f"given ({number})",
        p=found.p, objective_ratio=found.objective_ratio,
        params={k: PublishedValue(row.published, row.inside) for k, row in found.params.items()},
        words=found.words,
    )  # fmt: skip


def _runs(found: Fit, minimum: Array, every: bool) -> tuple[FittedRun, ...]:
    """Return every row; its influence is how far the fit's leading number, at `minimum`, moves without it."""
    problem, table = found.problem, found.problem.table
    measured = table[found.law.response]
    fitted = measured * np.exp(problem.residuals(found.theta))
    mine = found.law.variables
    letters = [v for v in VARIABLES if v in mine or (v == "C" and table.has("C"))]
    letters += [v for v in mine if v not in VARIABLES]
    columns = {v: table.variable(v) for v in letters}
    shifts: Sequence[float | None] = [None] * len(table)
    if every and problem.degrees_of_freedom > 0 and len(table) <= MOST_ROWS:
        shifts = shifts_without(problem, minimum, np.arange(len(table))).tolist()
    return tuple(
        FittedRun(
            table.run_ids[i], {v: float(x[i]) for v, x in columns.items()}, float(measured[i]),
            float(fitted[i]), shifts[i],
        )
        for i in range(len(table))
    )  # fmt: skip


def _band(replicates: Bootstrap) -> Band:
    """Return the response with its 95 % interval over the one variable, to three times beyond the runs."""
    (variable,) = replicates.fit.law.variables
    seen = replicates.fit.problem.table.variable(variable)
    x = np.geomspace(seen.min(), seen.max() * (3 if variable != "L" else 1), BAND_POINTS)
    return band_of(replicates, variable, x)


def _frontier(replicates: Bootstrap) -> FitFrontier | None:
    problem = replicates.fit.problem
    if set(problem.law.variables) != {"N", "D"} or problem.law.response != "loss":
        return None
    six_nd = 6 * problem.table.variable("N") * problem.table.variable("D")
    rows = []
    for flops in np.geomspace(six_nd.min(), 10 * six_nd.max(), BUDGETS):
        found = {row.quantity: row for row in predict_budget(replicates, float(flops))}
        numbers = [Estimate(found[v].value, found[v].se, found[v].ci95) for v in ("N*", "D*", "loss")]
        if all(number.ci95 is not None for number in numbers):  # else the law has no optimum there
            rows.append(BudgetRow(float(flops), *numbers))
    return FitFrontier(tuple(rows)) if rows else None


def _conventions(table: RunTable, law: Law, questions: Questions) -> dict[str, Convention]:
    """Return the leading number under every convention of N and C that the table allows and the law reads."""
    if not ({"N", "C"} & set(law.variables)) or not has_cells(table):
        return {}
    distinct: dict[tuple[str, ...], str] = {}
    tables = convention_tables(table)
    for name, other in tables.items():
        read = {"N": other.n_column, "C": other.flops_column}
        distinct.setdefault(tuple(read[v] for v in law.variables if v in read), name)
    if len(distinct) < 2:
        return {}
    rows: dict[str, Convention] = {}
    for name in distinct.values():
        other = tables[name]
        found = fit_as_asked(other, law, questions)
        replicates = bootstrap(found, CONVENTION_REPLICATES, seed=questions.seed)
        value, samples = law.leading(found.theta)[1], law.leading(replicates.theta)[1]
        exponent = replicates.summarise(float(value), samples)
        rows[name] = Convention(other.n_column, other.flops_column, describe_columns(other), exponent)
    return rows
