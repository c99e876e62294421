"""The table of a results folder, runs.csv, with one row a record. It is written whole or appended to.

It is derived from the records and never trusted blindly. `lora_jax.table_lag` has the rule for its readers.
"""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lora_jax.runs.record import COLUMNS, FINETUNING_COLUMNS, STUDY_COLUMNS, RunRecord


def format_table(records: Sequence[RunRecord]) -> str:
    """Return one row a record. Tables of fine-tuning runs have the columns that tell such runs apart."""
    if any(record.finetuning is not None for record in records):
        in_study = any((record.finetuning or {}).get("study") for record in records)
        names = FINETUNING_COLUMNS + STUDY_COLUMNS * in_study
        return format_csv(names, [_to_finetuning_row(record, names) for record in records])
    return format_csv(COLUMNS, [_to_row(record) for record in records])


def append_row(path: Path, record: RunRecord) -> bool:
    """Append a record's row to the table in a single write. False if there is no table with these columns.

    Several processes may do so at once. A row can still be lost or torn by a kill or a shared file system.
    """
    header, row = format_table([record]).encode().split(b"\n", 1)
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        return False
    try:
        if os.pread(handle, len(header) + 1, 0) != header + b"\n":
            return False  # it is empty, of an older version, or for the other kind of run
        os.write(handle, row)
    except OSError as error:
        error.filename = str(path)  # a full disk is noticed at the write, which knows no name
        raise
    finally:
        os.close(handle)
    return True


def agree(before: str, now: str) -> bool:
    """Have two tables the same runs, with equal cells in the columns of the older one?

    Args:
        before: The older table.
        now: The newer table.
    """
    if before == now:
        return True
    old, new = (list(csv.DictReader(io.StringIO(text))) for text in (before, now))
    return len(old) == len(new) and all(a.items() <= b.items() for a, b in zip(old, new, strict=True))


def format_csv(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV. If a row lacks a column, its cell is empty.

    Raises:
        ValueError: A row has a key that is no column.
    """
    text, names = io.StringIO(), list(columns)
    known = set(names)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:  # csv.DictWriter takes twice the time for a curve of 200 rows
        if not row.keys() <= known:
            raise ValueError(f"a row has {sorted(row.keys() - known)}, which are no columns")
        writer.writerow([row.get(name, "") for name in names])
    return text.getvalue()


def _to_row(record: RunRecord) -> dict[str, Any]:
    config = record.config
    row = vars(record) | {
        "d_model": config["model"]["d_model"],
        "n_layers": config["model"]["n_layers"],
        "base_learning_rate": config["optim"]["learning_rate"],
        "batch_size": config["optim"]["batch_size"],
        "schedule": config["optim"]["schedule"],
    }
    return {name: row[name] for name in COLUMNS}


def _to_finetuning_row(record: RunRecord, names: Sequence[str]) -> dict[str, Any]:
    found = record.finetuning or {}
    study = found.get("study") or {}
    forgotten = study.get("source") or {"after": None, "change": {"value": None, "se": None}}
    test = found["test"].get(found["metric"]) or {"value": None, "ci95": (None, None)}
    row = (
        vars(record)
        | found
        | study
        | {
            "rank": found["method"].get("rank"),
            "source_loss": forgotten["after"],
            "source_change": forgotten["change"]["value"],
            "source_change_se": forgotten["change"]["se"],
        }
        | {
            "batch_size": record.config["optim"]["batch_size"],
            "dev_score": (found["dev"].get(found["metric"]) or {}).get("value"),
            "test_score": test["value"],
            "test_score_low": test["ci95"][0],
            "test_score_high": test["ci95"][1],
        }
    )
    return {name: row.get(name) if name in STUDY_COLUMNS else row[name] for name in names}
