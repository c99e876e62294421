"""A results folder read into memory, checked: sweep.json, runs.csv, runs/*.json, curves/*.csv, fits.json."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.errors import LoraJaxError

CURVE_COLUMNS = ("step", "n_tokens", "flops", "loss", "learning_rate")

_FLOATS = {
    "epochs", "flops", "flops_exact", "train_loss", "heldout_loss", "heldout_loss_se", "bits_per_byte",
    "learning_rate", "base_learning_rate", "wall_seconds", "tokens_per_second",
}  # fmt: skip
_INTEGERS = {
    "seed", "d_model", "n_layers", "n_params", "n_params_with_head", "n_params_total", "n_tokens",
    "unique_tokens", "batch_size", "n_steps", "diverged_at", "trained_tokens", "lanes",
    "halted_at",
}  # fmt: skip
_NEEDED = {"run_id", "status", "seed", "n_params", "n_tokens", "flops_exact", "heldout_loss"}
_RECORD_KEYS = (
    "config", "status", "n_tokens", "flops_exact", "trained_tokens", "wall_seconds", "device", "versions",
    "git_commit", "created_at",
)  # fmt: skip
_FIT_KEYS = (
    "n_runs", "n_fitted", "n_column", "flops_column", "left_out", "noise", "fits", "exponents",
    "by_convention", "frontier", "heldout_cell", "learning_rate", "warnings",
)  # fmt: skip


@dataclass(frozen=True)
class Results:
    """What a report is made from. Losses in nats per token."""

    folder: Path
    sweep: dict[str, Any]  # sweep.json
    runs: list[dict[str, Any]]  # rows of runs.csv, typed; an empty cell is None
    records: dict[str, dict[str, Any]]  # runs/RUN_ID.json by run_id: config, versions
    curves: dict[str, dict[str, list[float]]]  # by run_id: columns of curves/RUN_ID.csv
    fits: dict[str, Any]  # fits.json

    def run(self, run_id: str) -> dict[str, Any]:
        """Return the row of one run; an id that fits.json has and runs.csv has not is a stale fit."""
        for row in self.runs:
            if row["run_id"] == run_id:
                return row
        raise LoraJaxError(
            f"{self.folder / 'fits.json'} names the run {run_id!r}, which runs.csv does not have:"
            " run `lora-jax fit` again."
        )

    def fit(self, key: str) -> dict[str, Any] | None:
        """Return the fit of this key, such as "L(N)", or None where it was not made."""
        return next((fit for fit in self.fits["fits"] if fit["key"] == key), None)


def read_results(folder: Path) -> Results:
    """Read a results folder; raises LoraJaxError naming the file that is missing or cannot be read."""
    folder = Path(folder)
    if not folder.is_dir():
        raise LoraJaxError(f"{folder} is not a folder: give a results folder, such as results/quickstart.")
    sweep = read_json(folder / "sweep.json", "run the sweep first")
    runs = _read_runs(folder / "runs.csv")
    fits = read_json(folder / "fits.json", "run `lora-jax fit` first")
    absent = [key for key in _FIT_KEYS if key not in fits]
    if absent:
        raise LoraJaxError(f"{folder / 'fits.json'} has no {absent[0]!r}: run `lora-jax fit` again.")
    for key in ("name", "question", "command"):
        if key not in sweep:
            raise LoraJaxError(f"{folder / 'sweep.json'} has no {key!r}: run the sweep again.")
    ids = [row["run_id"] for row in runs]
    records = {
        i: read_json(folder / "runs" / f"{i}.json", "run the sweep again, it trains what is missing")
        for i in ids
    }
    for i, record in records.items():
        absent = [key for key in _RECORD_KEYS if key not in record]
        if absent:
            raise LoraJaxError(
                f"{folder / 'runs' / f'{i}.json'} has no {absent[0]!r}: delete it and run the sweep again."
            )
    curves = {
        i: read_curve(path) for i in ids if (path := folder / "curves" / f"{i}.csv").exists()
    }  # a run that diverged in its first steps may have none
    return Results(folder=folder, sweep=sweep, runs=runs, records=records, curves=curves, fits=fits)


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON object; raises LoraJaxError, which tells the remedy."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LoraJaxError(f"{path} is missing: {remedy}.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LoraJaxError(f"{path} cannot be read ({error}): {remedy}.") from error
    if not isinstance(content, dict):
        raise LoraJaxError(f"{path} holds a {type(content).__name__}, it must be an object: {remedy}.")
    return content


def _read_runs(path: Path) -> list[dict[str, Any]]:
    columns, rows = _read_csv(path, "run `lora-jax fit` first, it writes runs.csv from runs/")
    absent = sorted(_NEEDED - set(columns))
    if absent:
        raise LoraJaxError(f"{path} has no column {absent[0]!r}: run `lora-jax fit` again.")
    if not rows:
        raise LoraJaxError(f"{path} holds no run: run the sweep first.")
    return [
        {name: _typed(name, cell, path, line) for name, cell in zip(columns, row, strict=True)}
        for line, row in enumerate(rows, start=2)
    ]


def read_curve(path: Path) -> dict[str, list[float]]:
    """Read curves/RUN_ID.csv by column; raises LoraJaxError for a damaged one."""
    columns, rows = _read_csv(path, "delete it and its run's file, and run the sweep again")
    absent = [name for name in CURVE_COLUMNS if name not in columns]
    if absent:
        raise LoraJaxError(f"{path} has no column {absent[0]!r}: run the sweep again.")
    try:
        # A run that diverges may end in a row without a loss.
        whole = [row for row in rows if row[columns.index("loss")] not in ("", "nan", "inf")]
        return {name: [float(row[columns.index(name)]) for row in whole] for name in CURVE_COLUMNS}
    except ValueError as error:
        raise LoraJaxError(
            f"{path} holds a cell that is no number ({error}): run the sweep again."
        ) from error


def _read_csv(path: Path, remedy: str) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
    except FileNotFoundError:
        raise LoraJaxError(f"{path} is missing: {remedy}.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LoraJaxError(f"{path} cannot be read ({error}): {remedy}.") from error
    if not lines:
        raise LoraJaxError(f"{path} is empty: {remedy}.")
    for number, line in enumerate(lines, start=1):
        if len(line) != len(lines[0]):
            raise LoraJaxError(
                f"{path}, line {number} has {len(line)} cells, the header has {len(lines[0])}: {remedy}."
            )
    return lines[0], lines[1:]


def _typed(name: str, cell: str, path: Path, line: int) -> Any:
    if cell == "":
        return None
    try:
        if name in _INTEGERS:
            return int(float(cell))
        if name in _FLOATS:
            return float(cell)
    except ValueError:
        raise LoraJaxError(
            f"{path}, line {line}: {name} is {cell!r}, it must be a number: run `lora-jax fit` again."
        ) from None
    if name == "cooled":
        return cell.strip().lower() in ("true", "1")
    return cell
