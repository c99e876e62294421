"""A transfer report as rows of text."""

from lora_jax.report.kit.numbers import MISSING, format_count, format_interval, format_loss
from lora_jax.report.kit.tables import INTERVAL, Table
from lora_jax.report.transfer.conclusions import name_size
from lora_jax.scaling.rates.results import BestRate, Bowl, TransferReport


def drift_rows(report: TransferReport) -> Table:
    """Return a row for each series and axis: the power by which the best rate moves, and the verdict."""
    rows = []
    for series in report.series:
        for drift in series.drifts:
            value, interval = format_interval(drift.slope)
            scatter = (
                MISSING if drift.scatter is None else f"{drift.scatter:.2g}{' *' if drift.widened else ''}"
            )
            rows.append(
                (
                    series.label,
                    " with ".join([drift.axis, *drift.along]),
                    value,
                    interval,
                    f"{format_count(drift.low)} to {format_count(drift.high)}",
                    str(drift.n_sizes),
                    str(drift.n_bowls),
                    scatter,
                    "undecided" if drift.verdict == "not told apart" else drift.verdict or "no slope",
                )
            )
    columns = ("series", "axis", "power", INTERVAL, "sizes", "n", "grids", "scatter", "the best rate")
    return Table(
        "How the best rate moves: the slope of ln rate on ln size",
        columns,
        tuple(rows),
        frozenset({2, 5, 6, 7}),
        note=f"does not move: the interval lies within -{report.tolerance:g} to {report.tolerance:g}. moves:"
        " it excludes 0. undecided: neither. scatter: how far the best rates lie from the line, over what"
        " their errors explain. Where it has a *, the interval is wider for it.",
    )


def bowl_rows(report: TransferReport) -> Table:
    """Return a row for each grid of rates."""
    rows, flagged = [], set()
    for series in report.series:
        for bowl in series.bowls:
            if bowl.best is None:
                flagged.add(len(rows))
            rows.append(
                (
                    series.label,
                    name_size(bowl, series),
                    _tried(bowl),
                    *_best(bowl.best),
                    format_loss(min((loss for loss in bowl.losses if loss is not None), default=None)),
                    str(bowl.n_diverged),
                    "" if bowl.refusal is None else bowl.refusal.kind,
                )
            )
    columns = (
        "series",
        "size",
        "rates",
        "best rate",
        INTERVAL,
        "by the nearest",
        "by all",
        "least loss",
        "diverged",
        "no best rate",
    )
    return Table(
        "The best learning rate of each size",
        columns,
        tuple(rows),
        frozenset({3, 5, 6, 7, 8}),
        frozenset(flagged),
        note=f"The rate is {report.rate_name}. best rate: the vertex of a parabola of ln loss in ln rate"
        " through the rates within a factor of 4.5 of the best. by the nearest, by all: that of the rates"
        " within a factor of 2.1, and of all.",
    )


def _tried(bowl: Bowl) -> str:
    return f"{len(bowl.rates)}: {bowl.rates[0]:.3g} to {bowl.rates[-1]:.3g}"


def _best(best: BestRate | None) -> tuple[str, ...]:
    if best is None:
        return (MISSING,) * 4
    ends = f"{best.rate.low:.3g} to {best.rate.high:.3g}"
    others = (MISSING if rate is None else f"{rate:.3g}" for rate in (best.near, best.all_rates))
    return (f"{best.rate.value:.3g}", ends, *others)
