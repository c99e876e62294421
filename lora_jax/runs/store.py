"""The run store: a results folder with one file a finished run, and what was derived from them."""

import csv
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lora_jax.collecting import uncollected
from lora_jax.digests import hash_text, to_sealed_json
from lora_jax.digests import read_result as read_json
from lora_jax.errors import LoraJaxError
from lora_jax.files import flush_names, require_disk, try_folder, write_atomically, write_together
from lora_jax.runs.record import RunRecord
from lora_jax.runs.record_file import format_record, read_record
from lora_jax.runs.run_table import agree, append_row, format_csv, format_table
from lora_jax.table_lag import RECORDS, TABLE, find_lag, list_records
from lora_jax.workers.crew import Crew, Joining, joined

RENEWALS = 3  # of a table, while other processes go on appending to the one that is replaced
CURVE_COLUMNS = ("step", "n_tokens", "flops", "loss", "learning_rate")


class RunStore:
    """One results folder; its records are the source of truth for everything that is reported."""

    def __init__(self, folder: Path) -> None:
        """Open a results folder; raises LoraJaxError where it is on object storage."""
        require_disk(folder)
        self.folder = folder
        # By file name: time and size of the file when it was read, and what it held. Without this, a sweep
        # that asks after each of n runs which are finished would read n^2 / 2 records.
        self._known: dict[str, tuple[tuple[int, int], RunRecord]] = {}
        self.crew: Crew | None = None  # inside `joined`

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

    @contextmanager
    def joined(self, joining: Joining, say: Callable[[str], None]) -> Iterator[Crew]:
        """Be one of the folder's workers during the block, which `crew` then is."""
        with joined(self.folder, joining, say) as crew:
            self.crew = crew
            try:
                yield crew
            finally:
                self.crew = None

    @contextmanager
    def alone(self, job: str, say: Callable[[str], None]) -> Iterator[None]:
        """Do in the block what one worker at a time may do. job: what that is, a word and more."""
        if self.crew is None:
            yield
            return
        with self.crew.leases.alone(job, say):
            yield

    def claim(self, sweep: Mapping[str, Any]) -> None:
        """Make the folder this sweep's own; refuse one that saw other text or holds another sweep's runs.

        sweep: name, question, command, run_ids, overrides, and data, the fingerprint of the tokens for each
        data configuration (by its digest). A sweep may grow.
        """
        self.check(sweep["name"], sweep["run_ids"])
        self.check_text(sweep["data"])
        write_atomically(self.folder / "sweep.json", to_sealed_json(sweep))

    def claimed_text(self) -> dict[str, str]:
        """Return `data` of the sweep that the folder is claimed for; nothing where it is not yet."""
        path = self.folder / "sweep.json"
        return dict(read_json(path).get("data") or {}) if path.exists() else {}

    def check_text(self, data: Mapping[str, str]) -> None:
        """Refuse a folder whose runs saw other text. data: as in `claim`."""
        before = self.claimed_text()
        changed = [key for key, value in data.items() if before.get(key, value) != value]
        # A saved state counts as well: going on from it would mix the two texts in one run.
        if changed and (self.finished() or any(self.folder.glob("checkpoints/*"))):
            raise LoraJaxError(
                f"{self.folder / 'sweep.json'} says that the runs in this folder saw other text than the"
                " sources hold now: choose another folder with --out, or restore the text."
            )

    def finished(self) -> dict[str, RunRecord]:
        """Return every record by run_id; half-written files have other names and are never read.

        A file that is as it was when it was read last is not read again.
        """
        found = {}
        with uncollected():
            for entry in list_records(self.folder):
                try:
                    stat = entry.stat()
                except FileNotFoundError as error:
                    raise LoraJaxError(
                        f"{entry.path} is a link that leads nowhere, or was just taken away: restore it, or"
                        " delete it to train that run again."
                    ) from error
                found[entry.name] = self._read(Path(entry.path), stat)
        self._known = found
        return {record.run_id: record for _, record in found.values()}

    def settled(self, halving: bool) -> set[str]:
        """Return the ids of the runs that need no training; without halving a halted run does, to its end."""
        return {i for i, record in self.finished().items() if halving or record.status != "halted"}

    def is_settled(self, run_id: str, halving: bool) -> bool:
        """Say the same of one run, without a look at the others."""
        path = self.folder / RECORDS / f"{run_id}.json"
        try:
            stat = path.stat()
        except FileNotFoundError:
            return False
        if halving:
            return True
        _, record = self._known[path.name] = self._read(path, stat)
        return record.status != "halted"

    def _read(self, path: Path, stat: os.stat_result) -> tuple[tuple[int, int], RunRecord]:
        """Return a record with time and size of its file, whose `stat` is given; read where they are new."""
        stamp = (stat.st_mtime_ns, stat.st_size)
        before = self._known.get(path.name)
        return before if before is not None and before[0] == stamp else (stamp, read_record(path))

    def write(self, record: RunRecord, curve: Sequence[Mapping[str, float]]) -> None:
        """Store a finished run: its curve first, so that a record always has one; then its table row."""
        text = format_csv(CURVE_COLUMNS, curve)
        path, table = self.folder / RECORDS / f"{record.run_id}.json", self.folder / TABLE
        if path.exists():
            # The table's row is of the record before, which nobody would notice by the names alone: who is
            # killed from here on leaves no table.
            table.unlink(missing_ok=True)
        curve_path = self.folder / "curves" / f"{record.run_id}.csv"
        write_together({curve_path: text, path: format_record(record, hash_text(text))})
        if not append_row(table, record):
            self.write_table()

    def secure(self) -> None:
        """Wait until no loss of power can undo a `write` that came before: its run's state may go then."""
        flush_names([self.folder / "curves", self.folder / RECORDS])

    def renew_table(self) -> None:
        """Write runs.csv where it is missing or says another thing than the records, the source of truth.

        A table of an older version, which lacks a column, is left as it is: it says the same.
        """
        path = self.folder / TABLE
        for _ in range(RENEWALS):
            now = self._table_text()
            # damaged bytes are no reason to stop: the table is written anew
            is_whole = path.exists() and find_lag(self.folder) is None
            if is_whole and agree(path.read_text("utf-8", "replace"), now):
                return
            write_atomically(path, now)

    def write_table(self) -> None:
        """Write runs.csv, one row a record; of fine-tuning runs with the columns that tell them apart."""
        write_atomically(self.folder / TABLE, self._table_text())

    def _table_text(self) -> str:
        return format_table(list(self.finished().values()))

    def read_curve(self, run_id: str) -> list[dict[str, float]]:
        path = self.folder / "curves" / f"{run_id}.csv"
        with path.open(encoding="utf-8") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
