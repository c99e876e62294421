"""fits.json of formats 1 and 2: a fit says less there than its report does, and the rest is of the sweep.

In format 1 `law` of a fit is the law in words; in 2 it is the key of the law, and `name` has the words. What
an older file does not say is None or empty in the report. Columns and units that it leaves out are those of
our own runs, which alone were written so.
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
    """What was minimised, in words, and its value."""

    name: str
    value: float


@dataclass(frozen=True)
class OlderCertificate:
    """Whether an answer is a minimum, and every doubt about it."""

    converged: bool
    grad_norm: float
    polish_gain: float
    condition_number: float
    warnings: tuple[str, ...]

    def to_document(self) -> dict[str, Any]:
        """Return the fields, and the verdict in words, which follows from them."""
        return {**fields_to_document(self), "verdict": verdict_of(self.warnings, self.converged).words}


@dataclass(frozen=True)
class OlderFit:
    """One law of a sweep. name: None in format 1."""

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
    """Return what a document of format 1 or 2 says; raises Unreadable as `from_document` does."""
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
    """Return a, b and G of the law of N and D, which the sweep's frontier has."""
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
