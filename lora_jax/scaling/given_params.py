"""Given parameters, such as published ones, beside those of the law's own fit to the same runs.

An interval belongs to the value that it was made around. So given parameters have no intervals. The fit's own
numbers stand beside them, with theirs.
"""

from collections.abc import Sequence
from dataclasses import replace

from lora_jax.estimate import Estimate
from lora_jax.percent import percent
from lora_jax.scaling.appraisal import Appraisal
from lora_jax.scaling.estimate import Parameter, Prediction
from lora_jax.scaling.fitting.fit import Fit

ELSEWHERE = 1e-6  # how much lower a minimum must lie to be another one, as a share of the objective


def given_number(value: float, fitted: Estimate) -> Estimate:
    """Return a number that follows from given parameters, with the fit's own number beside it."""
    return Estimate(value, None, None, fitted=fitted)


def given_params(found: Fit, own: Appraisal) -> dict[str, Parameter]:
    """Return every given parameter, with the own fit's beside it.

    `by` is "judged", or "fixed" if the fit held it.
    """
    rows = {}
    for name, value in found.params.items():
        row = own.params[name]
        by = "fixed" if row.fixed else "judged"
        fitted = row.plain()
        rows[name] = Parameter(value, None, None, by=by, fitted=fitted, unit=row.unit, fixed=row.fixed)
    return rows


def without_intervals(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Return predictions by given parameters, without intervals.

    The prediction of one run is left out. It is an interval and not a value.
    """
    kept = [row for row in predictions if not row.quantity.endswith(" of one run")]
    return [replace(row, se=None, ci95=None, ci80=None, undefined=None) for row in kept]


def lower_minimum(found: Fit, own: Fit) -> list[str]:
    """Return a warning if the given parameters are at a minimum and the own fit at a lower one."""
    reached = found.objective / (1 + found.certificate.polish_gain)  # by polishing
    if not found.certificate.converged or reached <= own.objective * (1 + ELSEWHERE):
        return []
    higher = "" if not own.objective > 0 else f", {percent(reached / own.objective - 1, 2)} above"
    return [f"a local minimum{higher} the one that the fit to these runs finds"]
