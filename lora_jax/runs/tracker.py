"""Tracking with Weights & Biases: one wandb run for each training run, and one for the fits.

We send a training run's config at once and its rows as they come (`training.rows`). Its record is the summary
at its end.

By default wandb is offline: nothing leaves the machine until you send it with `wandb sync`. WANDB_MODE=online
sends everything at once. WANDB_MODE=disabled and the mode "off" write nothing. A failing tracker never stops
a sweep. It steps down, from online to offline and from offline to off, and says so in one line each time.
"""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.runs.fit_tables import fit_facts, fit_tables
from lora_jax.runs.metric_names import FIGURES, FITS, FLOPS, LOSS, METHODS, N_TOKENS, of_row
from lora_jax.runs.record import RunRecord
from lora_jax.runs.tracked_run import SweepNotes, find_tracked
from lora_jax.runs.wandb_run import LiveRun, WandbRun, failures, find_id, start_run
from lora_jax.runs.wandb_store import find_last_step
from lora_jax.training.rows import Row, Source

# The values of WANDB_MODE and what they mean here. "dryrun" and "run" are wandb's older names.
_MODES: dict[str, Literal["online", "offline", "off"]] = {
    "": "offline",
    "offline": "offline",
    "dryrun": "offline",
    "online": "online",
    "run": "online",
    "disabled": "off",
}
_PICTURES = {".png", ".jpg", ".jpeg"}


def read_mode() -> Literal["online", "offline", "off"]:
    """Return the mode that WANDB_MODE asks for.

    Raises:
        LoraJaxError: It has an unknown value.
    """
    wanted = os.environ.get("WANDB_MODE", "").strip().lower()
    if wanted not in _MODES:
        raise LoraJaxError(
            f"WANDB_MODE is {wanted!r}, but it must be online, offline or disabled"
            f"{nearest(wanted, filter(None, _MODES))}: set it to one of them or unset it."
        )
    return _MODES[wanted]


class Tracker(SweepNotes):
    """Tracks a sweep with wandb.

    Attributes:
        mode: How it tracks at this moment.
    """

    def __init__(
        self,
        mode: Literal["online", "offline", "off"],
        sweep: str,
        folder: Path,
        say: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(sweep, folder, say)
        self.mode: Literal["online", "offline", "off"] = mode
        self._n_offline = 0  # number of wandb runs that wait on disk
        self._live: dict[str, LiveRun] = {}

    def begin(self, source: Source, step: int) -> None:
        """Open the wandb run of a stream. Send the rows of its live file that wandb does not have."""
        if self.mode == "off":
            return
        tracked = find_tracked(self.folder, source)
        name, is_trunk = tracked.name, tracked.is_trunk
        self._names[source.name] = name
        if name in self._live:  # a trunk of a single run, which now begins its branch
            return

        def write() -> None:
            online = self.mode == "online"
            before = 0 if online else find_last_step(self.folder, find_id(self.folder, name))
            config = dict(self._configs.get(source.run_ids[-1], {}))
            run = self._start(name, "trunk" if is_trunk else "train", config, ["running"])
            for axis in (N_TOKENS, FLOPS):
                run.define_metric(axis, hidden=True)
            run.define_metric("*", step_metric=N_TOKENS)
            opened = LiveRun(run, run.step if online else before, is_trunk)
            for row in tracked.rows:
                opened.log(row)
            self._live[name] = opened

        self._attempt(write)

    def take(self, source: Source, row: Row) -> None:
        """Send a row."""
        opened = self._live.get(self._names.get(source.name, ""))
        if opened is not None:
            self._try_live(lambda: opened.log(row))

    def end(self, source: Source) -> None:
        """End the wandb run of a trunk. That of a run ends with its record (`log_run`)."""
        opened = self._live.get(source.name)
        if opened is not None and opened.is_trunk:
            del self._live[source.name]
            self._try_live(opened.run.finish)

    def _try_live(self, write: Callable[[], None]) -> None:
        """Call `write`. If it fails, give up the open runs. Each of them is then written whole at its end."""
        try:
            write()
        except failures() as error:
            self._live.clear()
            self._step_down(error)

    def log_run(self, record: RunRecord, curve: list[dict[str, Any]]) -> None:
        """End one training run. Its record becomes the summary.

        If its rows were not sent as they came, it is written whole, with its config and its curve.

        Args:
            record: The record.
            curve: The rows of curves/RUN_ID.csv (step, n_tokens, flops, loss, learning_rate).
        """
        facts = dataclasses.asdict(record)
        del facts["config"]
        summary = {name: value for name, value in facts.items() if value is not None}
        opened = self._live.pop(record.run_id, None)
        if opened is not None:
            ended = opened.run

            def conclude() -> None:
                ended.tags = (record.status,)
                ended.summary.update(summary)
                ended.finish()

            self._try_live(conclude)
            return

        def write() -> None:
            run = self._start(record.run_id, "train", record.config, [record.status])
            run.define_metric(N_TOKENS, hidden=True)
            for name in (LOSS, of_row("learning_rate")):
                run.define_metric(name, step_metric=N_TOKENS)
            for row in curve:
                known = {name: value for name, value in row.items() if value is not None}
                run.log(known, step=int(row["step"]))
            run.summary.update(summary)
            run.finish()

        self._attempt(write)

    def log_fits(self, fits: dict[str, Any], figures: list[Path]) -> None:
        """Write one run that holds the fits as tables, and the PNG figures.

        Args:
            fits: The content of fits.json.
            figures: The figures.
        """

        def write() -> None:
            import wandb

            run = self._start(f"{self.sweep}-fits", "fit", fit_facts(fits), [])
            content: dict[str, Any] = {
                f"{FITS}{name}": wandb.Table(columns=columns, data=[*rows])
                for name, (columns, rows) in fit_tables(fits).items()
            }
            run.log(content | _images(figures))
            for name, exponent in fits["exponents"].items():
                run.summary[name] = exponent["value"]
            run.finish()

        self._attempt(write)

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

        def write() -> None:
            import wandb

            run = self._start(f"{self.sweep}-comparison", "comparison", facts, [])
            content: dict[str, Any] = {METHODS: wandb.Table(columns=columns, data=[*rows])}
            run.log(content | _images(figures))
            run.finish()

        self._attempt(write)

    def finish(self) -> None:
        """Close open runs as preempted, because a later call continues them. Say where offline runs wait."""
        for opened in list(self._live.values()):
            self._try_live(opened.preempt)
        self._live.clear()
        if self._n_offline:
            self._note(
                f"wandb: runs written offline: {self._n_offline}; send them with:"
                f" wandb sync {self.folder}/wandb/offline-run-*"
            )
            self._n_offline = 0

    def _attempt(self, write: Callable[[], None]) -> None:
        """Call `write` until it succeeds or tracking is off.

        Step down after each error that `failures` names.
        """
        while self.mode != "off":
            try:
                write()
            except failures() as error:
                self._live.clear()
                self._step_down(error)
            else:
                return

    def _step_down(self, error: BaseException) -> None:
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
        if self.mode == "online" and not isinstance(error, ImportError):
            self.mode = "offline"
            self._restart()
            self._note(f"wandb: not online ({reason}); the runs are written offline instead.")
        else:
            self.mode = "off"
            self._note(f"wandb: tracking is off for this sweep ({reason}); runs and fits are kept as always.")

    def _restart(self) -> None:
        """Give wandb a fresh process, because the old one holds the id of the run that could not start."""
        import wandb

        try:
            wandb.teardown(exit_code=0)
        except failures() as error:
            self._note(f"wandb: could not end its process ({type(error).__name__}).")
        wandb.setup(settings=wandb.Settings(silent=True))

    def prepare(self) -> None:
        """Import wandb, silence it, and make sure that there is a place to write."""

        def prepare() -> None:
            import wandb

            # Otherwise wandb would silently fall back to the system's temporary folder.
            (self.folder / "wandb").mkdir(parents=True, exist_ok=True)
            # Unless it is silent from the start, wandb asks a terminal for a key and waits for ever.
            wandb.setup(settings=wandb.Settings(silent=True))

        while self.mode != "off":
            try:
                prepare()
            except failures() as error:
                self._step_down(error)
            else:
                return

    def _start(self, run_id: str, job: str, config: dict[str, Any], tags: list[str]) -> Any:
        run = start_run(WandbRun(self.folder, self.sweep, run_id, job, config, tags), self.mode == "online")
        self._n_offline += self.mode == "offline"
        return run


def _images(figures: list[Path]) -> dict[str, Any]:
    import wandb

    pictures = (path for path in figures if path.suffix.lower() in _PICTURES)
    return {f"{FIGURES}{path.stem}": wandb.Image(str(path)) for path in pictures}
