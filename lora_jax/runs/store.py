"""The run store: a results folder with one file for each finished run, and what is derived from them."""

import csv
import os
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
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
from lora_jax.runs.withdrawal import make_folder, withdraw
from lora_jax.table_lag import RECORDS, TABLE, find_lag, list_records
from lora_jax.workers.crew import Crew, Joining, joined

RENEWALS = 3  # attempts to renew a table, because other processes may append to the one that is replaced
CURVE_COLUMNS = ("step", "n_tokens", "flops", "loss", "learning_rate")


class RunStore:
    """One results folder. Its records are the source of truth for everything that is reported."""

    def __init__(self, folder: Path) -> None:
        """Open a results folder.

        Raises:
            LoraJaxError: It is on object storage.
        """
        require_disk(folder)
        self.folder = folder
        # By file name: time and size of the file when it was read, and what it held. A sweep asks after each
        # of n runs which are finished. Without this it would read n^2 / 2 records.
        self._known: dict[str, tuple[tuple[int, int], RunRecord]] = {}
        self.crew: Crew | None = None  # the other workers, while `joined` lasts
        self._made: tuple[Path, ...] = ()  # folders that were not there before `check`

    def check(self, name: str, run_ids: Collection[str], *, make: bool = True) -> None:
        """Check that the folder can be written and holds no runs of another sweep.

        Args:
            name: Name of the sweep.
            run_ids: Ids of its runs.
            make: Whether to leave the folder behind. Otherwise it is only tried, and nothing is left.

        Raises:
            LoraJaxError: It cannot be written, or it holds other runs.
        """
        self.try_write()
        if make:
            self._made += make_folder(self.folder)
            (self.folder / "runs").mkdir(exist_ok=True)
        strangers = sorted(set(self.finished()) - set(run_ids))
        if strangers:
            raise LoraJaxError(
                f"{self.folder} holds {len(strangers)} finished runs of another config (such as"
                f" {strangers[0]}), but it must hold only runs of {name!r}: choose another folder with --out."
            )

    def try_write(self) -> None:
        """Check that the folder can be made and written, and leave nothing in it.

        Raises:
            LoraJaxError: It cannot.
        """
        try:
            try_folder(self.folder / "runs")
        except OSError as error:
            raise LoraJaxError(
                f"{self.folder} cannot be written ({error.strerror}), but the results go there:"
                " choose another folder with --out."
            ) from error

    @contextmanager
    def joined(self, joining: Joining, say: Callable[[str], None]) -> Generator[Crew]:
        """Be one of the folder's workers during the block. `crew` then holds the others.

        If the block is refused before anything is trained, the folder is gone again, if this store made it.
        """
        try:
            with joined(self.folder, joining, say) as crew:
                self.crew = crew
                try:
                    yield crew
                finally:
                    self.crew = None
        except LoraJaxError:
            withdraw(self.folder, self._made)
            raise

    @contextmanager
    def alone(self, job: str, say: Callable[[str], None]) -> Generator[None]:
        """Let only one worker at a time run the block.

        Args:
            job: Name of what it does.
            say: Called with a line if it has to wait.
        """
        if self.crew is None:
            yield
            return
        with self.crew.leases.alone(job, say):
            yield

    def claim(self, sweep: Mapping[str, Any]) -> None:
        """Make the folder this sweep's own. A sweep may grow later.

        Args:
            sweep: Its name, question, command, run_ids, overrides and data. `data` has the fingerprint of the
                tokens of each data configuration, by the configuration's digest.

        Raises:
            LoraJaxError: Its runs saw other text, or it holds another sweep's runs.
        """
        self.check(sweep["name"], sweep["run_ids"])
        self.check_text(sweep["data"])
        write_atomically(self.folder / "sweep.json", to_sealed_json(sweep))

    def claimed_text(self) -> dict[str, str]:
        """Return `data` of the sweep that claimed the folder. Empty if none has."""
        path = self.folder / "sweep.json"
        return dict(read_json(path).get("data") or {}) if path.exists() else {}

    def check_text(self, data: Mapping[str, str]) -> None:
        """Check that the folder's runs saw the same text.

        Args:
            data: As in `claim`.

        Raises:
            LoraJaxError: They saw other text.
        """
        before = self.claimed_text()
        changed = [key for key, value in data.items() if before.get(key, value) != value]
        # A saved state counts as well. Continuing from it would mix the two texts in one run.
        if changed and (self.finished() or any(self.folder.glob("checkpoints/*"))):
            raise LoraJaxError(
                f"{self.folder / 'sweep.json'} says that the runs in this folder saw other text than the"
                " sources hold now: choose another folder with --out, or restore the text."
            )

    def finished(self) -> dict[str, RunRecord]:
        """Return every record by run_id. Half-written files have other names and are never read.

        A file that has not changed since it was last read is not read again.
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
        """Return the ids of the runs that need no training.

        Without halving, a halted run still has to finish.
        """
        return {i for i, record in self.finished().items() if halving or record.status != "halted"}

    def is_settled(self, run_id: str, halving: bool) -> bool:
        """Say the same about one run, without looking at the others."""
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
        """Return a record with the time and size of its file. It is read only if these are new."""
        stamp = (stat.st_mtime_ns, stat.st_size)
        before = self._known.get(path.name)
        return before if before is not None and before[0] == stamp else (stamp, read_record(path))

    def write(self, record: RunRecord, curve: Sequence[Mapping[str, float]]) -> None:
        """Store a finished run: its curve, its record and its table row, in this order.

        So a record always has a curve.
        """
        text = format_csv(CURVE_COLUMNS, curve)
        path, table = self.folder / RECORDS / f"{record.run_id}.json", self.folder / TABLE
        if path.exists():
            # The table has a row of the record before, and its run_id does not show that. So we remove the
            # table first. If we are killed now, there is no table.
            table.unlink(missing_ok=True)
        curve_path = self.folder / "curves" / f"{record.run_id}.csv"
        write_together({curve_path: text, path: format_record(record, hash_text(text))})
        if not append_row(table, record):
            self.write_table()

    def secure(self) -> None:
        """Wait until an earlier `write` survives a loss of power. Then its run's state may be removed."""
        flush_names([self.folder / "curves", self.folder / RECORDS])

    def renew_table(self) -> None:
        """Write runs.csv again if it is missing or differs from the records, which are the source of truth.

        A table of an older version, which lacks a column, is left as it is if its cells agree.
        """
        path = self.folder / TABLE
        for _ in range(RENEWALS):
            now = self._table_text()
            # damaged bytes are no reason to stop, because the table is then written again
            is_whole = path.exists() and find_lag(self.folder) is None
            if is_whole and agree(path.read_text("utf-8", "replace"), now):
                return
            write_atomically(path, now)

    def write_table(self) -> None:
        """Write runs.csv with one row a record. Fine-tuning runs get the columns that tell them apart."""
        write_atomically(self.folder / TABLE, self._table_text())

    def _table_text(self) -> str:
        return format_table(list(self.finished().values()))

    def read_curve(self, run_id: str) -> list[dict[str, float]]:
        """Return the rows of a run's curve."""
        path = self.folder / "curves" / f"{run_id}.csv"
        with path.open(encoding="utf-8") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
