"""From a table of runs to a SweepReport: fits with intervals, the frontier, the held-out cell."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lora_jax.estimate import Estimate
from lora_jax.percent import percent
from lora_jax.scaling.appraisal import REPLICATES, Appraisal, appraise, measure, residuals_of
from lora_jax.scaling.fit_report import Further, left_out_of, report_fit
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.laws import CHINCHILLA, power_law
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.prediction.frontier import efficient_runs, frontier
from lora_jax.scaling.sweep_results import (
    FORMAT,
    JOINT,
    Exponent,
    HeldoutCell,
    HeldoutPrediction,
    SweepFit,
    SweepFrontier,
    SweepReport,
)
from lora_jax.scaling.tables.cells import (
    RateGrid,
    SeedNoise,
    average_seeds,
    cell_of,
    edge_warnings,
    grids_in,
    levels,
    seed_noise,
    settle_learning_rates,
)
from lora_jax.scaling.tables.provenance import convention_of, describe_columns, loss_name
from lora_jax.scaling.tables.table import N_COLUMNS, RunTable

BAND_POINTS = 60
FEWEST_VALUES = 3  # how many sizes, token counts or budgets a curve needs
PREDICTED_WELL = 0.03


@dataclass
class _Sweep:
    """What the steps of `fit_sweep` share: the runs to fit, the choices, and the warnings they add to."""

    runs: RunTable
    heldout: RunTable
    noise: SeedNoise
    n_bootstrap: int
    seed: int
    grids: Sequence[RateGrid]
    fits: dict[str, Appraisal] = field(default_factory=dict)
    entries: list[SweepFit] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def fit_sweep(
    table: RunTable,
    *,
    n_column: str | None = None,
    flops_column: str = "flops_exact",
    n_bootstrap: int = REPLICATES,
    seed: int = 0,
) -> SweepReport:
    """Fit L(N), L(D), L(C) and L(N,D) to a sweep, and predict its largest cell.

    The cell with the most FLOPs is held out of every fit. If a law has too few runs, it is left out and a
    warning says why. A sweep that is too small may have no law at all.

    Args:
        table: The runs of the sweep.
        n_column: Column to use as N. None takes the table's.
        flops_column: Column to use as C.
        n_bootstrap: Bootstrap replicates behind the intervals.
        seed: Seed of the bootstrap.

    Returns:
        What docs/architecture.md calls fits.json.

    Raises:
        LoraJaxError: A column is missing.
    """
    n_runs = len(table) + len(table.left_out)
    warnings = [*table.notes, *table.doubts]
    if flops_column not in table.columns and flops_column == "flops_exact" and "flops" in table.columns:
        flops_column = "flops"
        counted = describe_columns(table.using(n_column=table.n_column, flops_column=flops_column))["C"]
        warnings.append(f"The table has no flops_exact: C is {counted}.")
    n_column = n_column or table.n_column
    table = table.using(n_column=n_column, flops_column=flops_column)
    table, learning_rate = settle_learning_rates(table)
    noise = seed_noise(table)
    largest = cell_of(table) == cell_of(table)[table.variable("C").argmax()]
    heldout, runs = table.take(largest), table.without(largest, "held out: the largest cell")
    state = _Sweep(runs, heldout, noise, n_bootstrap, seed, learning_rate.grids, warnings=warnings)
    if len(runs):
        _fit_one_variable(state, "N", "D")
        _fit_one_variable(state, "D", "N")
        efficient = _fit_compute(state)
        _fit_joint(state)
    else:
        efficient = runs
        warnings.append(
            "No law is fitted: the runs have one N and one D, and a law needs three of one or of the other"
            " beside the largest cell, which is held out."
        )
    return SweepReport(
        source=table.source,
        n_runs=n_runs,
        n_fitted=len(runs),
        n_column=n_column,
        columns=describe_columns(runs),
        counted={name: convention_of(runs, name) for name in N_COLUMNS if name in runs.columns},
        loss_name=loss_name(runs),
        loss_unit=runs.loss_unit,
        unit_told=runs.unit_told,
        flops_column=flops_column,
        left_out=left_out_of(runs),
        noise=noise,
        fits=tuple(state.entries),
        exponents=_exponents(state),
        by_convention=_by_convention(state),
        frontier=_frontier(state, efficient),
        heldout_cell=_predict_heldout(state),
        learning_rate=learning_rate,
        warnings=tuple(state.warnings),
        format=FORMAT,
    )


def _fit_one_variable(state: _Sweep, over: str, at: str) -> None:
    """Fit L(over) to the runs at one value of `at`: the largest at which `over` has three values."""
    runs, words = _slice(state.runs, over, at)
    if runs is None:
        state.warnings.append(f"L({over}) is not fitted: {words}.")
        return
    for irreducible in (False, True):
        _add(state, power_law(over, irreducible), runs, average_seeds(runs), words)


def _slice(runs: RunTable, over: str, at: str) -> tuple[RunTable | None, str]:
    """Return the runs of the slice and the slice in words.

    If there is no slice, return None and what is missing.
    """
    name = {"N": "sizes", "D": "token counts"}
    fixed, free = levels(runs.variable(at)), levels(runs.variable(over))
    for level in range(int(fixed.max()), -1, -1):
        rows = fixed == level
        n_values = len(np.unique(free[rows]))
        if n_values >= FEWEST_VALUES:
            value = float(np.median(runs.variable(at)[rows]))
            column = runs.n_column if at == "N" else "n_tokens"
            seeds = f", {_rows_of_a_cell(runs)} averaged" if rows.sum() > n_values else ""
            return runs.take(rows), f"{column} = {value:,.0f}, {n_values} {name[over]}{seeds}"
    other = {"N": "size", "D": "token count"}[at]
    return None, f"no {other} has {FEWEST_VALUES} {name[over]} once the largest cell is held out"


def _rows_of_a_cell(runs: RunTable) -> str:
    return "seeds of a cell" if "seed" in runs.columns else "rows of a cell"


def _fit_compute(state: _Sweep) -> RunTable:
    """Fit L(C) to the compute-efficient cells, and return their runs."""
    points = average_seeds(state.runs)
    points = points.take(np.sort(efficient_runs(points)))  # means are always in the order of cells
    cells, chosen = cell_of(state.runs), set(points.run_ids)
    names = {int(c) for c, run_id in zip(cells, state.runs.run_ids, strict=True) if run_id in chosen}
    runs = state.runs.take(np.isin(cells, sorted(names)))
    if len(points) < FEWEST_VALUES:
        state.warnings.append(f"L(C) is not fitted: {len(points)} cells are compute-efficient, it needs 3.")
        return runs
    seeds = f", {_rows_of_a_cell(runs)} averaged" if len(runs) > len(points) else ""
    words = f"the {len(points)} compute-efficient of {cells.max() + 1} cells{seeds}"
    for irreducible in (False, True):
        _add(state, power_law("C", irreducible), runs, points, words)
    return runs


def _fit_joint(state: _Sweep) -> None:
    runs = state.runs
    sizes, tokens = (int(levels(runs.variable(v)).max()) + 1 for v in ("N", "D"))
    if min(sizes, tokens) < FEWEST_VALUES:
        state.warnings.append(
            f"L(N,D) is not fitted: {sizes} sizes and {tokens} token counts, it needs 3 of each."
        )
        return
    _add(state, CHINCHILLA, runs, runs, "all runs")


def _add(state: _Sweep, law: Law, runs: RunTable, points: RunTable, words: str) -> None:
    """Fit a law to the points, appraise it and add it to the report.

    `runs` are the runs behind the points.
    """
    spare = len(points) - len(law.names)
    if spare < 0 or (spare == 0 and state.noise.sd is None):
        state.warnings.append(
            f"{law.key} is not fitted: {len(points)} points ({words}) leave its {len(law.names)} parameters"
            " without an interval."
        )
        return
    found = fit(law, points, law.usual_objective)
    said = appraise(
        found,
        n_bootstrap=state.n_bootstrap,
        seed=state.seed,
        runs=runs,
        noise=None if points is runs else state.noise,
        rates=edge_warnings(grids_in(state.grids, runs)),
    )
    state.fits[law.key] = said
    band_at = _band_at(state, law.variables[0]) if len(law.variables) == 1 else None
    report = report_fit(said, runs, Further(band_at=band_at, bulk=False))
    state.entries.append(
        SweepFit(
            **vars(report),
            key=law.key,
            slice=words,
            run_ids=tuple(runs.run_ids),
            residuals=tuple(residuals_of(found, runs).tolist()),
        )
    )


def _band_at(state: _Sweep, variable: str) -> Array:
    """Return where the band of a law is drawn: from the smallest run to the held-out cell."""
    seen = np.concatenate([state.runs.variable(variable), state.heldout.variable(variable)])
    return np.geomspace(seen.min(), seen.max(), BAND_POINTS)


def _exponents(state: _Sweep) -> dict[str, Exponent]:
    """Return alpha of each law without a floor. This is the form for which people quote exponents."""
    found = {}
    for v in ("N", "D", "C"):
        if f"L({v})" in state.fits:
            row = state.fits[f"L({v})"].params[f"alpha_{v}"].plain()
            found[f"alpha_{v}"] = Exponent(**vars(row), fit=f"L({v})")
    return found


def _by_convention(state: _Sweep) -> dict[str, Estimate]:
    """Return alpha_N of L(N) by each way of counting N, on the same runs."""
    if "L(N)" not in state.fits:
        return {}
    points = state.fits["L(N)"].fit.problem.table
    alphas = {}
    for column in N_COLUMNS:
        if column not in points.columns:
            continue
        law, counted = power_law("N"), points.using(n_column=column, flops_column=points.flops_column)
        found = fit(law, counted, law.usual_objective)
        said = measure(found, state.n_bootstrap, state.seed, state.noise.sd)
        alphas[column] = said.params["alpha_N"].plain()
    return alphas


def _frontier(state: _Sweep, efficient: RunTable) -> SweepFrontier:
    """Return N*(C) and D*(C) of the joint fit, C = 6ND from the smallest run to the held-out cell."""
    ids = tuple(efficient.run_ids)
    if CHINCHILLA.key not in state.fits:
        return SweepFrontier(a=None, b=None, coefficient=None, rows=(), run_ids=ids)
    six_nd = [6 * t.variable("N") * t.variable("D") for t in (state.runs, state.heldout)]
    budgets = np.geomspace(min(six_nd[0]), max(six_nd[1].max(), six_nd[0].max()), 9)
    ratio = float(np.median(state.runs.variable("C") / six_nd[0]))
    if abs(np.log(ratio)) > np.log(1.2):
        state.warnings.append(
            f"N* and D* count C as 6ND with N = {state.runs.n_column}; by {state.runs.flops_column} the runs"
            f" cost {ratio:.2f} times that (median)."
        )
    return frontier(state.fits[CHINCHILLA.key].replicates, budgets, ids)


def _predict_heldout(state: _Sweep) -> HeldoutCell:
    """Predict the held-out cell. Each interval is for a single run, so it includes the noise of a run."""
    cell = state.heldout
    measured = float(np.exp(np.log(cell["loss"]).mean()))
    at = {v: float(cell.variable(v)[0]) for v in ("N", "D", "C")}
    predictions = []
    for key in ("L(N,D)", "L(C)", "L(C) with floor"):
        if key not in state.fits:
            continue
        replicates = state.fits[key].replicates
        values = {v: at[v] for v in replicates.fit.law.variables}
        value = float(replicates.fit.predict(**values)[0])
        low, high = np.quantile(replicates.single_runs(**values)[:, 0], [0.025, 0.975])
        error = value / measured - 1
        predictions.append(HeldoutPrediction(key, value, (float(low), float(high)), error))
    joint = next((p for p in predictions if p.key == JOINT), None)
    within = None if joint is None else bool(abs(joint.relative_error) <= PREDICTED_WELL)
    if joint is not None and within is False:
        state.warnings.append(
            f"The held-out cell is not predicted within 3 %: L(N,D) says {joint.value:.4f}, measured"
            f" {measured:.4f} ({percent(joint.relative_error, 1, signed=True)})."
        )
    return HeldoutCell(cell.run_ids[0], at["N"], at["D"], at["C"], measured, tuple(predictions), within)
