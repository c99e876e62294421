"""One run of Weights & Biases: its id, its settings, the rows it has, and what may fail about it."""

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.files import write_atomically
from lora_jax.runs.tracked_run import to_metrics
from lora_jax.training.rows import Row

CONNECT_SECONDS = 10  # wait this long for a server before going offline
# Offline there is wandb's own process alone to wait for. On a machine that is busy its start takes long.
OFFLINE_SECONDS = 60
FLUSH_SECONDS = 1.0  # between two writings of a run to disk; by itself wandb waits 15 s or for 32 KiB
LONGEST_ID = 128  # characters that wandb takes
TRAINING = ("train", "trunk")  # jobs that run while they are logged, so that the machine is worth sampling


@dataclass(frozen=True)
class WandbRun:
    """What a run is on the dashboard. folder: the results folder."""

    folder: Path
    sweep: str
    run_id: str
    job: str
    config: dict[str, Any]
    tags: list[str]


def start_run(wanted: WandbRun, online: bool) -> Any:
    """Open the run, or go on with it online; raises what `failures` names."""
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
    """Return the id by which wandb goes on with a run of this folder, and with no other folder's."""
    path = folder / "wandb" / "folder-id"
    if not path.exists():
        write_atomically(path, secrets.token_hex(4))
    own = f"-{path.read_text(encoding='utf-8')}"
    return re.sub(r"[^\w.-]", "-", run_id)[-(LONGEST_ID - len(own)) :] + own  # its end tells runs apart


@dataclass
class LiveRun:
    """A wandb run that is open. last_step: the last step that it has a row of."""

    run: Any
    last_step: int
    is_trunk: bool

    def log(self, row: Row) -> None:
        if row.step <= self.last_step:
            return
        self.run.log(to_metrics(row), step=row.step)
        self.last_step = row.step

    def preempt(self) -> None:
        self.run.mark_preempting()
        self.run.finish(exit_code=1)


def failures() -> tuple[type[BaseException], ...]:
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
