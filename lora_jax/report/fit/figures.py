"""From the report of one fit to its figures: what each one shows, and what it says in words."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations

import numpy as np

from lora_jax.report.fit import comparison_plots, diagnostic_plots, plots
from lora_jax.report.fit.axes import SIX_ND
from lora_jax.report.fit.curves import across_of, levels
from lora_jax.report.fit.one_variable import Line, OneVariable, plot_one_variable
from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.numbers import format_count, format_interval, format_percent, format_power, is_number
from lora_jax.report.kit.thinning import choose_evenly, say_left_out
from lora_jax.scaling.comparing.comparison_report import ComparisonReport
from lora_jax.scaling.results import Band, FitReport, FittedRun

MOST_PAIRS = 4  # of parameters, in the contours
MOST_ROWS = 1000  # in the figure of what a law misses
MOST_NAMED = 5  # outlying rows that a caption names
FEWEST_SAMPLES = 20  # replicates that make a cloud


def draw_fit_figures(report: FitReport) -> list[Drawing]:
    """Draw every figure that the report can carry; what it lacks has none."""
    return [
        *_draw_fit(report),
        draw_misses(report),
        *_draw_profiles(report),
        *_draw_contours(report),
        *_draw_influence(report),
        *_draw_frontier(report),
        *(draw_comparison(report.comparison) if report.comparison else ()),
    ]


def draw_law(report: FitReport) -> Drawing | None:
    """Draw the law through its runs; None where the report holds no band of a law of one variable."""
    return next(_draw_fit(report), None)


def response_of(report: FitReport) -> str:
    """Return the label of the response, such as "loss (nats per token)"."""
    unit = report.response_unit
    return f"{report.response} ({unit})" if unit else report.response


def named_by(report: FitReport, variable: str) -> str:
    """Return the variable as axes name it: a C that was made of N and D is "6 N D"."""
    return SIX_ND if variable == "C" and report.columns.get("C") == SIX_ND else variable


def _outliers(report: FitReport) -> list[FittedRun]:
    """Return the outlying rows, the farthest from the law first."""
    found = report.certificate.outliers
    ids = set(found.run_ids) if found else set()
    return sorted((run for run in report.runs if run.run_id in ids), key=lambda run: -abs(_miss(run)))


def _miss(run: FittedRun) -> float:
    """Return ln measured less fitted."""
    return float(np.log(run.measured) - np.log(run.fitted))


def _ringed(outliers: Sequence[FittedRun]) -> str:
    return f" Outlying runs are ringed: {_listed(outliers)}." if outliers else ""


def _listed(outliers: Sequence[FittedRun]) -> str:
    more = len(outliers) - MOST_NAMED
    names = ", ".join(run.run_id for run in outliers[:MOST_NAMED])
    return f"{names} and {more} more" if more > 0 else names


def words_of(run: FittedRun) -> str:
    """Return what a fitted row's point says: its name, its variables, measured and fitted."""
    at = ", ".join(
        f"{name} = {format_power(x) if name == 'C' else format_count(x)}" for name, x in run.at.items()
    )
    return (
        f"{run.run_id}: {at}, measured {format_power(run.measured, 4)}, fitted {format_power(run.fitted, 4)}"
    )


def _draw_fit(report: FitReport) -> Iterator[Drawing]:
    variables, runs = report.variables, report.runs
    x = across_of(report)
    outliers = _outliers(report)
    ringed = [(run.at[x], run.measured) for run in outliers]
    if len(variables) == 1:
        if report.band is None:
            return
        caption = f"{report.formula} through {len(runs)} rows, with its 95 % band.{_ringed(outliers)}"
        points = [(run.at[x], run.measured, words_of(run)) for run in runs]
        label = f"the law, {leading_of(report)}"
        lines = [Line(label, report.band)]
        figure = partial(plot_one_variable, OneVariable(x, response_of(report), points, lines, ringed))
        yield Drawing("fit", f"{report.law} and its runs", caption, figure)
        return
    first = variables[0]
    points = [(run.at[x], run.measured, run.at[first], words_of(run)) for run in runs]
    found = levels(report) if len(variables) == 2 else []
    curves = [plots.Level(size, across.tolist(), y.tolist()) for size, across, y in found]
    band = _frontier_band(report) if x == "C" else None
    caption = (
        f"{len(runs)} rows, coloured by {first}"
        + (f"; the lines are {report.formula} at {len(curves)} values of {first}" if curves else "")
        + ("; dashed: the least loss at each compute 6 N D, with its 95 % band" if band else "")
        + f".{_ringed(outliers)}"
    )
    across = named_by(report, x)
    figure = partial(plots.plot_levels, (first, across), points, ringed, curves, band, response_of(report))
    yield Drawing("fit", f"{report.law} and its runs", caption, figure)


def _frontier_band(report: FitReport) -> Band | None:
    if report.frontier is None:
        return None
    rows = [row for row in report.frontier.rows if row.loss.ci95 is not None]
    x, loss = tuple(row.flops for row in rows), tuple(row.loss.value for row in rows)
    low, high = (tuple(row.loss.ci95[i] for row in rows if row.loss.ci95) for i in (0, 1))
    return Band(x, loss, low, high)


def leading_of(report: FitReport) -> str:
    """Return the leading number with its interval, as "alpha = 0.35 (0.33 to 0.37)"."""
    name = report.leading.name
    number = report.leading_estimate
    if number is None:
        return f"{name} = {format_power(report.leading.value)}"
    value, interval = format_interval(number)
    return f"{name} = {value} ({interval})"


def draw_misses(report: FitReport, heldout: plots.Unseen | None = None) -> Drawing:
    """Draw what the law misses, and how far a run that it has not seen lies from its prediction."""
    outliers = _outliers(report)
    are_far = {id(run) for run in outliers}
    runs = choose_evenly(report.runs, MOST_ROWS, lambda run: id(run) in are_far)
    measured, fitted = [run.measured for run in runs], [run.fitted for run in runs]
    order = {id(run): i for i, run in enumerate(runs)}
    named = [order[id(run)] for run in outliers]
    across = across_of(report)
    shown = dict.fromkeys([*report.variables, across])
    columns = {named_by(report, v): [run.at[v] for run in runs] for v in shown}
    rows = plots.Rows(measured, fitted, [words_of(run) for run in runs])
    figure = partial(plots.plot_misses, rows, columns, named, response_of(report), heldout)
    spread = float(np.sqrt(np.mean([_miss(run) ** 2 for run in report.runs])))
    left_out = say_left_out(len(runs), len(report.runs), "rows", "The table")
    said = f"Outlying rows are red: {_listed(outliers)}" if named else "No row is an outlier"
    return Drawing(
        "residuals",
        f"Where the runs lie off {report.law}",
        "Measured against fitted, on the line where they agree; then the difference against"
        f" {', '.join(columns)}. Root mean square {format_percent(spread, signed=False)}."
        f" {said}."
        + (" The star is the run that was held out." if heldout else "")
        + (f" {left_out}" if left_out else ""),
        figure,
    )


def _draw_profiles(report: FitReport) -> Iterator[Drawing]:
    profiles = {
        name: p
        for name, p in report.profiles.items()
        if len(p.value) > 2 and all(is_number(x) for x in (*p.value, *p.objective))
    }
    if not profiles:
        return
    open_ones = [name for name, p in profiles.items() if None in p.ci95]
    caption = (
        "How much the objective rises above its minimum when one parameter is held and the others are"
        " refitted. Shaded: the 95 % interval, also written above each panel; the dot is the fit; a flat"
        " curve means that the runs do not know the parameter."
        + (f" Open on one side or both: {', '.join(open_ones)}." if open_ones else "")
    )
    figure = partial(diagnostic_plots.plot_profiles, profiles)
    yield Drawing("profiles", "How well the runs fix each parameter", caption, figure)


def _draw_contours(report: FitReport) -> Iterator[Drawing]:
    pairs = pairs_of(report)
    if not pairs:
        return
    best = {name: number.value for name, number in report.params.items()}
    drawn = {name for pair in pairs for name in pair}
    published = {
        d.name: {name: p.theirs for name, p in d.params.items() if name in drawn} for d in report.differences
    }
    figure = partial(diagnostic_plots.plot_contours, report.samples, pairs, best, published)
    caption = (
        f"{len(report.samples[pairs[0][0]])} replicates of the bootstrap, with the contours that hold 50"
        " and 95 % of them; a narrow slanting cloud is a pair that the runs hardly separate."
        + (" Crosses are published constants; a ringed one lies beyond its panel." if published else "")
    )
    yield Drawing("contours", "How the parameters vary together", caption, figure)


def pairs_of(report: FitReport) -> list[tuple[str, str]]:
    """Return the pairs of parameters worth a panel: exponents with each other, then each other parameter
    with the exponent that it moves with most. A parameter without spread, such as a fixed one, has none, nor
    has one whose replicates a float does not hold."""
    samples = {
        name: np.asarray(x, np.float64)
        for name, x in report.samples.items()
        if name in report.params and len(x) >= FEWEST_SAMPLES and np.ptp(x) > 0 and all(map(is_number, x))
    }
    exponents = [name for name in samples if not report.params[name].unit]
    pairs = list(combinations(exponents, 2))[:2]
    for name in samples:
        if name not in exponents and exponents:
            partner = max(exponents, key=lambda e: _togetherness(samples[name], samples[e]))
            pairs.append((name, partner))
    return pairs[:MOST_PAIRS]


def _togetherness(coefficient: np.ndarray, exponent: np.ndarray) -> float:
    logs = np.log(coefficient) if coefficient.min() > 0 else coefficient
    return float(abs(np.corrcoef(logs, exponent)[0, 1])) if np.ptp(logs) > 0 else 0.0


def _draw_influence(report: FitReport) -> Iterator[Drawing]:
    moved = [(run, run.influence) for run in report.runs if run.influence is not None]
    if len(moved) < 2:
        return
    runs, shifts = [run for run, _ in moved], [shift for _, shift in moved]
    name = report.leading.name
    variable = "C" if all(run.at.get("C") is not None for run in runs) else report.variables[0]
    number = report.leading_estimate
    figure = partial(
        diagnostic_plots.plot_influence,
        name,
        shifts,
        [run.run_id for run in runs],
        named_by(report, variable),
        [run.at[variable] for run in runs],
    )
    worst, farthest = max(moved, key=lambda pair: abs(pair[1]))
    leading = abs(report.leading.value)
    share = format_percent(abs(farthest) / leading if leading else None, signed=False)
    caption = (
        f"How far {name} = {format_power(report.leading.value)} moves without each row:"
        f" the {min(len(runs), diagnostic_plots.MOST_BARS)} rows that move it most, then all {len(runs)}."
        f" The worst, {worst.run_id}, moves it by {farthest:+.4f} ({share})."
    )
    if number is not None and number.se is not None:
        caption += f" The standard error of {name} is {format_power(number.se, 2)}."
    yield Drawing("influence", "How much single rows move the fit", caption, figure)


def _draw_frontier(report: FitReport) -> Iterator[Drawing]:
    if report.frontier is None or len(report.frontier.rows) < 2:
        return
    n_params, n_tokens = ([run.at[v] for run in report.runs] for v in "ND")
    flops = [6 * n * d for n, d in zip(n_params, n_tokens, strict=True)]  # as budgets are counted
    runs, largest = plots.Costs(flops, n_params, n_tokens), max(flops)
    rows = report.frontier.rows
    said = [
        f"{n} grows as C^{value} ({interval})"
        for n, key in (("N*", "a"), ("D*", "b"))
        if key in report.derived
        for value, interval in [format_interval(report.derived[key])]
    ]
    caption = "The size and tokens of least loss at each compute 6 N D, with 95 % bands" + (
        f": {', '.join(said)}." if said else "."
    )
    if rows[-1].flops > largest:
        caption += f" Beyond {format_power(largest)} FLOPs, the table's largest run, it is extrapolation."
    figure = partial(plots.plot_frontier, rows, runs, largest)
    yield Drawing("frontier", "Compute-efficient frontier", caption, figure)


def draw_comparison(comparison: ComparisonReport) -> Iterator[Drawing]:
    """Draw the ranking of the laws, and each prediction against its reach."""
    yield Drawing(
        "ranking",
        "Which form? Laws by their errors on larger runs",
        "Root mean square error of ln of the response on runs that a law has not seen, best on top.",
        partial(comparison_plots.plot_ranking, comparison),
    )
    yield Drawing(
        "reach",
        "Predicted over measured, against how far ahead a law predicts",
        "Predicted over measured response against the compute of the predicted run over the largest fitted.",
        partial(comparison_plots.plot_reach, comparison),
    )
