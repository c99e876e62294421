"""The tables of a sweep as plain rows of text: one source for the terminal and for the page."""

from collections.abc import Mapping, Sequence

from lora_jax.report.fit.frontier import frontier_table
from lora_jax.report.kit.numbers import (
    MISSING,
    format_count,
    format_interval,
    format_loss,
    format_percent,
    format_power,
    format_seconds,
)
from lora_jax.report.kit.tables import INTERVAL, Table
from lora_jax.report.kit.thinning import choose_evenly, say_left_out
from lora_jax.report.sweep.results import Results
from lora_jax.scaling.sweep_results import SweepFit, SweepReport
from lora_jax.scaling.tables.cells import RateGrid

# of fits.json without `counted`, whose runs were our own
COUNTED = {
    "n_params": "without embeddings and output head",
    "n_params_with_head": "with the output head",
    "n_params_total": "every weight",
}

# The run table has these already, in a column of their own or in the name of the run.
SHOWN = frozenset({"n_tokens", "seed"})

MOST_RUNS, MOST_GRIDS = 500, 100  # rows of a table


def exponent_rows(fits: SweepReport) -> Table:
    """Return the exponents alpha_N, alpha_D, alpha_C with and without floor, then those of L(N,D).

    Of each verdict only how many doubts it has: their words are under the law itself, and in the summary.
    """
    rows, flagged = [], set()
    for fit in fits.fits:
        for name, number in fit.params.items():
            if name in ("alpha", "beta") or name.startswith("alpha_"):
                value, interval = format_interval(number)
                if not fit.certificate.verdict.is_believed:
                    flagged.add(len(rows))
                rows.append((name, value, interval, fit.key, str(fit.n), _short_verdict(fit)))
    columns = ("exponent", "value", INTERVAL, "law", "runs", "verdict")
    return Table(
        "Exponents of loss, with intervals and verdicts",
        columns,
        tuple(rows),
        frozenset({1, 4}),
        frozenset(flagged),
    )


def _short_verdict(fit: SweepFit) -> str:
    verdict = fit.certificate.verdict
    n = len(verdict.doubts)
    return f"{verdict.level} ({n} {'doubt' if n == 1 else 'doubts'})" if n else str(verdict.level)


def _digits(x: float | None) -> str:
    return MISSING if x is None else format_power(x, 2)


def frontier_rows(fits: SweepReport) -> Table | None:
    """Return N*, D* and the loss at budgets along the frontier, or None where L(N,D) was not fitted."""
    frontier, counted = fits.frontier, (fits.columns or {}).get("N", fits.n_column)
    return frontier_table(frontier.rows, (frontier.a, frontier.b), counted)


def _counted(fits: SweepReport, name: str) -> str:
    """Return how the N of a column is counted, where that is known; older files are of our own runs."""
    return counted_by(fits).get(name) or "as its source counts"


def counted_by(fits: SweepReport) -> Mapping[str, str | None]:
    """Return column of N -> how it counts, None where nobody said; older files are of our own runs."""
    return COUNTED if fits.counted is None else fits.counted


def unit_of(fits: SweepReport) -> str:
    """Return " nats per token", or nothing where nobody said the unit; older files are of our own runs."""
    return "" if fits.unit_told is False else f" {fits.loss_unit or 'nats per token'}"


def loss_of(fits: SweepReport) -> str:
    return fits.loss_name or "held-out loss"


def heldout_rows(fits: SweepReport) -> Table | None:
    """Return what each law said about the held-out cell, or None where no law says anything."""
    cell = fits.heldout_cell
    if not cell.predictions:
        return None
    rows = [
        (p.key, format_loss(p.value), _loss_interval(p.ci95), format_percent(p.relative_error))
        for p in cell.predictions
    ]
    flagged = frozenset(i for i, p in enumerate(cell.predictions) if abs(p.relative_error) > 0.03)
    note = (
        f"Run {cell.run_id}: N = {format_count(cell.n_params)}, D = {format_count(cell.n_tokens)},"
        f" C = {format_power(cell.flops)} FLOPs, measured {format_loss(cell.measured)}{unit_of(fits)}."
    )
    columns = ("law", "predicted", INTERVAL, "error")
    return Table(
        "What each law predicted for the held-out cell",
        columns,
        tuple(rows),
        frozenset({1, 3}),
        flagged,
        note,
    )


def _loss_interval(ci95: Sequence[float] | None) -> str:
    return f"{format_loss(ci95[0])} to {format_loss(ci95[1])}" if ci95 else "no interval"


def convention_rows(fits: SweepReport) -> Table | None:
    """Return alpha_N by what is counted as N, on the same runs."""
    rows = [
        (_counted(fits, name), name, *format_interval(number)) for name, number in fits.by_convention.items()
    ]
    if not rows:
        return None
    note = "The exponent of L(N) without a floor, on the same runs: what is counted as N moves it."
    columns = ("N is counted", "column", "alpha_N", INTERVAL)
    return Table("alpha_N by counting convention", columns, tuple(rows), frozenset({2}), note=note)


def rate_rows(fits: SweepReport) -> Table | None:
    """Return the grids of learning rates, at most MOST_GRIDS; those with the best at an edge first."""
    every = fits.learning_rate.grids
    if not every:
        return None
    grids = choose_evenly(every, MOST_GRIDS, lambda grid: grid.at_edge)
    rows = [
        (
            format_count(g.n_params),
            format_count(g.n_tokens),
            str(g.seed),
            _losses(g),
            f"{g.best:g}",
            "yes" if g.at_edge else "no",
        )
        for g in grids
    ]
    flagged = frozenset(i for i, g in enumerate(grids) if g.at_edge)
    columns = ("N", "D", "seed", f"base rate: {loss_of(fits)}", "best", "at an edge")
    return Table(
        f"{loss_of(fits).capitalize()} by base learning rate",
        columns,
        tuple(rows),
        frozenset({0, 1, 2, 4}),
        flagged,
        say_left_out(len(grids), len(every), "grids", "fits.json"),
    )


def _losses(grid: RateGrid) -> str:
    pairs = zip(grid.rates, grid.losses, strict=True)
    ended = "diverged or halted"
    return ", ".join(f"{rate:g}: {ended if y is None else format_loss(y)}" for rate, y in pairs)


# (quantity, where it is found here, published value, source)
_PUBLISHED = (
    ("alpha_N", "L(N)", "0.076", "Kaplan et al. 2020"),
    ("alpha_D", "L(D)", "0.095", "Kaplan et al. 2020"),
    ("alpha_C", "L(C)", "0.050", "Kaplan et al. 2020"),
    ("alpha", "L(N,D)", "0.34", "Hoffmann et al. 2022"),
    ("beta", "L(N,D)", "0.28", "Hoffmann et al. 2022"),
    ("alpha", "L(N,D)", "0.3473", "Hoffmann's runs, fitted again"),
    ("beta", "L(N,D)", "0.3672", "Hoffmann's runs, fitted again"),
)


def published_rows(fits: SweepReport) -> Table | None:
    """Return the published exponents beside those found here; None where nothing was fitted."""
    params = {fit.key: fit.params for fit in fits.fits}
    if not params:
        return None
    rows = tuple(
        (name, law, *format_interval(params.get(law, {}).get(name)), value, source)
        for name, law, value, source in _PUBLISHED
        if law in params
    )
    note = (
        "Small models on a small vocabulary and little text are not expected to match these: the published"
        " fits span other sizes, other text and other counts of N and C. They are here for scale."
    )
    columns = ("exponent", "law", "here", INTERVAL, "published", "source")
    return Table("Published exponents, for scale", columns, rows, frozenset({2, 4}), note=note)


def status_of(results: Results) -> dict[str, str]:
    """Return run_id -> "fitted", or why the run was left out of the fits."""
    left = {gone.run_id: gone.reason for gone in results.fits.left_out}
    fitted = {i for fit in results.fits.fits for i in fit.run_ids}
    status = {}
    for run in results.runs:
        i = run.run_id
        if i in left:
            status[i] = left[i]
        elif run.status != "done":
            status[i] = run.status
        else:
            status[i] = "fitted" if i in fitted else "not in fits.json"
    return status


def swept_settings(results: Results) -> dict[str, dict[str, str]]:
    """Return the settings that differ between the runs, less those that the run table shows anyway."""
    _, swept = results.settings
    return {name: values for name, values in swept.items() if name not in SHOWN}


def run_rows(results: Results, swept: Mapping[str, Mapping[str, str]]) -> Table:
    """Return the runs of the store, at most MOST_RUNS.

    swept: setting -> run_id -> value, for the settings that differ.
    """
    status = status_of(results)
    every = sorted(results.runs, key=lambda r: (r.n_params, r.n_tokens, r.seed, r.run_id))
    runs = choose_evenly(every, MOST_RUNS, lambda r: status[r.run_id] == "fitted")
    rows, flagged = [], set()
    for i, r in enumerate(runs):
        reason = status[r.run_id]
        if reason == "diverged" and r.diverged_at is not None:
            reason = f"diverged at step {r.diverged_at}"
        elif reason == "halted" and r.halted_at is not None:
            reason = f"halted at step {r.halted_at}"
        if reason != "fitted":
            flagged.add(i)
        rows.append(
            (
                r.run_id,
                format_count(r.n_params),
                format_count(r.n_tokens),
                format_power(r.flops_exact),
                format_loss(r.heldout_loss),
                format_loss(r.heldout_loss_se),
                reason,
                format_loss(r.train_loss),
                format_loss(r.bits_per_byte),
                *(values[r.run_id] for values in swept.values()),
                _digits(r.learning_rate),
                _seconds(r.wall_seconds),
            )
        )
    columns = (
        "run",
        "N",
        "D",
        "FLOPs",
        "held-out loss",
        "± se",
        "in the fits",
        "train loss",
        "bits per byte",
        *swept,
        "peak rate",
        "wall time",
    )
    numeric = frozenset(range(1, len(columns))) - {columns.index("in the fits")}
    note = "Losses in nats per token; FLOPs counted exactly, attention and output head included."
    left_out = say_left_out(len(runs), len(every), "runs", "runs.csv")
    note += f" {left_out} Runs in the fits were chosen before others." if left_out else ""
    title = "Every run" if len(runs) == len(every) else "Runs"
    return Table(title, columns, tuple(rows), numeric, frozenset(flagged), note)


def _seconds(seconds: float | None) -> str:
    return MISSING if seconds is None else format_seconds(seconds)


def warnings_of(fits: SweepReport) -> list[str]:
    """Return every warning of the fits once: of the sweep, of the learning rates, of each fit."""
    lines = [*fits.warnings, *fits.learning_rate.warnings]
    for fit in fits.fits:
        own = [line for line in fit.certificate.warnings if line not in lines]  # the rest is the table's
        lines += [f"{fit.key}: {line}" for line in own]
    return list(dict.fromkeys(lines))
