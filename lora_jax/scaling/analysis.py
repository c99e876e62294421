"""From a table of runs to fits.json: fits with intervals, the frontier, and a cell predicted unseen."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.scaling.fitting.certificate import verdict_of
from lora_jax.scaling.fitting.fit import Fit, fit
from lora_jax.scaling.fitting.lack_of_fit import lack_of_fit
from lora_jax.scaling.intervals.uncertainty import Bootstrap, bootstrap
from lora_jax.scaling.laws import CHINCHILLA, power_law
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.prediction.frontier import efficient_runs, frontier
from lora_jax.scaling.tables.cells import average_seeds, cell_of, levels, seed_noise, settle_learning_rates
from lora_jax.scaling.tables.table import N_COLUMNS, RunTable

FEWEST_VALUES = 3  # sizes, token counts or budgets that a curve needs
PREDICTED_WELL = 0.03
OBJECTIVES = {"squared": "sum of squared log residuals", "huber": "sum of Huber(1e-3) of log residuals"}


@dataclass
class _Analysis:
    """What the steps of `analyse` share: the runs to fit, the choices, and the warnings they add to."""

    runs: RunTable
    heldout: RunTable
    noise: Mapping[str, Any]
    n_bootstrap: int
    seed: int
    fits: dict[str, Bootstrap] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def noise_sd(self) -> float | None:
        return self.noise["seed_sd_log_loss"]


def analyse(
    table: RunTable,
    *,
    n_column: str | None = None,
    flops_column: str = "flops_exact",
    n_bootstrap: int = 400,
    seed: int = 0,
) -> dict[str, Any]:
    """Fit L(N), L(D), L(C) and L(N,D) and return what docs/architecture.md calls fits.json.

    n_column: which convention of N; None for the table's. The cell with the most FLOPs is left out of every
    fit and predicted. Raises LoraJaxError where a column is missing or no law can be fitted at all; a law
    that lacks runs is absent and a warning says why.
    """
    n_runs = len(table) + len(table.left_out)
    warnings = list(table.notes)
    if flops_column not in table.columns and flops_column == "flops_exact" and "flops" in table.columns:
        warnings.append("The table has no flops_exact: C is its column flops.")
        flops_column = "flops"
    n_column = n_column or table.n_column
    table = table.using(n_column=n_column, flops_column=flops_column)
    table, learning_rate = settle_learning_rates(table)
    noise = seed_noise(table)
    largest = cell_of(table) == cell_of(table)[table.variable("C").argmax()]
    heldout, runs = table.take(largest), table.without(largest, "held out: the largest cell")
    if not len(runs):
        raise LoraJaxError(
            f"{table.source} has runs of one N and one D only: a law needs three sizes, train more."
        )
    state = _Analysis(runs, heldout, noise, n_bootstrap, seed, warnings=warnings)
    _fit_one_variable(state, "N", "D")
    _fit_one_variable(state, "D", "N")
    efficient = _fit_compute(state)
    _fit_joint(state)
    if not state.fits:
        raise LoraJaxError(f"{table.source} is too small for any law. {' '.join(state.warnings)}")
    return {
        "source": table.source,
        "n_runs": n_runs,
        "n_fitted": len(runs),
        "n_column": n_column,
        "flops_column": flops_column,
        "left_out": [{"run_id": gone.run_id, "reason": gone.reason} for gone in runs.left_out],
        "noise": noise,
        "fits": state.entries,
        "exponents": _exponents(state),
        "by_convention": _by_convention(state),
        "frontier": _frontier(state, efficient),
        "heldout_cell": _predict_heldout(state),
        "learning_rate": learning_rate,
        "warnings": state.warnings,
    }


def write_fits(path: str | Path, fits: Mapping[str, Any]) -> None:
    """Write fits.json atomically; raises LoraJaxError where the folder cannot be written."""
    path = Path(path)
    try:
        write_atomically(path, json.dumps(fits, indent=1, allow_nan=False) + "\n")
    except OSError as problem:
        raise LoraJaxError(
            f"{path} cannot be written ({problem.strerror}): make room or name another."
        ) from problem


def _fit_one_variable(state: _Analysis, over: str, at: str) -> None:
    """Fit L(over) to the runs at the largest `at` that leaves three values of `over`."""
    runs, words = _slice(state.runs, over, at)
    if runs is None:
        state.warnings.append(f"L({over}) is not fitted: {words}.")
        return
    for floor in (False, True):
        _add(state, power_law(over, floor), runs, average_seeds(runs), words, "squared")


def _slice(runs: RunTable, over: str, at: str) -> tuple[RunTable | None, str]:
    """Return the runs of the slice and the slice in words, or None and what is lacking."""
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


def _fit_compute(state: _Analysis) -> RunTable:
    """Fit L(C) to the compute-efficient cells; return their runs."""
    points = average_seeds(state.runs)
    points = points.take(efficient_runs(points))
    cells, chosen = cell_of(state.runs), set(points.run_ids)
    names = {int(c) for c, run_id in zip(cells, state.runs.run_ids, strict=True) if run_id in chosen}
    runs = state.runs.take(np.isin(cells, sorted(names)))
    if len(points) < FEWEST_VALUES:
        state.warnings.append(f"L(C) is not fitted: {len(points)} cells are compute-efficient, it needs 3.")
        return runs
    seeds = f", {_rows_of_a_cell(runs)} averaged" if len(runs) > len(points) else ""
    words = f"the {len(points)} compute-efficient of {cells.max() + 1} cells{seeds}"
    for floor in (False, True):
        _add(state, power_law("C", floor), runs, points, words, "squared")
    return runs


def _fit_joint(state: _Analysis) -> None:
    runs = state.runs
    sizes, tokens = (int(levels(runs.variable(v)).max()) + 1 for v in ("N", "D"))
    if min(sizes, tokens) < FEWEST_VALUES:
        state.warnings.append(
            f"L(N,D) is not fitted: {sizes} sizes and {tokens} token counts, it needs 3 of each."
        )
        return
    _add(state, CHINCHILLA, runs, runs, "all runs", "huber")


def _add(state: _Analysis, law: Law, runs: RunTable, points: RunTable, words: str, objective: str) -> None:
    """Fit `law` to the points, bootstrap it and enter it; `runs` are the runs behind the points."""
    spare = len(points) - len(law.names)
    if spare < 0 or (spare == 0 and state.noise_sd is None):
        state.warnings.append(
            f"{law.key} is not fitted: {len(points)} points ({words}) leave its {len(law.names)} parameters"
            " without an interval."
        )
        return
    found = fit(law, points, objective)
    replicates = bootstrap(found, state.n_bootstrap, seed=state.seed, noise_sd=state.noise_sd)
    state.fits[law.key] = replicates
    certificate, residuals = found.certificate, _residuals(found, runs)
    misfit = lack_of_fit(runs, residuals, len(law.names), state.noise)
    flags = [*certificate.warnings, *([misfit] if misfit else [])]
    entry: dict[str, Any] = {
        "key": law.key,
        "law": law.name,
        "formula": law.formula,
        "variable": ",".join(law.variables),
        "slice": words,
        "n": len(runs),
        "run_ids": list(runs.run_ids),
        "objective": {"name": OBJECTIVES[objective], "value": found.objective},
        "params": replicates.intervals(),
        "bootstrap": {"kind": replicates.kind, "n": replicates.n, "n_failed": replicates.n_failed},
        "certificate": {
            "converged": certificate.converged,
            "grad_norm": certificate.grad_norm,
            "polish_gain": certificate.polish_gain,
            "condition_number": certificate.condition_number,
            "verdict": verdict_of(flags),
            "warnings": flags,
        },
        "residuals": residuals.tolist(),
    }
    if len(law.variables) == 1:
        entry["band"] = _band(state, replicates, law.variables[0])
    state.entries.append(entry)


def _residuals(found: Fit, runs: RunTable) -> Array:
    fitted = found.predict(**{v: runs.variable(v) for v in found.law.variables})
    return np.log(runs["loss"]) - np.log(fitted)


def _band(state: _Analysis, replicates: Bootstrap, variable: str) -> dict[str, list[float]]:
    """Return the mean loss with its 95% interval from the smallest run to the held-out cell."""
    seen = np.concatenate([state.runs.variable(variable), state.heldout.variable(variable)])
    x = np.geomspace(seen.min(), seen.max(), 60)
    low, high = np.quantile(replicates.losses(**{variable: x}), [0.025, 0.975], axis=0)
    loss = replicates.fit.predict(**{variable: x})
    return {"x": x.tolist(), "loss": loss.tolist(), "lo": low.tolist(), "hi": high.tolist()}


def _exponents(state: _Analysis) -> dict[str, Any]:
    """Return alpha of the laws without a floor, the form that the exponents are quoted for."""
    found = {}
    for v in ("N", "D", "C"):
        if f"L({v})" in state.fits:
            found[f"alpha_{v}"] = {**state.fits[f"L({v})"].intervals()[f"alpha_{v}"], "fit": f"L({v})"}
    return found


def _by_convention(state: _Analysis) -> dict[str, Any]:
    """Return alpha_N of L(N) by each way of counting N, on the same runs."""
    if "L(N)" not in state.fits:
        return {}
    points = state.fits["L(N)"].fit.problem.table
    alphas = {}
    for column in N_COLUMNS:
        if column not in points.columns:
            continue
        found = fit(
            power_law("N"), points.using(n_column=column, flops_column=points.flops_column), "squared"
        )
        replicates = bootstrap(found, state.n_bootstrap, seed=state.seed, noise_sd=state.noise_sd)
        alphas[column] = replicates.intervals()["alpha_N"]
    return alphas


def _frontier(state: _Analysis, efficient: RunTable) -> dict[str, Any]:
    """Return N*(C) and D*(C) of the joint fit, C = 6ND from the smallest run to the held-out cell."""
    ids = list(efficient.run_ids)
    if CHINCHILLA.key not in state.fits:
        return {"a": None, "b": None, "G": None, "rows": [], "run_ids": ids}
    six_nd = [6 * t.variable("N") * t.variable("D") for t in (state.runs, state.heldout)]
    budgets = np.geomspace(min(six_nd[0]), max(six_nd[1].max(), six_nd[0].max()), 9)
    ratio = float(np.median(state.runs.variable("C") / six_nd[0]))
    if abs(np.log(ratio)) > np.log(1.2):
        state.warnings.append(
            f"N* and D* count C as 6ND with N = {state.runs.n_column}; by {state.runs.flops_column} the runs"
            f" cost {ratio:.2f} times that (median)."
        )
    return {**frontier(state.fits[CHINCHILLA.key], budgets), "run_ids": ids}


def _predict_heldout(state: _Analysis) -> dict[str, Any]:
    """Predict the held-out cell; an interval is that of a single run, its noise included."""
    cell = state.heldout
    measured = float(np.exp(np.log(cell["loss"]).mean()))
    at = {v: float(cell.variable(v)[0]) for v in ("N", "D", "C")}
    predictions = []
    for key in ("L(N,D)", "L(C)", "L(C) with floor"):
        if key not in state.fits:
            continue
        replicates = state.fits[key]
        values = {v: at[v] for v in replicates.fit.law.variables}
        value = float(replicates.fit.predict(**values)[0])
        low, high = np.quantile(replicates.single_runs(**values)[:, 0], [0.025, 0.975])
        error = value / measured - 1
        predictions.append(
            {"key": key, "value": value, "ci95": [float(low), float(high)], "relative_error": error}
        )
    joint = [p for p in predictions if p["key"] == CHINCHILLA.key]
    within = bool(abs(joint[0]["relative_error"]) <= PREDICTED_WELL) if joint else None
    if within is False:
        state.warnings.append(
            f"The held-out cell is not predicted within 3%: L(N,D) says {joint[0]['value']:.4f}, measured"
            f" {measured:.4f} ({joint[0]['relative_error']:+.1%})."
        )
    return {
        "run_id": cell.run_ids[0], "n_params": at["N"], "n_tokens": at["D"], "flops": at["C"],
        "measured": measured, "predictions": predictions, "within_3_percent": within,
    }  # fmt: skip
