"""One run of Weights & Biases: its id, its settings, the rows it has, and the errors to expect."""

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.files import write_atomically
from lora_jax.runs.tracked_run import to_metrics
from lora_jax.training.rows import Row

CONNECT_SECONDS = 10  # we wait this long for a server before we go offline
# Offline we wait only for wandb's own process. On a busy machine it takes long to start.
OFFLINE_SECONDS = 60
FLUSH_SECONDS = 1.0  # time between two writings of a run to disk; by itself wandb waits 15 s or for 32 KiB
LONGEST_ID = 128  # most characters that wandb accepts
TRAINING = ("train", "trunk")  # these jobs train while they are logged, so sampling the machine makes sense


@dataclass(frozen=True)
class WandbRun:
    """What a run is on the dashboard.

    Attributes:
        folder: The results folder.
        sweep: Name of the sweep, which is the run's group.
        run_id: Its id.
        job: Its kind, such as "train".
        config: Its config.
        tags: Its tags.
    """

    folder: Path
    sweep: str
    run_id: str
    job: str
    config: dict[str, Any]
    tags: list[str]


def start_run(wanted: WandbRun, online: bool) -> Any:
    """Open the run. Online, continue it if the server has it. It may raise what `failures` names."""
    import wandb

    patience = CONNECT_SECONDS if online else OFFLINE_SECONDS
    settings = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,  # the record holds the commit
        disable_code=True,
        x_disable_meta=True,
        x_disable_stats=wanted.job not in TRAINING,
        x_transaction_log_flush_interval=FLUSH_SECONDS,
        init_timeout=patience,
        finish_timeout=patience,
    )
    return wandb.init(
        project=os.environ.get("WANDB_PROJECT") or "lora-jax",
        id=find_id(wanted.folder, wanted.run_id),
        resume="allow" if online else None,
        name=wanted.run_id,
        group=wanted.sweep,
        job_type=wanted.job,
        tags=wanted.tags,
        config=wanted.config,
        dir=str(wanted.folder),
        mode="online" if online else "offline",
        reinit="create_new",
        settings=settings,
    )


def find_id(folder: Path, run_id: str) -> str:
    """Return the id by which wandb continues a run of this folder. No other folder has the same id."""
    path = folder / "wandb" / "folder-id"
    if not path.exists():
        write_atomically(path, secrets.token_hex(4))
    own = f"-{path.read_text(encoding='utf-8')}"
    return re.sub(r"[^\w.-]", "-", run_id)[-(LONGEST_ID - len(own)) :] + own  # the end tells runs apart


@dataclass
class LiveRun:
    """A wandb run that is open.

    Attributes:
        run: The run.
        last_step: The last step that it has a row of.
        is_trunk: Whether it is a trunk of several runs.
    """

    run: Any
    last_step: int
    is_trunk: bool

    def log(self, row: Row) -> None:
        """Log a row, unless the run has its step already."""
        if row.step <= self.last_step:
            return
        self.run.log(to_metrics(row), step=row.step)
        self.last_step = row.step

    def preempt(self) -> None:
        """Close the run as preempted, because a later call continues it."""
        self.run.mark_preempting()
        self.run.finish(exit_code=1)


def failures() -> tuple[type[BaseException], ...]:
    """Return the errors that wandb and the machine may raise through no fault of this project.

    ImportError: wandb is not installed, or broken. OSError: disk, sockets, time-outs, or wandb's own process
    is gone. ValueError: wandb refuses a setting in the environment (pydantic.ValidationError is one).
    wandb.errors.Error: no login, no server, or the server refuses. Outside that family: ServerResponseError,
    wandb's own process refuses, such as a run id in use; MailboxClosedError and HandleAbandonedError, that
    process has died.
    """
    found: list[type[BaseException]] = [ImportError, OSError, ValueError]
    try:
        import wandb.errors
        from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError
        from wandb.sdk.mailbox.mailbox_handle import ServerResponseError

        found += [wandb.errors.Error, HandleAbandonedError, MailboxClosedError, ServerResponseError]
    except ImportError:  # without wandb, none of its errors can be raised
        pass
    return tuple(found)
