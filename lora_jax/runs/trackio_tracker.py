"""Tracking with trackio: a dashboard on this machine, without an account and without the network.

A process of its own does the writing (`trackio_writer`), into the folder `trackio` of the results folder. If
it ends, one line says so, and training continues.
"""

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from lora_jax.runs.fit_tables import fit_facts, fit_tables
from lora_jax.runs.metric_names import FIGURES, FITS, FLOPS, METHODS, N_TOKENS
from lora_jax.runs.record import RunRecord
from lora_jax.runs.tracked_run import SweepNotes, find_tracked, to_metrics
from lora_jax.training.rows import Row, Source

FOLDER = "trackio"
FINISH_SECONDS = 60.0  # time to write what is left; trackio itself waits 30 s for its thread
INSTALL = "pip install 'lora-jax[trackio]'"
ONLY_AT_END = ("train_loss", "heldout_loss", "bits_per_byte", "wall_seconds")  # logged as final/NAME
# With these variables trackio sends rows or alerts to a server. Here the rows stay on the machine.
_REMOTE = {
    "TRACKIO_SPACE_ID",
    "TRACKIO_SERVER_URL",
    "TRACKIO_WRITE_TOKEN",
    "TRACKIO_BUCKET_ID",
    "TRACKIO_DATASET_ID",
    "TRACKIO_WEBHOOK_URL",
}


class TrackioTracker(SweepNotes):
    """Tracks a sweep with trackio.

    Attributes:
        mode: "local", or "off" after it has failed.
    """

    def __init__(self, sweep: str, folder: Path, say: Callable[[str], None] | None = None) -> None:
        super().__init__(sweep, folder, say)
        self.mode: Literal["local", "off"] = "local"
        self._trunks: set[str] = set()
        self._writer: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """Start the process that writes."""
        if importlib.util.find_spec("trackio") is None:
            self._give_up(f"it is not installed: {INSTALL}")
            return
        try:
            (self.folder / FOLDER).mkdir(parents=True, exist_ok=True)
            self._writer = subprocess.Popen(
                # -P: Python must not import from the folder of the script
                [sys.executable, "-P", str(Path(__file__).with_name("trackio_writer.py")), self.sweep],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env=_make_environment(self.folder / FOLDER),
                start_new_session=True,  # Ctrl-C goes to the training, which then ends this process in order
            )
        except OSError as error:
            self._give_up(str(error))

    def begin(self, source: Source, step: int) -> None:
        """Open the run of a stream, and send the rows of its live file. trackio repeats no row."""
        if self.mode == "off":
            return
        tracked = find_tracked(self.folder, source)
        is_open = tracked.name in self._names.values()  # a trunk of a single run, which now begins its branch
        self._names[source.name] = tracked.name
        if is_open:
            return
        if tracked.is_trunk:
            self._trunks.add(source.name)
        config = self._configs.get(source.run_ids[-1], {})
        self._begin_training(tracked.name, "trunk" if tracked.is_trunk else "train", config)
        for row in tracked.rows:
            self._send("row", run=tracked.name, step=row.step, metrics=to_metrics(row))

    def take(self, source: Source, row: Row) -> None:
        """Send a row."""
        name = self._names.get(source.name)
        if name is not None:
            self._send("row", run=name, step=row.step, metrics=to_metrics(row))

    def end(self, source: Source) -> None:
        """End the run of a trunk. That of a run ends with its record (`log_run`)."""
        if source.name in self._trunks:
            self._trunks.remove(source.name)
            self._send("end", run=self._names.pop(source.name), summary={})

    def log_run(self, record: RunRecord, curve: list[dict[str, Any]]) -> None:
        """End one training run. If its rows were not sent as they came, it is written whole.

        Args:
            record: The record.
            curve: The rows of curves/RUN_ID.csv (step, n_tokens, flops, loss, learning_rate).
        """
        name = record.run_id
        streams = [stream for stream, run in self._names.items() if run == name]
        for stream in streams:
            del self._names[stream]
        if not streams:
            self._begin_training(name, "train", record.config)
            for row in curve:
                metrics = {key: value for key, value in row.items() if key != "step" and value is not None}
                self._send("row", run=name, step=int(row["step"]), metrics=metrics)
        known = {key: getattr(record, key) for key in ONLY_AT_END}
        summary = {f"final/{key}": value for key, value in known.items() if value is not None}
        self._send("end", run=name, summary=summary)

    def log_fits(self, fits: dict[str, Any], figures: list[Path]) -> None:
        """Write one run that holds the fits as tables, and the PNG figures.

        Args:
            fits: The content of fits.json.
            figures: The figures.
        """
        tables = {f"{FITS}{name}": table for name, table in fit_tables(fits).items()}
        self._log_tables("fits", fit_facts(fits), tables, figures)

    def log_comparison(
        self, facts: dict[str, str], columns: list[str | int], rows: list[list[Any]], figures: list[Path]
    ) -> None:
        """Write one run that holds the methods of a comparison as a table, and the PNG figures.

        Args:
            facts: The config of the run.
            columns: Columns of the table.
            rows: Rows of the table, one for each method.
            figures: The figures.
        """
        self._log_tables("comparison", facts, {METHODS: (columns, rows)}, figures)

    def finish(self) -> None:
        """Wait until everything is written, and say where to look."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self._names.clear()
        try:
            _, errors = writer.communicate(timeout=FINISH_SECONDS)
        except subprocess.TimeoutExpired:
            writer.kill()
            writer.communicate()
            self._give_up(f"it wrote nothing for {FINISH_SECONDS:.0f} s")
            return
        if writer.returncode:
            self._give_up(_last_line(errors) or f"its process ended with status {writer.returncode}")
            return
        place, project = (shlex.quote(str(x)) for x in ((self.folder / FOLDER).resolve(), self.sweep))
        self._note(f"trackio: see the runs with: TRACKIO_DIR={place} trackio show --project {project}")

    def _log_tables(
        self, job: str, facts: Mapping[str, Any], tables: Mapping[str, Any], figures: list[Path]
    ) -> None:
        name = f"{self.sweep}-{job}"
        pictures = {f"{FIGURES}{path.stem}": str(path.resolve()) for path in figures if path.suffix == ".png"}
        self._begin(name, job, facts)
        self._send("tables", run=name, tables=tables, figures=pictures)
        self._send("end", run=name, summary={})

    def _begin(self, run: str, job: str, config: Mapping[str, Any]) -> None:
        self._send("begin", run=run, group=job, config=config)

    def _begin_training(self, run: str, job: Literal["train", "trunk"], config: Mapping[str, Any]) -> None:
        """Open a run, with a row before its first step, because trackio writes a config only with a row."""
        self._begin(run, job, config)
        self._send("row", run=run, step=0, metrics={N_TOKENS: 0, FLOPS: 0.0})

    def _send(self, do: str, **order: Any) -> None:
        writer = self._writer
        if writer is None or writer.stdin is None:
            return
        try:
            writer.stdin.write(json.dumps({"do": do, **order}) + "\n")
            writer.stdin.flush()
        except OSError:  # the process has ended, and it says why
            self.finish()

    def _give_up(self, reason: str) -> None:
        self.mode = "off"
        self._note(f"trackio: tracking is off for this sweep ({reason}); runs and fits are kept as always.")


def _make_environment(folder: Path) -> dict[str, str]:
    """Return the environment of the process that writes: files in `folder`, no server, no hub."""
    kept = {key: value for key, value in os.environ.items() if key not in _REMOTE}
    return kept | {
        "TRACKIO_DIR": str(folder.resolve()),
        # One process writes at a time, because the results folder has a lock. So we need not use trackio's
        # other form for network file systems, from which it cannot continue a run.
        "TRACKIO_STORAGE_MODE": "sqlite",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:160] if lines else ""
