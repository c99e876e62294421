"""One law fitted to one table, and everything that a reader may ask about the answer.

`fit_law` makes the report that `lora-jax fit --law` prints and that its page shows (docs/architecture.md,
"fit.json").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.scaling.appraisal import REPLICATES, Appraisal, appraise
from lora_jax.scaling.comparing.comparison import compare
from lora_jax.scaling.comparing.comparison_report import ComparisonReport
from lora_jax.scaling.estimate import Prediction
from lora_jax.scaling.fit_report import Further, report_fit
from lora_jax.scaling.fitting.bounds import Ends
from lora_jax.scaling.fitting.fit import Fit, evaluate_given, fit
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
from lora_jax.scaling.results import (
    BudgetRow,
    Convention,
    Difference,
    FitFrontier,
    FitReport,
    PublishedValue,
)
from lora_jax.scaling.tables.batches import letters_apart
from lora_jax.scaling.tables.cells import settle_learning_rates
from lora_jax.scaling.tables.conventions import convention_tables
from lora_jax.scaling.tables.provenance import describe_columns
from lora_jax.scaling.tables.table import RunTable

CONVENTION_REPLICATES = 200
BAND_POINTS = 60
BUDGETS = 9  # budgets of the frontier, up to ten times the largest compute of the runs


@dataclass(frozen=True)
class Questions:
    """How to fit a law, and what to ask of the answer.

    Attributes:
        objective: What the fit minimises. None takes `Law.usual_objective`.
        delta: Width of the Huber objective. None takes the usual one.
        fixed: Parameters that are held at a value instead of fitted.
        bounds: Lower and upper end of parameters, in published units. An end that is None keeps our bound.
        weights: Name of a column with standard errors of the response.
        given: Published parameters to evaluate instead of fitting (`evaluate_given`).
        halves: For each of `given`, half a unit in the last digit that was printed.
        n_bootstrap: Bootstrap replicates behind the intervals.
        seed: Seed of the bootstrap.
        predict: Places to predict the response at, each a value for every variable.
        budgets: Budgets in FLOPs to split into N* and D*.
        serve: Pairs of a loss and the number of tokens to serve at that loss.
        versus: Published fits to test against, by name or as parameters.
        rival: A second table, to find where its law crosses this one.
        rival_at: For `rival`, the values of all variables but the one in which they cross.
        compare: Whether to compare with other laws out of sample.
        figures: Whether to compute the profiles and the influence of every row, which only figures show.
    """

    objective: str | None = None
    delta: float | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, Ends] = field(default_factory=dict)
    weights: str | None = None
    given: Mapping[str, float] | None = None
    halves: Mapping[str, float] = field(default_factory=dict)
    n_bootstrap: int = REPLICATES
    seed: int = 0
    predict: Sequence[Mapping[str, float]] = ()
    budgets: Sequence[float] = ()
    serve: Sequence[tuple[float, float]] = ()
    versus: Sequence[str | Mapping[str, float]] = ()
    rival: RunTable | None = None
    rival_at: Mapping[str, float] = field(default_factory=dict)
    compare: bool = False
    figures: bool = False


def fit_law(table: RunTable, law: Law, questions: Questions, command: str = "") -> FitReport:
    """Fit a law to a table, judge the fit and answer questions about it.

    Args:
        table: The runs.
        law: The law. `find_law` returns one by name.
        questions: How to fit, and what to ask.
        command: The command that asked. The report keeps it.

    Returns:
        The report: a verdict, the parameters with intervals, the certificate and the answers.

    Raises:
        LoraJaxError: The table lacks a column that the law needs or has too few rows, or a name is unknown.
    """
    if questions.compare and law.response != "loss":
        raise LoraJaxError(
            f"{law.key} predicts {law.response}, and laws of the loss are what is compared: leave"
            " --compare out."
        )
    return report_of(appraise_as_asked(table, law, questions), questions, command)


def appraise_as_asked(table: RunTable, law: Law, questions: Questions) -> Appraisal:
    """Fit a law to a table and return the fit with its intervals and doubts.

    Raises:
        LoraJaxError: As `fit_law` raises it.
    """
    table, rates = settle(table, law)
    if not questions.fixed:
        refuse_constant_columns(table, law)
    return appraise(
        fit_as_asked(table, law, questions),
        n_bootstrap=questions.n_bootstrap,
        seed=questions.seed,
        rates=rates,
        every_profile=questions.figures,
    )


def settle(table: RunTable, law: Law) -> tuple[RunTable, Sequence[str]]:
    """Return the rows to fit, with one learning rate for each cell, and the warnings about grids of rates.

    Only laws of the loss on tables with N and D have cells. Other tables come back as they are.
    """
    if law.response != "loss" or not has_cells(table):
        return table, ()
    table, rates = settle_learning_rates(table, letters_apart(law.variables))
    return table, rates.warnings


def refuse_constant_columns(table: RunTable, law: Law) -> None:
    """Raise if a variable of the law has the same value in every row, since no fit can then tell its effect.

    Raises:
        LoraJaxError: A variable is constant.
    """
    for v in law.variables:
        x = table.variable(v)
        if len(x) and x.max() <= x.min() * (1 + 1e-9):
            raise LoraJaxError(
                f"{table.source} has {v} = {x[0]:.4g} in every row, which says nothing of how {law.key}"
                f" depends on it: fit a law without {v}, or fix its parameters by --fix."
            )


def fit_as_asked(table: RunTable, law: Law, questions: Questions) -> Fit:
    """Fit the law with the objective, weights, fixed parameters and bounds of the questions."""
    return fit(
        law,
        table,
        questions.objective or law.usual_objective,
        weights_of(table, law, questions),
        fixed=questions.fixed,
        delta=questions.delta,
        moved=questions.bounds,
    )


def evaluate_as_asked(table: RunTable, law: Law, questions: Questions) -> Fit:
    """Return the given parameters as an answer to the problem that `fit_as_asked` solves."""
    return evaluate_given(
        law,
        table,
        questions.given or {},
        objective=questions.objective or law.usual_objective,
        weights=weights_of(table, law, questions),
        fixed=questions.fixed,
        delta=questions.delta,
        halves=questions.halves,
        moved=questions.bounds,
    )


def weights_of(table: RunTable, law: Law, questions: Questions) -> Array | None:
    """Return the weight of each row, (n,), from its standard error. None if no column of errors was named.

    Raises:
        LoraJaxError: A standard error is not above 0.
    """
    if questions.weights is None:
        return None
    relative = table[questions.weights] / table[law.response]
    if not (relative > 0).all():
        raise LoraJaxError(
            f"{table.source}, column {questions.weights!r} has standard errors that are not above 0:"
            " mend them, or fit without weights."
        )
    # a sum of squares weighs by 1 / variance, a sum of absolute values by 1 / standard deviation
    squares = (questions.objective or law.usual_objective) in ("squared", "least-squares")
    return relative**-2 if squares else relative**-1


def has_cells(table: RunTable) -> bool:
    """Return whether the table has N and D, so that its runs belong to cells."""
    return table.has("N") and table.has("D")


def report_of(own: Appraisal, questions: Questions, command: str = "") -> FitReport:
    """Return the report of a law's own fit, or of the given parameters if there are some."""
    table, law = own.fit.problem.table, own.fit.law
    given = None if questions.given is None else evaluate_as_asked(table, law, questions)
    return report_fit(own, table, _further(own, questions, command, given), given)


def _further(own: Appraisal, questions: Questions, command: str, given: Fit | None) -> Further:
    """Return the answers that stand beside the fit, computed from the given parameters if there are some."""
    found = own.fit if given is None else given
    table, law, replicates = own.fit.problem.table, found.law, replace(own.replicates, fit=found)
    predictions = [*_predictions(replicates, questions), *_crossover(replicates, questions)]
    derived = {k: replicates.interval_of(function) for k, function in law.derived.items()}
    return Further(
        predictions=predictions,
        doubts=(*falling(derived), *predictions_out_of_reach(table, predictions)),
        differences=tuple(_difference(own.replicates, i, name) for i, name in enumerate(questions.versus, 1)),
        band_at=_band_at(replicates) if len(law.variables) == 1 and given is None else None,
        frontier=_frontier(replicates) if given is None else None,
        conventions=_conventions(table, law, questions) if given is None else {},
        comparison=_comparison(table, found, questions),
        command=command,
        influence=questions.figures,
    )


def _comparison(table: RunTable, found: Fit, questions: Questions) -> ComparisonReport | None:
    if not questions.compare:
        return None
    goal, weights = found.problem.goal, weights_of(table, found.law, questions)
    return compare(table, objective=goal.name, delta=goal.width, weights=weights).report()


def _predictions(replicates: Bootstrap, questions: Questions) -> list[Prediction]:
    rows = [row for values in questions.predict for row in predict_loss(replicates, values)]
    rows += [row for flops in questions.budgets for row in predict_budget(replicates, flops)]
    rows += [row for loss, tokens in questions.serve for row in predict_serving(replicates, loss, tokens)]
    return rows


def _crossover(replicates: Bootstrap, questions: Questions) -> list[Prediction]:
    """Return where the law of the second table crosses that of the first. We bootstrap both."""
    if questions.rival is None:
        return []
    found = fit_as_asked(questions.rival, replicates.fit.law, questions)
    rival = bootstrap(found, questions.n_bootstrap, seed=questions.seed + 1)
    return [predict_crossing(replicates, rival, questions.rival_at)]


def _difference(replicates: Bootstrap, number: int, published: str | Mapping[str, float]) -> Difference:
    found = difference(replicates, published)
    return Difference(
        name=published if isinstance(published, str) else f"given ({number})",
        p=found.p,
        objective_ratio=found.objective_ratio,
        params={k: PublishedValue(row.published, row.inside) for k, row in found.params.items()},
        words=found.words,
    )


def _band_at(replicates: Bootstrap) -> Array:
    """Return the values of the one variable where the band is drawn.

    They reach to three times the largest run, or, for a law of L, to the largest.
    """
    (variable,) = replicates.fit.law.variables
    seen = replicates.fit.problem.table.variable(variable)
    return np.geomspace(seen.min(), seen.max() * (3 if variable != "L" else 1), BAND_POINTS)


def _frontier(replicates: Bootstrap) -> FitFrontier | None:
    problem = replicates.fit.problem
    if set(problem.law.variables) != {"N", "D"} or problem.law.response != "loss":
        return None
    six_nd = 6 * problem.table.variable("N") * problem.table.variable("D")
    rows = []
    for flops in np.geomspace(six_nd.min(), 10 * six_nd.max(), BUDGETS):
        found = {row.quantity: row for row in predict_budget(replicates, float(flops))}
        numbers = [Estimate(found[v].value, found[v].se, found[v].ci95) for v in ("N*", "D*", "loss")]
        if all(number.ci95 is not None for number in numbers):  # otherwise the law has no optimum there
            rows.append(BudgetRow(float(flops), *numbers))
    return FitFrontier(tuple(rows)) if rows else None


def _conventions(table: RunTable, law: Law, questions: Questions) -> dict[str, Convention]:
    """Return the leading number under every way of counting N and C that the table and the law allow."""
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
