"""The tables of one fit as plain rows of text: one source for the terminal and for the page."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from lora_jax.estimate import Estimate
from lora_jax.report.fit.conclusions import response_in_unit
from lora_jax.report.fit.frontier import frontier_table
from lora_jax.report.kit.numbers import (
    MISSING,
    format_count,
    format_ends,
    format_interval,
    format_loss,
    format_percent,
    format_power,
)
from lora_jax.report.kit.tables import INTERVAL, Table
from lora_jax.scaling.comparing.comparison_report import ComparisonReport
from lora_jax.scaling.estimate import Prediction
from lora_jax.scaling.results import FitReport, ProfileCurve

COUNTED = ("parameters", "tokens")  # units that are written as 1.3B
FAR = 10.0  # times the largest C (or other variable) of the table, from which a prediction is marked


def parameter_rows(report: FitReport) -> Table:
    """Return every parameter with its intervals, then what follows from them.

    Parameters that were given have no interval: the fit's own values stand beside, with theirs.
    """
    certificate, profiles = report.certificate, report.profiles
    marks = {
        "at a bound": certificate.at_bound or (),
        "weakly identified": certificate.weakly_identified or (),
    }
    found, flagged, given = [], set(), report.is_given
    for name, number in report.params.items():
        said = [mark for mark, names in marks.items() if name in names]
        if said:
            flagged.add(len(found))
        said += ["fixed"] if number.fixed else []
        said += [_stuck(number)] if _stuck(number) else []
        profile = _profile(profiles.get(name)) or _by_profile(number)
        cells = _cells(number, given)
        if name in marks["at a bound"] and number.at_bound is None and not given:
            cells = ("at its bound", *cells[1:])  # of an older file, which does not say which bound
        found.append((name, *cells, profile, number.unit, ", ".join(said)))
    for name, number in report.derived.items():
        found.append((name, *_cells(number, given), "", "", "follows from the others"))
    columns = ("parameter", "value", "\u00b1 se", INTERVAL, "by profile", "unit", "remark")
    numeric = {1, 2}
    if given:
        columns = ("parameter", "judged", "fitted here", *columns[2:])
        numeric = {1, 2, 3}
    title = "Judged parameters, and the fit's own" if given else "Fitted parameters"
    note = "\u00b1 se and intervals are those of the fit, not of what was judged." if given else ""
    table = Table(title, columns, tuple(found), frozenset(numeric), frozenset(flagged), note)
    kept = [c for i, c in enumerate(columns) if i < 4 or any(row[i] for row in found)]
    return table.select(kept)


def _cells(number: Estimate, given: bool) -> tuple[str, ...]:
    return (format_interval(number)[0], *_three(number.fitted or number)) if given else _three(number)


def _three(number: Estimate) -> tuple[str, str, str]:
    value, interval = format_interval(number)
    if number.is_fixed:
        return value, MISSING, MISSING
    at_bound = number.at_bound is not None and number.at_bound.value is not None  # a bound has no error
    return value, MISSING if at_bound else format_power(number.se, 2), interval


def _stuck(number: Estimate) -> str:
    """Return in how many replicates a parameter ends at its bound, where some do."""
    share = (number.fitted or number).share_at_bound
    return "" if share is None else f"at its bound in {format_percent(share, signed=False)} of the resamples"


def _by_profile(number: Estimate) -> str:
    own = number.fitted or number
    return "" if own.profile95 is None else format_ends(*own.profile95)


def _profile(profile: ProfileCurve | None) -> str:
    return "" if profile is None else format_ends(*profile.ci95)


def prediction_rows(report: FitReport, most: int | None = None) -> Table | None:
    """Return what the law says elsewhere; at most `most` rows, with a note of how many there are."""
    predictions = report.predictions
    if not predictions:
        return None
    shown = predictions[:most]
    found, flagged = [], set()
    for i, p in enumerate(shown):
        if p.beyond is not None and p.beyond > FAR:
            flagged.add(i)
        value, interval = _spell(p, p.ci95)
        found.append((p.quantity, _at(p.at), value, interval, _spell(p, p.ci80)[1], p.unit, _far(p)))
    columns = ("quantity", "at", "value", INTERVAL, "80 % interval", "unit", "beyond the table")
    note = ""
    if len(shown) < len(predictions):
        note = f"{len(predictions) - len(shown)} more are in the page and in the JSON output."
    return Table("What the law predicts", columns, tuple(found), frozenset({2}), frozenset(flagged), note)


def _far(prediction: Prediction) -> str:
    beyond = prediction.beyond
    return f"{format_power(beyond)} times its largest {prediction.beyond_of}" if (beyond or 0) > 1 else ""


def _spell(prediction: Prediction, ends: tuple[float, float] | None) -> tuple[str, str]:
    if prediction.unit in COUNTED:
        between = "no interval" if not ends else f"{format_count(ends[0])} to {format_count(ends[1])}"
        return format_count(prediction.value), between
    return format_interval(Estimate(prediction.value, None, ends))


def _at(values: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name} = {format_power(x) if name == 'C' else format_count(x)}" for name, x in values.items()
    )


def difference_rows(report: FitReport) -> Table | None:
    """Return whether the fit differs from published constants, a row each."""
    differences = report.differences
    if not differences:
        return None
    found = []
    for d in differences:
        theirs = ", ".join(f"{name} {format_power(p.theirs)}" for name, p in d.params.items())
        outside = [name for name, p in d.params.items() if not p.inside]
        found.append(
            (
                d.name,
                theirs,
                ", ".join(outside) or "none",
                _ratio(d.objective_ratio),
                format_power(d.p, 2),
                d.words,
            )
        )
    columns = ("published", "its constants", "outside our intervals", "objective", "p", "in words")
    note = (
        "objective: with their constants over that of this fit. p: of these runs, were their constants true."
    )
    return Table("Against published constants", columns, tuple(found), frozenset({3, 4}), note=note)


def _ratio(ratio: float | None) -> str:
    return MISSING if ratio is None else format_power(ratio)


def comparison_rows(
    comparison: ComparisonReport | None, own: str | None = None, most: int | None = None
) -> Table | None:
    """Return the laws in the order of a comparison, by how they predict runs that they have not seen.

    own: the key of the law to be marked.
    """
    if comparison is None:
        return None
    found = [
        (
            r.name,
            r.formula,
            str(r.n_params),
            *(format_percent(x, signed=False) for x in (r.heldout_rms, r.rolling_rms, r.rolling_se)),
            r.verdict,
        )
        for r in comparison.rows[:most]
    ]
    columns = ("law", "formula", "parameters", "largest left out", "rolling origin", "\u00b1 se", "verdict")
    marked = frozenset(i for i, r in enumerate(comparison.rows[:most]) if r.key == own)
    note = (
        "Root mean square error of ln L on runs that a law has not seen; the verdict is against the best law."
    )
    return Table(
        "Laws by their errors on unseen runs", columns, tuple(found), frozenset({2, 3, 4, 5}), marked, note
    )


def excluded_rows(comparison: ComparisonReport) -> Table | None:
    """Return the laws that the table cannot carry, and why; None where it carries all."""
    rows = tuple((gone.name, gone.reason) for gone in comparison.excluded)
    return Table("Laws that were not tried", ("law", "why"), rows) if rows else None


def frontier_rows(report: FitReport) -> Table | None:
    """Return N*, D* and the loss at budgets along the frontier."""
    if report.frontier is None:
        return None
    exponents = (report.derived.get("a"), report.derived.get("b"))
    counted = report.columns.get("N", report.n_column)
    table = frontier_table(report.frontier.rows, exponents, counted)
    if table is None:
        return None
    note = table.note.partition(";")[0].rstrip(".")
    return replace(table, title="Least loss by budget", note=f"{note}.")


def convention_rows(report: FitReport) -> Table | None:
    """Return the leading exponent by what is counted as N and C."""
    if not report.conventions:
        return None
    name = report.leading.name
    found = tuple(
        (convention, c.columns["N"], c.columns["C"], *format_interval(c.exponent))
        for convention, c in report.conventions.items()
    )
    columns = ("convention", "N", "C", name, INTERVAL)
    return Table(f"{name} by counting convention", columns, found, frozenset({3}))


def run_rows(report: FitReport) -> Table:
    """Return every row that was fitted, with what the law says of it and what it does to the exponent."""
    runs, name = report.runs, report.leading.name
    variables = list(report.variables)
    if "C" not in variables and any(run.at.get("C") is not None for run in runs):
        variables.append("C")
    outlying = report.certificate.outliers
    outliers = set() if outlying is None else set(outlying.run_ids)
    flagged = frozenset(i for i, run in enumerate(runs) if run.run_id in outliers)
    show = format_loss if report.response == "loss" else partial(format_power, digits=4)
    found = tuple(
        (
            run.run_id,
            *(_variable(v, run.at.get(v)) for v in variables),
            show(run.measured),
            show(run.fitted),
            format_percent(run.measured / run.fitted - 1),
            MISSING if run.influence is None else f"{run.influence:+.4f}".replace("-", "\u2212"),
        )
        for run in runs
    )
    columns = ("run", *variables, "measured", "fitted", "error", f"shift of {name}")
    note = (
        f"{response_in_unit(report)}; error: measured above fitted; shift of {name}:"
        " how far it moves without the row. Outlying rows are marked."
    )
    return Table("Every row", columns, found, frozenset(range(1, len(columns))), flagged, note)


def _variable(variable: str, x: float | None) -> str:
    return MISSING if x is None else format_power(x) if variable == "C" else format_count(x)


def left_out_rows(report: FitReport) -> Table | None:
    """Return the rows that were not fitted, each with its reason."""
    left = report.left_out
    if not left:
        return None
    return Table("Left out", ("run", "reason"), tuple((gone.run_id, gone.reason) for gone in left))
