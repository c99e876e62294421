"""The run store: a results folder with one file a finished run, and what was derived from them."""

import csv
import dataclasses
import fcntl
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lora_jax.config import digest
from lora_jax.digests import hash_file, hash_text, to_sealed_json
from lora_jax.digests import read_result as read_json
from lora_jax.errors import Damaged, LoraJaxError
from lora_jax.files import try_folder, write_atomically
from lora_jax.runs.record import COLUMNS, FINETUNING_COLUMNS, RunRecord
from lora_jax.temporaries import sweep

# Of the fields that came after the first records.
_DEFAULTS = {f.name: f.default for f in dataclasses.fields(RunRecord) if f.default is not dataclasses.MISSING}
CURVE = "curve_digest"  # in a record's file, of the file of its curve
CURVE_COLUMNS = ("step", "n_tokens", "flops", "loss", "learning_rate")


class RunStore:
    """One results folder; its records are the source of truth for everything that is reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # By file name: size and time of the file when it was read, and what it held. Without this, a sweep of
        # n runs would read n^2 / 2 records, because the table is written anew after each.
        self._known: dict[str, tuple[tuple[int, int], RunRecord]] = {}

    def check(self, name: str, run_ids: Collection[str], *, make: bool = True) -> None:
        """Refuse a folder that cannot be written or that holds runs that the sweep `name` does not have.

        make: Whether to leave the folder behind. Otherwise it is tried, and nothing is left.
        """
        self.try_write()
        if make:
            (self.folder / "runs").mkdir(parents=True, exist_ok=True)
        strangers = sorted(set(self.finished()) - set(run_ids))
        if strangers:
            raise LoraJaxError(
                f"{self.folder} holds {len(strangers)} finished runs of another config (such as"
                f" {strangers[0]}), wanted only runs of {name!r}: choose another folder with --out."
            )

    def try_write(self) -> None:
        """Refuse a folder that cannot be made or written; nothing is left in it."""
        try:
            try_folder(self.folder / "runs")
        except OSError as error:
            raise LoraJaxError(
                f"{self.folder} cannot be written ({error.strerror}), wanted a results folder:"
                " choose another one with --out."
            ) from error

    def tidy(self) -> None:
        """Remove what killed processes left; what a living one makes is not touched."""
        sweep(self.folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training into this folder during the block; a killed process frees it."""
        with (self.folder / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LoraJaxError(
                    f"Another process is training into {self.folder}: wait for it, or choose another folder"
                    " with --out."
                ) from error
            self.tidy()
            yield

    def claim(self, sweep: Mapping[str, Any]) -> None:
        """Make the folder this sweep's own; refuse one that saw other text or holds another sweep's runs.

        sweep: name, question, command, run_ids, overrides, and data, the fingerprint of the tokens for each
        data configuration (by its digest). A sweep may grow.
        """
        self.check(sweep["name"], sweep["run_ids"])
        self.check_text(sweep["data"])
        write_atomically(self.folder / "sweep.json", to_sealed_json(sweep))

    def check_text(self, data: Mapping[str, str]) -> None:
        """Refuse a folder whose runs saw other text. data: as in `claim`."""
        path = self.folder / "sweep.json"
        if path.exists():
            before = read_json(path).get("data") or {}
            changed = [key for key, value in data.items() if before.get(key, value) != value]
            # A saved state counts as well: going on from it would mix the two texts in one run.
            if changed and (self.finished() or any(self.folder.glob("checkpoints/*"))):
                raise LoraJaxError(
                    f"{path} says that the runs in this folder saw other text than the sources hold now:"
                    " choose another folder with --out, or restore the text."
                )

    def finished(self) -> dict[str, RunRecord]:
        """Return every record by run_id; half-written files have other names and are never read."""
        paths = sorted((self.folder / "runs").glob("*.json"))
        return {path.stem: self._read(path) for path in paths if not path.name.startswith(".")}

    def settled(self, halving: bool) -> set[str]:
        """Return the ids of the runs that need no training; without halving a halted run does, to its end."""
        return {i for i, record in self.finished().items() if halving or record.status != "halted"}

    def _read(self, path: Path) -> RunRecord:
        stat = path.stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
        known = self._known.get(path.name)
        if known is None or known[0] != stamp:
            known = self._known[path.name] = (stamp, _read_record(path))
        return known[1]

    def write(self, record: RunRecord, curve: Sequence[Mapping[str, float]]) -> None:
        """Store a finished run: its curve first, so that a record always has one; then the table anew."""
        text = _to_csv(CURVE_COLUMNS, curve)
        write_atomically(self.folder / "curves" / f"{record.run_id}.csv", text)
        path = self.folder / "runs" / f"{record.run_id}.json"
        write_atomically(path, to_sealed_json(_to_json(record) | {CURVE: hash_text(text)}))
        self.write_table()

    def renew_table(self) -> None:
        """Write runs.csv where it is missing or says another thing than the records, the source of truth.

        A table of an older version, which lacks a column, is left as it is: it says the same.
        """
        path = self.folder / "runs.csv"
        # damaged bytes are no reason to stop: the table is written anew
        if not path.exists() or not _agree(path.read_text("utf-8", "replace"), self._table_text()):
            self.write_table()

    def write_table(self) -> None:
        """Write runs.csv, one row a record; of fine-tuning runs with the columns that tell them apart."""
        write_atomically(self.folder / "runs.csv", self._table_text())

    def _table_text(self) -> str:
        records = list(self.finished().values())
        if any(record.finetuning is not None for record in records):
            return _to_csv(FINETUNING_COLUMNS, [_to_finetuning_row(record) for record in records])
        return _to_csv(COLUMNS, [_to_row(record) for record in records])

    def read_curve(self, run_id: str) -> list[dict[str, float]]:
        path = self.folder / "curves" / f"{run_id}.csv"
        with path.open(encoding="utf-8") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _to_json(record: RunRecord) -> dict[str, Any]:
    """Leave out fields at their defaults, so that the file of a run without them is what it always was."""
    return {k: v for k, v in dataclasses.asdict(record).items() if k not in _DEFAULTS or v != _DEFAULTS[k]}


def _read_record(path: Path) -> RunRecord:
    fields = {field.name for field in dataclasses.fields(RunRecord)}
    value = _DEFAULTS | read_json(path)
    _check_curve(path, value.pop(CURVE, None))
    if value.keys() != fields:
        missing, extra = sorted(fields - value.keys()), sorted(value.keys() - fields)
        raise LoraJaxError(
            f"{path} is not a run record of this version (missing {missing}, unknown {extra}):"
            " delete it to train that run again, or move it away."
        )
    if value["run_id"] != path.stem:
        raise LoraJaxError(f"{path} holds the record of {value['run_id']!r}: rename or delete it.")
    # The id ends in the hash of the configuration: a record that disagrees was damaged or edited.
    if not path.stem.endswith(digest(value["config"])):
        raise LoraJaxError(
            f"{path} holds a config that is not the one of its run_id: restore the file, or delete it to"
            " train that run again."
        )
    return RunRecord(**value)


def _check_curve(record: Path, wanted: str | None) -> None:
    """Compare a record's curve with the digest that the record has of it; older ones have none."""
    curve = record.parents[1] / "curves" / f"{record.stem}.csv"
    if wanted is not None and curve.exists() and hash_file(curve) != wanted:
        raise Damaged(
            f"{curve} is damaged or was edited, its digest is not the one that {record} has: restore it, or"
            f" delete {record.name} to train that run again."
        )


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


def _to_finetuning_row(record: RunRecord) -> dict[str, Any]:
    found = record.finetuning or {}
    test = found["test"].get(found["metric"]) or {"value": None, "ci95": (None, None)}
    row = (
        vars(record)
        | found
        | {
            "batch_size": record.config["optim"]["batch_size"],
            "dev_score": (found["dev"].get(found["metric"]) or {}).get("value"),
            "test_score": test["value"],
            "test_score_low": test["ci95"][0],
            "test_score_high": test["ci95"][1],
        }
    )
    return {name: row[name] for name in FINETUNING_COLUMNS}


def _agree(before: str, now: str) -> bool:
    """Do two tables have the same runs, with equal cells in the columns that the older one has?"""
    old, new = (list(csv.DictReader(io.StringIO(text))) for text in (before, now))
    return len(old) == len(new) and all(a.items() <= b.items() for a, b in zip(old, new, strict=True))


def _to_csv(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
