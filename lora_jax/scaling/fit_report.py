"""The report of a fit. `fit --law` and every law of a sweep make theirs here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy

from lora_jax import __version__
from lora_jax.estimate import Estimate
from lora_jax.scaling.appraisal import Appraisal
from lora_jax.scaling.comparing.comparison_report import ComparisonReport
from lora_jax.scaling.estimate import Prediction
from lora_jax.scaling.fitting.fit import Fit
from lora_jax.scaling.fitting.influence import Influence, shifts_without
from lora_jax.scaling.fitting.profile import Profile
from lora_jax.scaling.given_params import given_number, given_params, lower_minimum, without_intervals
from lora_jax.scaling.intervals.uncertainty import Bootstrap
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.results import (
    FORMAT,
    Band,
    Convention,
    Difference,
    FitCertificate,
    FitFrontier,
    FitReport,
    FittedRun,
    LargestPredicted,
    Leading,
    LeftOutRun,
    Moved,
    Objective,
    ProfileCurve,
    Resampling,
    ResidualStructure,
)
from lora_jax.scaling.tables.provenance import describe_columns
from lora_jax.scaling.tables.table import VARIABLES, RunTable

MOST_SAMPLES = 500  # replicates that the document keeps, for contours
MOST_ROWS = 500  # rows of a table up to which we leave out each row in turn
GIVEN = (
    "The parameters were given, not fitted: they have no intervals. Those beside are of the law fitted to"
    " these runs.",
)


@dataclass(frozen=True)
class Further:
    """What a report holds beside the fit. A part that nobody asked for is empty.

    Attributes:
        predictions: The answers to the questions.
        doubts: Doubts that the predictions raise.
        differences: Comparisons with published constants.
        band_at: Values of the one variable at which the band is drawn, (m,). None draws none.
        frontier: N*, D* and the loss at several budgets.
        conventions: The leading number under other ways of counting N and C.
        comparison: The comparison with other laws.
        command: The command that asked.
        influence: Whether to compute the influence of every row.
        bulk: Whether to keep the replicates and profiles, which only figures show.
    """

    predictions: Sequence[Prediction] = ()
    doubts: Sequence[str] = ()
    differences: Sequence[Difference] = ()
    band_at: Array | None = None
    frontier: FitFrontier | None = None
    conventions: Mapping[str, Convention] = field(default_factory=dict)
    comparison: ComparisonReport | None = None
    command: str = ""
    influence: bool = False
    bulk: bool = True


def report_fit(own: Appraisal, table: RunTable, further: Further, given: Fit | None = None) -> FitReport:
    """Report a law's own fit, or parameters that were given, with the fit beside them.

    Args:
        own: The law's own fit, appraised.
        table: The runs behind the fitted rows. A row may be the mean of several runs.
        further: What the report holds beside the fit.
        given: The given parameters. None reports the fit itself.
    """
    found = own.fit if given is None else given
    law, goal, is_own = found.law, found.problem.goal, given is None
    replicates = replace(own.replicates, fit=found)
    name, value = law.leading(found.theta)
    return FitReport(
        law=law.key,
        name=law.name,
        formula=law.formula,
        reference=law.reference,
        variables=tuple(law.variables),
        response=law.response,
        table=table.source,
        n=len(table),
        n_clusters=replicates.n_clusters,
        clusters=replicates.units,
        columns=describe_columns(table),
        unit_told=table.unit_told,
        loss_unit=table.loss_unit,
        response_unit=table.unit_of(law.response),
        n_column=table.n_column,
        flops_column=table.flops_column,
        notes=(*found.problem.table.notes, *own.notes, *(() if is_own else GIVEN)),
        left_out=left_out_of(table),
        objective=Objective(goal.name, found.objective, goal.words),
        params=own.params if is_own else given_params(found, own),
        derived=_derived(own, found),
        leading=Leading(name, float(value)),
        bootstrap=Resampling(replicates.kind, replicates.n, replicates.n_failed, replicates.reason),
        certificate=_certificate(found, own, further.doubts),
        predictions=tuple(further.predictions if is_own else without_intervals(further.predictions)),
        differences=tuple(further.differences),
        runs=_runs(found, own.fit, further.influence),
        profiles={p.name: _show_profile(p) for p in own.profiles} if is_own and further.bulk else {},
        samples=_samples(replicates) if is_own and further.bulk else {},
        band=None if further.band_at is None or not is_own else _band(replicates, further.band_at),
        frontier=further.frontier if is_own else None,
        conventions=further.conventions if is_own else {},
        comparison=further.comparison,
        command=further.command,
        versions={"lora-jax": __version__, "numpy": np.__version__, "scipy": scipy.__version__},
        format=FORMAT,
    )


def left_out_of(table: RunTable) -> tuple[LeftOutRun, ...]:
    """Return the runs that the table leaves out, each with its reason and without its row."""
    return tuple(LeftOutRun(gone.run_id, gone.reason) for gone in table.left_out)


def _derived(own: Appraisal, found: Fit) -> dict[str, Estimate]:
    """Return the numbers that follow from the parameters.

    Numbers from given parameters have no interval. The fit's own number stands beside each.
    """
    functions = found.law.derived
    fitted = {k: own.replicates.interval_of(function) for k, function in functions.items()}
    if found is own.fit:
        return fitted
    replicates = replace(own.replicates, fit=found)
    values = {k: replicates.interval_of(function).value for k, function in functions.items()}
    return {k: given_number(value, fitted[k]) for k, value in values.items()}


def _certificate(found: Fit, own: Appraisal, doubts: Sequence[str]) -> FitCertificate:
    c, waves, largest = found.certificate, own.structure, own.largest
    warnings = own.warnings
    if found is not own.fit:
        warnings = (*c.warnings, *lower_minimum(found, own.fit), *own.doubts)

    def show(influence: Influence | None) -> Moved | None:
        return None if influence is None else Moved(influence.exponent, influence.shift, influence.run_ids)

    return FitCertificate(
        converged=c.converged,
        grad_norm=c.grad_norm,
        polish_gain=c.polish_gain,
        n_minima=c.n_minima,
        condition_number=c.condition_number,
        at_bound=c.at_bound,
        weakly_identified=c.weakly_identified,
        start_equals_answer=c.start_equals_answer,
        influence=show(c.influence),
        outliers=show(c.outliers),
        structure=None if waves is None else ResidualStructure(**vars(waves)),
        largest_runs=None
        if largest is None
        else LargestPredicted(
            largest.share,
            largest.n_runs,
            largest.n_inside,
            (float(largest.errors.min()), float(largest.errors.max())),
            largest.p_inside,
            largest.p_side,
        ),
        warnings=(*warnings, *doubts),
    )


def _runs(found: Fit, own: Fit, every: bool) -> tuple[FittedRun, ...]:
    """Return every row of the table.

    The influence of a row is how far the leading number moves if the law's own fit does without it.
    """
    problem, table = found.problem, found.problem.table
    measured = table[found.law.response]
    fitted = measured * np.exp(problem.residuals(found.theta))
    mine = found.law.variables
    letters = [v for v in VARIABLES if v in mine or (v == "C" and table.has("C"))]
    letters += [v for v in mine if v not in VARIABLES]
    columns = {v: table.variable(v) for v in letters}
    shifts: dict[int, float] = {}
    if every and problem.degrees_of_freedom > 0 and len(table) <= MOST_ROWS:
        shifts.update(own.certificate.shifts)
        rest = np.array([i for i in range(len(table)) if i not in shifts], dtype=np.int64)
        if len(rest):
            shifts.update(
                zip(rest.tolist(), shifts_without(own.problem, own.theta, rest).tolist(), strict=True)
            )
    return tuple(
        FittedRun(
            table.run_ids[i],
            {v: float(x[i]) for v, x in columns.items()},
            float(measured[i]),
            float(fitted[i]),
            shifts.get(i),
        )
        for i in range(len(table))
    )


def _samples(replicates: Bootstrap) -> dict[str, tuple[float, ...]]:
    return {k: tuple(v[:MOST_SAMPLES].tolist()) for k, v in replicates.params.items()}


def _show_profile(p: Profile) -> ProfileCurve:
    return ProfileCurve(
        tuple(p.value.tolist()), tuple(p.objective.tolist()), p.best, p.best + p.rise, (p.low, p.high)
    )


def _band(replicates: Bootstrap, x: Array) -> Band:
    """Return the mean response at values x (m,) of the one variable, with its 95 % interval."""
    (variable,) = replicates.fit.law.variables
    low, high = np.quantile(replicates.losses(**{variable: x}), [0.025, 0.975], axis=0)
    loss = replicates.fit.predict(**{variable: x})
    return Band(*(tuple(y.tolist()) for y in (x, loss, low, high)))
