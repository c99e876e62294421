"""Read and write fits.json of formats 1 and 2. There a fit says less than a `FitReport` does.

In format 1 `law` of a fit is the law in words. In format 2 it is the key of the law, and `name` has the
words. The report has None or an empty value for what an older file does not say. If an older file leaves out
columns and units, they are those of our own runs, because older versions wrote fits.json for our own runs
only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lora_jax.documents import fields_to_document, from_document, to_document
from lora_jax.estimate import Estimate
from lora_jax.scaling.estimate import Parameter
from lora_jax.scaling.results import Band, FitCertificate, Leading, Objective, Resampling
from lora_jax.scaling.sweep_results import SweepFit, SweepReport
from lora_jax.scaling.verdict import verdict_of


@dataclass(frozen=True)
class OlderObjective:
    """What was minimised, in words, and its value at the answer.

    Attributes:
        name: The objective in words.
        value: Its value.
    """

    name: str
    value: float


@dataclass(frozen=True)
class OlderCertificate:
    """Whether an answer is a minimum, and every doubt about it.

    The fields are those of `FitCertificate`.
    """

    converged: bool
    grad_norm: float
    polish_gain: float
    condition_number: float
    warnings: tuple[str, ...]

    def to_document(self) -> dict[str, Any]:
        """Return the fields, and the verdict in words that follows from them."""
        return {**fields_to_document(self), "verdict": verdict_of(self.warnings, self.converged).words}


@dataclass(frozen=True)
class OlderFit:
    """One law of a sweep, as older files hold it.

    Attributes:
        key: Name of this fit in the rest of the document.
        law: The law in words in format 1, the key of the law in format 2.
        formula: Its formula.
        variable: Its variables, with commas between them.
        slice: The runs in words.
        n: How many points were fitted.
        run_ids: The runs behind the points.
        objective: What was minimised.
        params: The parameters by name, with intervals.
        bootstrap: The bootstrap behind the intervals.
        certificate: The checks of the fit.
        residuals: ln of measured over fitted loss, for each run.
        name: The law in words. None in format 1.
        band: The fitted curve of a law of one variable, with its interval.
    """

    key: str
    law: str
    formula: str
    variable: str
    slice: str
    n: int
    run_ids: tuple[str, ...]
    objective: OlderObjective
    params: Mapping[str, Estimate]
    bootstrap: Resampling
    certificate: OlderCertificate
    residuals: tuple[float, ...]
    name: str | None = None
    band: Band | None = None


def sweep_from_older(document: Mapping[str, Any]) -> SweepReport:
    """Return the report that a document of format 1 or 2 holds.

    Raises:
        Unreadable: A field is missing or has a wrong value.
    """
    sweep = from_document(SweepReport, {**document, "fits": []})
    fits = from_document(tuple[OlderFit, ...], document.get("fits"), "fits")
    return replace(sweep, fits=tuple(_to_report(fit, sweep) for fit in fits))


def sweep_to_older(report: SweepReport) -> dict[str, Any]:
    """Return the content of fits.json in the report's format, 1 or 2."""
    fits = [to_document(_to_older(fit, report.format)) for fit in report.fits]
    return {**to_document(replace(report, fits=())), "fits": fits}


def _to_report(fit: OlderFit, sweep: SweepReport) -> SweepFit:
    columns = sweep.columns or {"N": sweep.n_column, "D": "n_tokens", "C": sweep.flops_column}
    unit, variables = sweep.loss_unit or "nats per token", tuple(fit.variable.split(","))
    derived = _derived(variables, sweep)
    return SweepFit(
        law=fit.key,
        name=fit.law if fit.name is None else fit.name,
        formula=fit.formula,
        reference="",
        variables=variables,
        response="loss",
        table=sweep.source,
        n=fit.n,
        n_clusters=None,
        clusters=None,
        columns=columns,
        unit_told=sweep.unit_told is not False,
        loss_unit=unit,
        response_unit=unit,
        n_column=sweep.n_column,
        flops_column=sweep.flops_column,
        notes=(),
        left_out=sweep.left_out,
        objective=Objective(fit.objective.name, fit.objective.value, fit.objective.name),
        params={name: Parameter(**vars(x), unit="", fixed=False) for name, x in fit.params.items()},
        derived=derived,
        leading=_leading({**derived, **fit.params}),
        bootstrap=fit.bootstrap,
        certificate=FitCertificate(
            **vars(fit.certificate),
            n_minima=None,
            at_bound=None,
            weakly_identified=None,
            start_equals_answer=None,
            influence=None,
            outliers=None,
            structure=None,
            largest_runs=None,
        ),
        predictions=(),
        differences=(),
        runs=(),
        profiles={},
        samples={},
        band=fit.band,
        frontier=None,
        conventions={},
        comparison=None,
        command="",
        versions={},
        key=fit.key,
        slice=fit.slice,
        run_ids=fit.run_ids,
        residuals=fit.residuals,
    )


def _derived(variables: tuple[str, ...], sweep: SweepReport) -> dict[str, Estimate]:
    """Return a, b and G of the law of N and D. The sweep's frontier holds them."""
    frontier = sweep.frontier
    named = {"a": frontier.a, "b": frontier.b, "G": frontier.coefficient}
    return {name: x for name, x in named.items() if x is not None} if len(variables) > 1 else {}


def _leading(numbers: Mapping[str, Estimate]) -> Leading:
    """Return the number that people quote: a, else an exponent alpha, or the first parameter."""
    quoted = (name for name in numbers if name == "a" or name.startswith("alpha"))
    name = next(quoted, next(iter(numbers)))
    return Leading(name, numbers[name].value)


def _to_older(fit: SweepFit, format: int) -> OlderFit:
    law, name = (fit.name, None) if format == 1 else (fit.key, fit.name)
    c, words = fit.certificate, fit.objective.words or fit.objective.name
    return OlderFit(
        key=fit.key,
        law=law,
        formula=fit.formula,
        variable=",".join(fit.variables),
        slice=fit.slice,
        n=fit.n,
        run_ids=fit.run_ids,
        objective=OlderObjective(words, fit.objective.value),
        params={name: number.plain() for name, number in fit.params.items()},
        bootstrap=fit.bootstrap,
        certificate=OlderCertificate(c.converged, c.grad_norm, c.polish_gain, c.condition_number, c.warnings),
        residuals=fit.residuals,
        name=name,
        band=fit.band,
    )
