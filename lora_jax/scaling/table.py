"""RunTable: one row a run, columns as arrays; read from a results folder, a CSV or a JSON-lines file."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.laws import Array

NUMBERS = ("n_params", "n_params_with_head", "n_params_total", "n_tokens", "flops", "flops_exact", "loss")
# columns that describe a run and may be absent; `learning_rate` there stands in for a missing base rate
LABELS = ("seed", "base_learning_rate", "learning_rate")
N_COLUMNS = ("n_params", "n_params_with_head", "n_params_total")
Row = Mapping[str, str]


@dataclass(frozen=True)
class LeftOut:
    """A run that is not fitted, why, and its cells by the names used here."""

    run_id: str
    reason: str
    row: Row


@dataclass(frozen=True)
class RunTable:
    """Runs as columns.

    columns: name -> (n,) float64: N in parameters, D in tokens, C in FLOPs, `loss` in nats per token.
    n_column and flops_column say which convention the laws' N and C read.
    """

    source: str
    run_ids: tuple[str, ...]
    columns: Mapping[str, Array]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    n_column: str = "n_params"
    flops_column: str = "flops"

    def __len__(self) -> int:
        return len(self.run_ids)

    def __getitem__(self, name: str) -> Array:
        if name not in self.columns:
            raise LoraJaxError(
                f"{self.source} has no column {name!r}{nearest(name, self.columns)}: add or map it."
            )
        return self.columns[name]

    def variable(self, letter: str) -> Array:
        """Return the column that a law's "N", "D" or "C" stands for."""
        return self[{"N": self.n_column, "D": "n_tokens", "C": self.flops_column}[letter]]

    def has(self, letter: str) -> bool:
        return {"N": self.n_column, "D": "n_tokens", "C": self.flops_column}[letter] in self.columns

    def take(self, index: Iterable[int] | np.ndarray) -> "RunTable":
        """Return the rows of an index array or a boolean mask; `left_out` stays."""
        rows = np.asarray(index if isinstance(index, np.ndarray) else list(index))
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(int)
        columns = {name: values[rows] for name, values in self.columns.items()}
        return replace(self, run_ids=tuple(self.run_ids[i] for i in rows), columns=columns)

    def without(self, mask: np.ndarray, reason: str) -> "RunTable":
        """Return the table without the rows of the mask, which join `left_out` for this reason."""
        gone = tuple(
            LeftOut(self.run_ids[i], reason, {k: repr(float(v[i])) for k, v in self.columns.items()})
            for i in np.flatnonzero(mask)
        )
        return replace(self.take(~np.asarray(mask)), left_out=self.left_out + gone)

    def using(self, *, n_column: str, flops_column: str) -> "RunTable":
        """Return the table with these conventions of N and C."""
        for name in (n_column, flops_column):
            self[name]
        return replace(self, n_column=n_column, flops_column=flops_column)


def make_table(source: str, run_ids: Iterable[str] | None = None, **columns: Iterable[float]) -> RunTable:
    """Return a table of columns given directly, D = C / 6N or C = 6ND filled in where one is missing."""
    arrays = {name: np.asarray(list(values), dtype=np.float64) for name, values in columns.items()}
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise LoraJaxError(f"{source} has columns of lengths {lengths}: give every column one value a run.")
    n = next(iter(lengths.values()))
    ids = tuple(run_ids) if run_ids is not None else tuple(f"row {i + 1}" for i in range(n))
    return _derive(RunTable(source, ids, arrays))


def read_table(
    path: str | Path, mapping: Mapping[str, str] | None = None, *, keep_uncooled: bool = False
) -> RunTable:
    """Read the runs of a results folder (its runs.csv), of any CSV, or of a JSON-lines file.

    mapping: names here -> names in the file, as {"n_params": "Model Size"}. The loss is `loss` or, failing
    that, `heldout_loss`. Left out: runs that diverged, and runs whose rate never came down where others' did.
    Raises LoraJaxError for a missing file or column, a cell that is not a number, and a table without runs.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "runs.csv"
    header, rows = _read_rows(file)
    if not rows:
        raise LoraJaxError(f"{file} holds no runs: train some, or name another file.")
    rename = _mapped(file, header, mapping or {})
    if "loss" not in rename and "heldout_loss" in header:
        rename["loss"] = "heldout_loss"
    if "loss" not in rename:
        raise LoraJaxError(
            f"{file} has no column 'loss'{nearest('loss', header)}: map one to it, as loss=<column>."
        )
    kept, left_out = _sift(rows, rename, keep_uncooled)
    if not kept:
        reasons = sorted({gone.reason for gone in left_out})
        raise LoraJaxError(f"{file}: none of {len(rows)} runs is done ({', '.join(reasons)}), train some.")
    columns = {
        name: np.array([_number(file, line, column, row, positive=name in NUMBERS) for line, row in kept])
        for name, column in rename.items()
    }
    if all("cooled" in row for _, row in kept):
        columns["cooled"] = np.array([float(_is_true(row["cooled"])) for _, row in kept])
    ids = tuple(row.get("run_id") or f"row {line}" for line, row in kept)
    return _derive(RunTable(str(path), ids, columns, tuple(left_out)))


def _read_rows(file: Path) -> tuple[list[str], list[tuple[int, Row]]]:
    """Return the header and the rows with their line numbers."""
    if not file.exists():
        raise LoraJaxError(f"{file} does not exist: name a results folder with a runs.csv, or a CSV file.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise LoraJaxError(f"{file} cannot be read as a table ({problem}): name a CSV file.") from problem
    if file.suffix == ".jsonl":
        rows = []
        for line, part in enumerate(text.splitlines(), 1):
            if not part.strip():
                continue
            try:
                cells = json.loads(part)
            except json.JSONDecodeError as problem:
                raise LoraJaxError(f"{file}, line {line}, is not JSON ({problem.msg}): mend it.") from problem
            if not isinstance(cells, dict):
                raise LoraJaxError(f"{file}, line {line}, is not a JSON object: give one object a line.")
            rows.append((line, {k: "" if v is None else str(v) for k, v in cells.items()}))
        return list(dict.fromkeys(k for _, row in rows for k in row)), rows
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise LoraJaxError(
                f"{file}, line {reader.line_num}, has another number of cells than the header: mend it."
            )
        rows.append((reader.line_num, row))
    return list(reader.fieldnames or ()), rows


def _mapped(file: Path, header: list[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Return our name -> the file's name, for the columns that are there."""
    known = (*NUMBERS, *LABELS)
    for ours, theirs in mapping.items():
        if ours not in known:
            raise LoraJaxError(f"Column {ours!r} means nothing here{nearest(ours, known)}: map one of these.")
        if theirs not in header:
            raise LoraJaxError(f"{file} has no column {theirs!r}{nearest(theirs, header)}: mend the mapping.")
    return {name: mapping.get(name, name) for name in known if mapping.get(name, name) in header}


def _sift(
    rows: list[tuple[int, Row]], rename: Mapping[str, str], keep_uncooled: bool
) -> tuple[list[tuple[int, Row]], list[LeftOut]]:
    """Return the rows to fit, with their lines, and the others with a reason."""

    def gone(line: int, row: Row, reason: str) -> LeftOut:
        return LeftOut(
            row.get("run_id") or f"row {line}", reason, {n: row.get(c, "") for n, c in rename.items()}
        )

    kept: list[tuple[int, Row]] = []
    left_out: list[LeftOut] = []
    for line, row in rows:
        status = (row.get("status") or "done").strip()
        if status == "done":
            kept.append((line, row))
        else:
            left_out.append(gone(line, row, status))
    cooled = [_is_true(row.get("cooled", "")) for _, row in kept]
    if any(cooled) and not all(cooled) and not keep_uncooled:
        reason = "not cooled down, while others are"
        left_out += [
            gone(line, row, reason) for (line, row), yes in zip(kept, cooled, strict=True) if not yes
        ]
        kept = [pair for pair, yes in zip(kept, cooled, strict=True) if yes]
    return kept, left_out


def _is_true(cell: str) -> bool:
    return cell.strip().lower() in ("true", "1", "yes", "1.0")


def _number(file: Path, line: int, column: str, row: Row, *, positive: bool) -> float:
    cell = row.get(column) or ""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (positive and value <= 0):
        wanted = "a number above 0" if positive else "a number"
        raise LoraJaxError(f"{file}, line {line}, column {column!r}: {cell!r} is not {wanted}, mend it.")
    return value


def _derive(table: RunTable) -> RunTable:
    """Fill in D = C / 6N or C = 6ND where one of the two is missing, and say so."""
    columns, notes = dict(table.columns), list(table.notes)
    if "base_learning_rate" not in columns and "learning_rate" in columns:
        columns["base_learning_rate"] = columns["learning_rate"]
    if "n_params" in columns and "n_tokens" not in columns and "flops" in columns:
        columns["n_tokens"] = columns["flops"] / (6 * columns["n_params"])
        notes.append("n_tokens is not in the table: derived as flops / (6 n_params).")
    if "n_params" in columns and "n_tokens" in columns and "flops" not in columns:
        columns["flops"] = 6 * columns["n_params"] * columns["n_tokens"]
        notes.append("flops is not in the table: derived as 6 n_params n_tokens.")
    return replace(table, columns=columns, notes=tuple(notes))
