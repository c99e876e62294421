"""Tracking with Weights & Biases: one wandb run a training run, and one for the fits. Never a reason to stop.

Offline by default: nothing leaves the machine until somebody sends it with `wandb sync`. WANDB_MODE=online
sends it at once, WANDB_MODE=disabled and the mode "off" write nothing. A tracker that cannot go on steps
down, from online to offline and from offline to off, and says so in one line each time.
"""

import dataclasses
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.runs.record import RunRecord

# What WANDB_MODE may hold, and what it means here; "dryrun" and "run" are wandb's older names.
_MODES: dict[str, Literal["online", "offline", "off"]] = {
    "": "offline", "offline": "offline", "dryrun": "offline", "online": "online", "run": "online",
    "disabled": "off",
}  # fmt: skip
_CONNECT_SECONDS = 10  # wait this long for a server before going offline
_LONGEST_ID = 128  # characters that wandb takes
_PICTURES = {".png", ".jpg", ".jpeg"}


def open_tracker(
    mode: Literal["wandb", "off"], sweep: str, folder: Path, say: Callable[[str], None] | None = None
) -> "Tracker":
    """Open a tracker for one sweep. Its files go to folder/wandb.

    Args:
        mode: "off" writes nothing. "wandb" follows the environment variable WANDB_MODE, and stays offline if
            it is unset.
        sweep: Name of the sweep.
        folder: The results folder.
        say: Called with each note, one line. None prints to standard error.

    Raises:
        LoraJaxError: WANDB_MODE has an unknown value. Any other failure is only a note.
    """
    if mode == "off":
        return Tracker("off", sweep, folder, say)
    tracker = Tracker(read_mode(mode), sweep, folder, say)
    tracker._prepare()
    return tracker


def read_mode(mode: Literal["wandb", "off"]) -> Literal["online", "offline", "off"]:
    """Return what --tracker and WANDB_MODE ask for; LoraJaxError for a WANDB_MODE that does not exist."""
    if mode == "off":
        return "off"
    wanted = os.environ.get("WANDB_MODE", "").strip().lower()
    if wanted not in _MODES:
        raise LoraJaxError(
            f"WANDB_MODE is {wanted!r}, it must be online, offline or disabled"
            f"{nearest(wanted, filter(None, _MODES))}: set it to one of them or unset it."
        )
    return _MODES[wanted]


class Tracker:
    """Where a sweep is tracked. `mode` says how at this moment; `notes` holds every line that was said."""

    def __init__(
        self,
        mode: Literal["online", "offline", "off"],
        sweep: str,
        folder: Path,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.mode: Literal["online", "offline", "off"] = mode
        self.sweep = sweep
        self.folder = Path(folder)
        self.notes: list[str] = []
        self._say = say or (lambda line: print(line, file=sys.stderr))
        self._n_offline = 0  # wandb runs that wait on disk

    def log_run(self, record: RunRecord, curve: list[dict[str, Any]]) -> None:
        """Write one training run: its config, its curve against step and tokens, its record as the summary.

        curve: the rows of curves/RUN_ID.csv (step, n_tokens, flops, loss, learning_rate).
        """

        def write() -> None:
            run = self._start(record.run_id, "train", record.config, [record.status])
            run.define_metric("n_tokens", hidden=True)
            for name in ("loss", "learning_rate"):
                run.define_metric(name, step_metric="n_tokens")
            for row in curve:
                known = {name: value for name, value in row.items() if value is not None}
                run.log(known, step=int(row["step"]))
            facts = dataclasses.asdict(record)
            del facts["config"]
            run.summary.update({name: value for name, value in facts.items() if value is not None})
            run.finish()

        self._attempt(write)

    def log_fits(self, fits: dict[str, Any], figures: list[Path]) -> None:
        """Write one run that holds the fits (the content of fits.json) as tables, and the PNG figures."""

        def write() -> None:
            import wandb

            facts = {
                name: fits[name] for name in ("source", "n_runs", "n_fitted", "n_column", "flops_column")
            }
            run = self._start(f"{self.sweep}-fits", "fit", facts, [])
            content: dict[str, Any] = {
                f"fits/{name}": wandb.Table(columns=columns, data=[*rows])
                for name, (columns, rows) in _fit_tables(fits).items()
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

        facts: its config. rows: a method each.
        """

        def write() -> None:
            import wandb

            run = self._start(f"{self.sweep}-comparison", "comparison", facts, [])
            content: dict[str, Any] = {"methods": wandb.Table(columns=columns, data=[*rows])}
            run.log(content | _images(figures))
            run.finish()

        self._attempt(write)

    def finish(self) -> None:
        """Say where offline runs wait and how to send them; nothing else is left open between calls."""
        if self._n_offline:
            self._note(
                f"wandb: {self._n_offline} runs written offline; send them with:"
                f" wandb sync {self.folder}/wandb/offline-run-*"
            )
            self._n_offline = 0

    def _note(self, line: str) -> None:
        self.notes.append(line)
        self._say(line)

    def _attempt(self, write: Callable[[], None]) -> None:
        """Call write(), stepping down on what is known to come, until it succeeds or tracking is off."""
        while self.mode != "off":
            try:
                write()
            except _failures() as error:
                self._step_down(error)
            else:
                self._n_offline += self.mode == "offline"
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
        """Give wandb a fresh process: the old one holds the id of the run that could not start."""
        import wandb

        try:
            wandb.teardown(exit_code=0)
        except _failures() as error:
            self._note(f"wandb: could not end its process ({type(error).__name__}).")
        wandb.setup(settings=wandb.Settings(silent=True))

    def _prepare(self) -> None:
        """Import wandb, silence it and make sure of a place to write."""

        def prepare() -> None:
            import wandb

            # wandb would fall back to the system's temporary folder without telling anybody.
            (self.folder / "wandb").mkdir(parents=True, exist_ok=True)
            # Unless it is silent from the start, wandb asks a terminal for a key and waits for ever.
            wandb.setup(settings=wandb.Settings(silent=True))

        while self.mode != "off":
            try:
                prepare()
            except _failures() as error:
                self._step_down(error)
            else:
                return

    def _start(self, run_id: str, job: str, config: dict[str, Any], tags: list[str]) -> Any:
        import wandb

        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,  # the record holds the commit
            disable_code=True,
            x_disable_meta=True,
            x_disable_stats=True,  # the run is over by now: there is nothing to sample
            init_timeout=_CONNECT_SECONDS,
            finish_timeout=_CONNECT_SECONDS,
        )
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "lora-jax",
            id=re.sub(r"[^\w.-]", "-", run_id)[-_LONGEST_ID:],  # its end tells runs apart
            name=run_id,
            group=self.sweep,
            job_type=job,
            tags=tags,
            config=config,
            dir=str(self.folder),
            mode="online" if self.mode == "online" else "offline",
            reinit="create_new",
            settings=settings,
        )


def _failures() -> tuple[type[BaseException], ...]:
    """What wandb and the machine may raise through no fault of this project.

    ImportError: not installed, or broken. OSError: disk, sockets, wandb's own process gone (also time-outs).
    ValueError: settings in the environment that wandb refuses (pydantic.ValidationError is one).
    wandb.errors.Error: no login, no server, refused. Outside that family:
    ServerResponseError, wandb's own process refuses (a run id in use); MailboxClosedError and
    HandleAbandonedError, that process has died.
    """
    found: list[type[BaseException]] = [ImportError, OSError, ValueError]
    try:
        import wandb.errors
        from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError
        from wandb.sdk.mailbox.mailbox_handle import ServerResponseError

        found += [wandb.errors.Error, HandleAbandonedError, MailboxClosedError, ServerResponseError]
    except ImportError:  # then nothing of wandb's own can be raised
        pass
    return tuple(found)


def _images(figures: list[Path]) -> dict[str, Any]:
    import wandb

    pictures = (path for path in figures if path.suffix.lower() in _PICTURES)
    return {f"figures/{path.stem}": wandb.Image(str(path)) for path in pictures}


def _fit_tables(fits: dict[str, Any]) -> dict[str, tuple[list[str | int], list[list[Any]]]]:
    """Return name -> (columns, rows) of the numbers of fits.json that are worth a table on a dashboard."""
    three, names = ["value", "low", "high"], ["n_params", "n_tokens", "loss"]
    cell = fits["heldout_cell"]
    return {
        "exponents": (
            ["exponent", "fit", *three],
            [[name, e["fit"], *_spread(e)] for name, e in fits["exponents"].items()],
        ),
        "params": (
            ["fit", "parameter", *three, "verdict"],
            [
                [fit["key"], name, *_spread(number), fit["certificate"]["verdict"]]
                for fit in fits["fits"]
                for name, number in fit["params"].items()
            ],
        ),
        "frontier": (
            ["flops", *(f"{name} {part}" for name in names for part in three)],
            [
                [row["flops"], *(x for n in names for x in _spread(row[n]))]
                for row in fits["frontier"]["rows"]
            ],
        ),
        "heldout": (
            ["fit", "measured", *three, "relative error"],
            [[p["key"], cell["measured"], *_spread(p), p["relative_error"]] for p in cell["predictions"]],
        ),
        "warnings": (["warning"], [[line] for line in fits["warnings"]]),
    }


def _spread(number: dict[str, Any]) -> list[float | None]:
    """Return the value and the ends of its interval: empty cells where the runs give none."""
    return [number["value"], *(number["ci95"] or (None, None))]
