"""A results folder read into memory, checked: sweep.json, runs.csv, runs/*.json, curves/*.csv, fits.json."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args, get_type_hints

from lora_jax.collecting import uncollected
from lora_jax.digests import read_object
from lora_jax.documents import from_document, reading
from lora_jax.errors import LoraJaxError
from lora_jax.names import inside
from lora_jax.report.kit.cells import read_cells
from lora_jax.report.kit.curves import read_curve
from lora_jax.report.kit.settings import split_settings
from lora_jax.report.kit.sweep_file import SweepFile, read_sweep_file
from lora_jax.report.kit.thinning import choose_evenly
from lora_jax.scaling.documents import read_fits
from lora_jax.scaling.results import FittedRun
from lora_jax.scaling.sweep_results import SweepFit, SweepReport
from lora_jax.table_lag import refuse_lag

MOST_CURVES = 200  # more bury each other, and take minutes to draw
_NEEDED = {"run_id", "status", "seed", "n_params", "n_tokens", "flops_exact", "heldout_loss"}


@dataclass(frozen=True)
class RecordedRun:
    """What a report says of runs/RUN_ID.json beyond its row."""

    config: Mapping[str, Any]
    status: str
    n_tokens: float
    flops_exact: float
    trained_tokens: float
    wall_seconds: float
    device: str
    versions: Mapping[str, Any]
    git_commit: str | None
    created_at: str
    data: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class SweepRun:
    """A row of runs.csv. Losses in nats per token; None where the cell is empty or older files have none."""

    run_id: str
    status: str
    seed: int
    n_params: int
    n_params_with_head: int | None
    n_params_total: int | None
    n_tokens: int
    flops: float | None
    flops_exact: float
    heldout_loss: float | None
    heldout_loss_se: float | None
    train_loss: float | None
    bits_per_byte: float | None
    learning_rate: float | None
    schedule: str | None
    diverged_at: int | None
    halted_at: int | None
    wall_seconds: float | None

    def number(self, column: str) -> float:
        """Return the N, D or C of a column."""
        return getattr(self, column)


@dataclass(frozen=True)
class Results:
    """What a report is made from. Losses in nats per token."""

    folder: Path
    sweep: SweepFile
    runs: tuple[SweepRun, ...]
    records: Mapping[str, RecordedRun]  # by run_id
    curves: dict[str, dict[str, list[float]]]  # of at most MOST_CURVES runs, by run_id: columns of its file
    fits: SweepReport  # fits.json

    @cached_property
    def _by_id(self) -> dict[str, SweepRun]:
        return {row.run_id: row for row in self.runs}

    def run(self, run_id: str) -> SweepRun:
        """Return the row of one run; an id that fits.json has and runs.csv has not is a stale fit."""
        if run_id not in self._by_id:
            raise _stale(self.folder, run_id)
        return self._by_id[run_id]

    @cached_property
    def settings(self) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """The settings that all runs share, and those that differ (`split_settings`)."""
        return split_settings({run_id: record.config for run_id, record in self.records.items()})


def read_results(folder: Path) -> Results:
    """Read a results folder; raises LoraJaxError naming the file that is missing or cannot be read."""
    folder = Path(folder)
    if not folder.is_dir():
        raise LoraJaxError(f"{folder} is not a folder: give a results folder, such as results/quickstart.")
    sweep = read_sweep_file(folder)
    runs = _read_runs(folder / "runs.csv")
    fits = read_fits(folder / "fits.json")
    with uncollected():
        records = {row.run_id: _read_record(folder, row.run_id) for row in runs}
    curves = {
        i: read_curve(path)
        for i in _choose_curves(runs, fits)
        if (path := folder / "curves" / f"{i}.csv").exists()
    }  # a run that diverged in its first steps may have none
    found_fits = replace(fits, fits=tuple(_with_rows(fit, fits, runs, folder) for fit in fits.fits))
    return Results(folder=folder, sweep=sweep, runs=runs, records=records, curves=curves, fits=found_fits)


def _with_rows(fit: SweepFit, fits: SweepReport, runs: Sequence[SweepRun], folder: Path) -> SweepFit:
    """Return a fit with its rows; an older file does not hold them, and runs.csv has what they were."""
    if fit.runs:
        return fit
    by_id = {run.run_id: run for run in runs}
    rows = []
    for run_id, residual in zip(fit.run_ids, fit.residuals, strict=True):
        run = by_id.get(run_id)
        if run is None:
            raise _stale(folder, run_id)
        if run.heldout_loss is not None:
            at = {
                "N": run.number(fits.n_column),
                "D": float(run.n_tokens),
                "C": run.number(fits.flops_column),
            }
            fitted = run.heldout_loss / math.exp(residual)
            rows.append(FittedRun(run_id, at, run.heldout_loss, fitted, None))
    return replace(fit, runs=tuple(rows))


def _stale(folder: Path, run_id: str) -> LoraJaxError:
    return LoraJaxError(
        f"{folder / 'fits.json'} names the run {run_id!r}, which runs.csv does not have: run `lora-jax fit`"
        " again."
    )


def _read_record(folder: Path, run_id: str) -> RecordedRun:
    path = inside(folder / "runs", f"{run_id}.json", str(folder / "runs.csv"))
    document = read_object(path, "run the sweep again, it trains what is missing")
    with reading(path, "delete it and run the sweep again"):
        return from_document(RecordedRun, document)


def _choose_curves(runs: Sequence[SweepRun], fits: SweepReport) -> list[str]:
    """Return the runs whose curves are drawn: first the efficient ones and the longest of each size."""
    longest: dict[float, SweepRun] = {}
    for run in sorted(runs, key=lambda run: (-run.n_tokens, run.heldout_loss or math.inf)):
        longest.setdefault(run.number(fits.n_column), run)
    first = {*fits.frontier.run_ids, *(run.run_id for run in longest.values())}
    in_order = sorted(runs, key=lambda run: (run.n_params, run.n_tokens, run.run_id))
    return [run.run_id for run in choose_evenly(in_order, MOST_CURVES, lambda run: run.run_id in first)]


def _read_runs(path: Path) -> tuple[SweepRun, ...]:
    refuse_lag(path.parent)
    columns, rows = read_cells(path, "run `lora-jax fit` first, it writes runs.csv from runs/")
    absent = sorted(_NEEDED - set(columns))
    if absent:
        raise LoraJaxError(f"{path} has no column {absent[0]!r}: run `lora-jax fit` again.")
    if not rows:
        raise LoraJaxError(f"{path} holds no run: run the sweep first.")
    found = [_run(dict(zip(columns, row, strict=True)), path, line) for line, row in enumerate(rows, start=2)]
    return tuple(found)


def _run(row: Mapping[str, str], path: Path, line: int) -> SweepRun:
    found: dict[str, Any] = {
        name: _typed(wanted, name, row.get(name, ""), path, line) for name, wanted in _TYPES.items()
    }
    return SweepRun(**found)


_TYPES = {name: {kind, *get_args(kind)} for name, kind in get_type_hints(SweepRun).items()}


def _typed(wanted: set[Any], name: str, cell: str, path: Path, line: int) -> Any:
    """Return a cell as the types of its field say; None for an empty one."""
    if cell == "":
        return None
    try:
        if int in wanted:
            return int(float(cell))
        if float in wanted:
            return float(cell)
    except ValueError:
        raise LoraJaxError(
            f"{path}, line {line}: {name} is {cell!r}, but it must be a number: run `lora-jax fit` again."
        ) from None
    return cell
